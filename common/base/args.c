#include "common/base/args.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"

enum {
    OPTIONS_MAX = 32,
    OPTION_HELP = 256,     // getopt values: this,
    OPTION_FIRST = 512,    // the index of the option from here on,
    OPTION_IS_OPERAND = 1, // or a word that is none
};

static const struct trib_program *running; // for the program's name in messages

enum trib_exit trib_exit_of(enum trib_err err)
{
    switch (err) {
    case TRIB_OK: return TRIB_EXIT_OK;
    case TRIB_ERR_INVAL: return TRIB_EXIT_USAGE;
    case TRIB_ERR_AUTH:
    case TRIB_ERR_TIMEOUT:
    case TRIB_ERR_CONNECT: return TRIB_EXIT_PEER;
    case TRIB_ERR_PRIVACY: return TRIB_EXIT_PRIVACY;
    case TRIB_ERR_DATA: return TRIB_EXIT_DATA;
    case TRIB_ERR_STOPPED: return TRIB_EXIT_STOPPED;
    case TRIB_ERR_NOMEM:
    case TRIB_ERR_PROTO:
    case TRIB_ERR_LIMIT:
    case TRIB_ERR_STATE:
    case TRIB_ERR_IO:
    case TRIB_ERR_REFUSED:
    case TRIB_ERR_CORRUPT: return TRIB_EXIT_INTERNAL;
    }
    return TRIB_EXIT_INTERNAL;
}

enum trib_exit trib_exit_at(enum trib_err err, const char *path, bool is_dir)
{
    char folder[TRIB_PATH_MAX + 1];
    struct stat info;
    if (err != TRIB_ERR_IO || trib_path_dir(folder, path))
        return trib_exit_of(err);
    const bool is_there = stat(path, &info) == 0;
    if (is_there && (bool)S_ISDIR(info.st_mode) != is_dir)
        return TRIB_EXIT_USAGE;
    return access(is_there && is_dir ? path : folder, W_OK | X_OK) ? TRIB_EXIT_USAGE
                                                                   : TRIB_EXIT_INTERNAL;
}

static void print_program_help(const struct trib_program *program, const char *group, FILE *file)
{
    size_t length = strlen(group);
    if (!length)
        (void)fprintf(file, "%s\n\n", program->about);
    (void)fprintf(file, "usage: %s COMMAND [OPTIONS]\n\ncommands:\n", program->name);
    for (size_t i = 0; i < program->count; i++) {
        const struct trib_command *command = &program->commands[i];
        char line[128];
        if (length && (strncmp(command->name, group, length) != 0 || command->name[length] != ' '))
            continue;
        (void)snprintf(line, sizeof(line), "%s %s", command->name, command->operands);
        (void)fprintf(file, "  %-42s %s\n", line, command->help);
    }
    (void)fprintf(file,
                  "\n%s COMMAND --help explains a command; %s --version prints the version.\n",
                  program->name, program->name);
}

// How many words of argv spell this command's name; 0 if they do not.
static int words_matched(const struct trib_command *command, int argc, char **argv)
{
    const char *name = command->name;
    for (int i = 0; i < argc; i++) {
        size_t length = strlen(argv[i]);
        if (strncmp(name, argv[i], length) != 0)
            return 0;
        if (name[length] == '\0')
            return i + 1;
        if (name[length] != ' ')
            return 0;
        name += length + 1;
    }
    return 0;
}

static bool is_group(const struct trib_program *program, const char *word)
{
    size_t length = strlen(word);
    for (size_t i = 0; i < program->count; i++) {
        const char *name = program->commands[i].name;
        if (strncmp(name, word, length) == 0 && name[length] == ' ')
            return true;
    }
    return false;
}

int trib_program_main(const struct trib_program *program, int argc, char **argv)
{
    running = program;
    if (argc < 2) {
        print_program_help(program, "", stderr);
        return TRIB_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_program_help(program, "", stdout);
        return TRIB_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("%s %s\n", program->name, TRIB_VERSION_TEXT);
        return TRIB_EXIT_OK;
    }
    for (size_t i = 0; i < program->count; i++) {
        int words = words_matched(&program->commands[i], argc - 1, argv + 1);
        if (words)
            return program->commands[i].run(&program->commands[i], argc - words, argv + words);
    }
    if (is_group(program, argv[1])) {
        bool help = argc > 2 && strcmp(argv[2], "--help") == 0;
        if (!help && argc > 2)
            (void)fprintf(stderr, "%s: no command '%s %s'\n\n", program->name, argv[1], argv[2]);
        print_program_help(program, argv[1], help ? stdout : stderr);
        return help ? TRIB_EXIT_OK : TRIB_EXIT_USAGE;
    }
    (void)fprintf(stderr, "%s: no command '%s'; %s --help lists them\n", program->name, argv[1],
                  program->name);
    return TRIB_EXIT_USAGE;
}

