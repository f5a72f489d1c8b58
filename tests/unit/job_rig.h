// job_rig.h - jobs from the text of their files.
#ifndef TRIB_TESTS_JOB_RIG_H
#define TRIB_TESTS_JOB_RIG_H

#include "tests/test.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/job.h"

#define MODEL  "[model]\nspec = 64 - dense 10 softmax\n"
#define DEEP   "[model]\nspec = 64 - dense 20 relu - dense 10 softmax\n"
#define OFF    "[privacy]\nmode = off\n"
#define COHORT "[round]\ncohort = 20\n"

static char says[TRIB_CONF_ERROR_SIZE]; // what the last parse() said

static inline enum trib_err parse_with(const char *text, uint64_t population, uint64_t passes,
                                       struct trib_job *ret_job)
{
    struct trib_conf conf;
    struct trib_job_config config;
    trib_conf_init(&conf);
    trib_job_conf_add(&conf, &config);
    enum trib_err err = trib_conf_parse(&conf, text, strlen(text), "job.ini", ".");
    if (!err)
        err = trib_job_check(&conf, &config, population, passes, ret_job);
    (void)snprintf(says, sizeof(says), "%s", err ? conf.error : "");
    return err;
}

static inline enum trib_err parse(const char *text, uint64_t population, struct trib_job *ret_job)
{
    return parse_with(text, population, 0, ret_job);
}

static inline struct trib_job good(const char *text)
{
    struct trib_job job;
    if (parse(text, 0, &job))
        fail_msg("refused: %s", says);
    return job;
}

struct refusal {
    const char *text, *says;
};

static inline void assert_refused(const struct refusal *bad, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct trib_job job;
        if (parse(bad[i].text, 0, &job) != TRIB_ERR_INVAL)
            fail_msg("taken: %s", bad[i].text);
        if (strncmp(says, bad[i].says, strlen(bad[i].says)) != 0)
            fail_msg("said '%s', wanted '%s'", says, bad[i].says);
    }
}

#endif // TRIB_TESTS_JOB_RIG_H
