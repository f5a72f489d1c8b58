#include "coordinator/ctl/set_path.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/data/source.h"

static bool is_among(const struct trib_conf_key *keys, size_t count, const char *name, size_t size)
{
    char whole[128];
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(whole, sizeof(whole), "%s.%s", keys[i].section, keys[i].name);
        if (keys[i].type == TRIB_CONF_PATH && strlen(whole) == size &&
            memcmp(whole, name, size) == 0)
            return true;
    }
    return false;
}

// The keys of a job that are paths.
static bool is_path(const char *name, size_t size)
{
    static const char init[] = "model.init";
    return (size == sizeof(init) - 1 && memcmp(name, init, size) == 0) ||
           is_among(trib_data_keys_common, trib_data_keys_common_count, name, size) ||
           is_among(trib_data_keys_fallback, trib_data_keys_fallback_count, name, size) ||
           is_among(trib_data_keys_test, trib_data_keys_test_count, name, size);
}

const char *trib_set_path(struct trib_set_paths *paths, const char *assignment)
{
    char here[TRIB_PATH_MAX + 1];
    char whole[2 * TRIB_PATH_MAX];
    const char *equals = strchr(assignment, '=');
    if (!equals || equals[1] == '/' || equals[1] == '\0' ||
        !is_path(assignment, (size_t)(equals - assignment)) || !getcwd(here, sizeof(here)))
        return assignment;
    const int size = snprintf(whole, sizeof(whole), "%.*s=%s/%s", (int)(equals - assignment),
                              assignment, strcmp(here, "/") == 0 ? "" : here, equals + 1);
    char *text = size < (int)sizeof(whole) ? trib_alloc_text(whole) : NULL;
    if (!text)
        return assignment; // too long: refused by the coordinator, by name
    assert(paths->count < TRIB_SERIES_SETS_MAX);
    paths->owned[paths->count++] = text;
    return text;
}

void trib_set_paths_fini(struct trib_set_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        free(paths->owned[i]);
    paths->count = 0;
}
