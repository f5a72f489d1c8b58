// predict_reader.h - rows to predict, from text to features, a batch at a time.
//
// A row that breaks a rule is kept too, with what is wrong with it: each row has its answer in its
// turn. predict_rows.c gives them.
#ifndef TRIB_CLIENT_PREDICT_READER_H
#define TRIB_CLIENT_PREDICT_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/predict.h"
#include "common/data/record.h"
#include "common/data/schema.h"
#include "tributary/err.h"
#include "tributary/predict.h"

struct trib_predict_row {
    uint64_t number, line;
    bool is_bad;       // it breaks a rule: nobody answers
    bool has_features; // if not, `error` says why
    char error[256];
};

struct trib_predict_reader {
    struct trib_predictor *predictor; // borrowed
    const char *name;                 // of the text, for messages; borrowed
    trib_prediction_fn answer;
    void *user;

    size_t features; // of a row; 0: not known, rows have none
    float *x;        // (TRIB_PREDICT_BATCH, features), owned
    double *values;  // (TRIB_PREDICT_BATCH, columns that the fall-back looks at), owned
    struct trib_predict_row rows[TRIB_PREDICT_BATCH];
    size_t used;
    uint64_t next_row;
    uint64_t by_model, unanswered;

    // With a schema
    struct trib_findings findings; // of the row at hand
    struct trib_field *fields;     // (columns of the schema), owned
    size_t *places;                // (columns of the schema) their fields in a record, owned
    double *raw;                   // (columns of the schema), owned
    struct trib_prepare_run *run;  // owned; NULL: there is no pipeline
    struct trib_join *join;        // owned; NULL: all columns are in the rows

    // Without one
    size_t label;      // of the fields; SIZE_MAX: there is none
    bool has_names;    // the label is known by its name
    size_t name_count; // fields of the header; 0: none
};

TRIB_CHECKED enum trib_err trib_predict_reader_init(struct trib_predict_reader *reader,
                                                    struct trib_predictor *predictor,
                                                    const char *name);
void trib_predict_reader_fini(struct trib_predict_reader *reader);

// Read all rows of `text`; whenever a batch is full it is flushed. TRIB_ERR_DATA: the header names
// not all that is wanted, or rows are too many or too long, logged; TRIB_ERR_NOMEM.
TRIB_CHECKED enum trib_err trib_predict_read(struct trib_predict_reader *reader, const char *text,
                                             size_t size);

// predict_rows.c: answer the rows that were read, and make room for others.
void trib_predict_flush(struct trib_predict_reader *reader);

#endif // TRIB_CLIENT_PREDICT_READER_H