static void print_command_help(const struct trib_usage *usage)
{
    const struct trib_command *command = usage->command;
    const struct trib_option *options = usage->options;
    const size_t count = usage->option_count;
    (void)printf("usage: %s %s %s%s\n\n%s\n", running ? running->name : "", command->name,
                 count ? "[OPTIONS] " : "", command->operands, command->help);
    if (count)
        (void)printf("\noptions:\n");
    for (size_t i = 0; i < count; i++) {
        char left[64];
        (void)snprintf(left, sizeof(left), "--%s%s%s", options[i].name, options[i].word ? " " : "",
                       options[i].word ? options[i].word : "");
        (void)printf("  %-26s %s\n", left, options[i].help);
    }
}

static bool take_option(const struct trib_command *command, const struct trib_option *option,
                        const char *text)
{
    char *end = NULL;
    errno = 0;
    switch (option->type) {
    case TRIB_OPTION_FLAG: *(bool *)option->value = true; return true;
    case TRIB_OPTION_TEXT: *(const char **)option->value = text; return true;
    case TRIB_OPTION_INT: {
        uint64_t number = strtoull(text, &end, 10);
        if (text[0] < '0' || text[0] > '9' || *end || errno)
            break;
        *(uint64_t *)option->value = number;
        return true;
    }
    case TRIB_OPTION_REAL: {
        double number = strtod(text, &end);
        if (end == text || *end || !isfinite(number))
            break;
        *(double *)option->value = number;
        return true;
    }
    case TRIB_OPTION_LIST: {
        struct trib_texts *texts = option->value;
        if (texts->count == TRIB_TEXTS_MAX) {
            (void)fprintf(stderr, "%s: --%s may be given %d times\n", command->name, option->name,
                          TRIB_TEXTS_MAX);
            return false;
        }
        texts->items[texts->count++] = text;
        return true;
    }
    }
    (void)fprintf(stderr, "%s: --%s %s: not a number\n", command->name, option->name, text);
    return false;
}

// Words come in their order ("-"), and a digit or a point is an option that may have something behind
// it, so that a negative number is one word.
static const char short_options[] = "-:h0::1::2::3::4::5::6::7::8::9::.::";

// "-3.5", "-1/10", "-.5": no option of ours begins so.
static bool is_negative(const char *word)
{
    const char *digit = word[0] == '-' ? word + 1 : word;
    digit += digit[0] == '.';
    return word[0] == '-' && digit[0] >= '0' && digit[0] <= '9';
}

bool trib_args_parse(const struct trib_usage *usage, int argc, char **argv, int *ret_count,
                     int *ret_exit)
{
    struct option table[OPTIONS_MAX + 2] = {{0}};
    const struct trib_command *command = usage->command;
    const struct trib_option *options = usage->options;
    const size_t option_count = usage->option_count;
    int count = 0;
    assert(option_count <= OPTIONS_MAX);

    for (size_t i = 0; i < option_count; i++) {
        table[i] = (struct option){
            .name = options[i].name,
            .has_arg = options[i].type == TRIB_OPTION_FLAG ? no_argument : required_argument,
            .val = OPTION_FIRST + (int)i,
        };
    }
    table[option_count] = (struct option){.name = "help", .val = OPTION_HELP};

    *ret_exit = TRIB_EXIT_USAGE;
    optind = 0; // glibc: start afresh
    opterr = 0;
    for (;;) {
        char *word = argv[optind ? optind : 1]; // before it is read
        int found = getopt_long(argc, argv, short_options, table, NULL);
        if (found == -1)
            break;
        if (found == OPTION_HELP || found == 'h') {
            print_command_help(usage);
            *ret_exit = TRIB_EXIT_OK;
            return false;
        }
        if (found == OPTION_IS_OPERAND || (found < OPTION_HELP && is_negative(word))) {
            argv[count++] = word; // behind us: nothing is read there any more
            continue;
        }
        if (found < OPTION_HELP) {
            (void)fprintf(stderr, "%s: %s %s; see %s --help\n", command->name,
                          found == ':' ? "value missing after" : "no option", word, command->name);
            return false;
        }
        if (!take_option(command, &options[found - OPTION_FIRST], optarg))
            return false;
    }

    while (optind < argc) // behind "--"
        argv[count++] = argv[optind++];
    if (count < usage->operand_min || count > usage->operand_max) {
        (void)fprintf(stderr, "usage: %s %s %s\n", running ? running->name : "", command->name,
                      command->operands);
        return false;
    }
    *ret_count = count;
    *ret_exit = TRIB_EXIT_OK;
    return true;
}
