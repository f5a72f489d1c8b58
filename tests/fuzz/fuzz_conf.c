// Any text is a configuration or is refused with a reason; one that is taken, written out resolved
// and read again, says the same.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct target {
    trib_conf_text text, path;
    uint64_t number;
    double real;
    bool flag;
    int choice;
};

static const struct trib_conf_key keys[] = {
    {"model", "spec", TRIB_CONF_TEXT, offsetof(struct target, text), "784 - dense 10 softmax",
     "a text", 0, 0, NULL},
    {"data", "train", TRIB_CONF_PATH, offsetof(struct target, path), NULL, "a path", 0, 0, NULL},
    {"data", "limit", TRIB_CONF_INT, offsetof(struct target, number), "5", "a number", 0, 1000,
     NULL},
    {"client.policy", "epsilon", TRIB_CONF_REAL, offsetof(struct target, real), "1.5", "a real",
     -10, 10, NULL},
    {"client.policy", "allowed", TRIB_CONF_BOOL, offsetof(struct target, flag), "yes", "a flag", 0,
     0, NULL},
    {"data", "format", TRIB_CONF_CHOICE, offsetof(struct target, choice), "csv", "a choice", 0, 0,
     "idx|csv"},
};

enum {
    KEY_COUNT = sizeof(keys) / sizeof(keys[0])
};

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

// Paths are taken as they stand, so that they stay the same when they are read again.
static enum trib_err parse(const char *text, size_t size, struct target *target,
                           struct trib_conf *conf)
{
    memset(target, 0, sizeof(*target));
    trib_conf_init(conf);
    trib_conf_add(conf, keys, KEY_COUNT, target);
    return trib_conf_parse(conf, text, size, "fuzz.ini", ".");
}

static char *write_out(const struct trib_conf *conf, size_t *ret_size)
{
    char *text = NULL;
    FILE *file = open_memstream(&text, ret_size);
    require(file != NULL);
    trib_conf_write(conf, file);
    require(fclose(file) == 0);
    return text;
}

// Not every text that was read can be written so that it is read again: blanks around the equals
// sign may make a line too long, and after a blank a semicolon begins a comment.
static bool can_be_read_again(const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        const char *comment = strstr(text, " ;");
        if (length + 1 > TRIB_CONF_LINE_MAX || (comment && comment < text + length))
            return false;
        text += length + (text[length] == '\n');
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct trib_conf conf, again;
    static struct target target, target_again;
    size_t once_size, twice_size;

    if (parse((const char *)data, size, &target, &conf)) {
        require(conf.error[0] != '\0');
        return 0;
    }
    require(target.number <= 1000 && target.real >= -10 && target.real <= 10);
    require(target.choice == 0 || target.choice == 1);
    char *once = write_out(&conf, &once_size);
    if (can_be_read_again(once)) {
        require(parse(once, once_size, &target_again, &again) == TRIB_OK);
        char *twice = write_out(&again, &twice_size);
        require(once_size == twice_size && memcmp(once, twice, once_size) == 0);
        free(twice);
    }
    free(once);
    return 0;
}
