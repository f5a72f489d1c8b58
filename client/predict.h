// predict.h - what the files of the predictor share: predict*.c only.
#ifndef TRIB_CLIENT_PREDICT_H
#define TRIB_CLIENT_PREDICT_H

#include <stdbool.h>

#include "client/slot.h"
#include "client/state.h"
#include "common/base/buf.h"
#include "common/data/fallback.h"
#include "common/data/prepare.h"
#include "common/data/schema.h"
#include "common/math/net.h"
#include "tributary/predict.h"

enum {
    TRIB_PREDICT_BATCH = 64 // rows that go through the model at once
};

struct trib_predictor {
    struct trib_state_config settings;
    struct trib_slot slot;        // version 0: there is no model
    struct trib_net *net;         // NULL: there is no model
    float *both;                  // the parameters with the local part behind them, owned; or NULL
    struct trib_schema *schema;   // unlabelled, owned; NULL: rows are strict numeric CSV
    struct trib_prepare *prepare; // fitted, owned; NULL: there is none, or it is not here yet
    char *carried; // text of the table that the installed version brought, owned; or NULL
    struct trib_fallback *fallback; // owned; NULL: the model alone answers
    uint64_t online_rows;           // that the own copy of the model has learnt since the version
    double threshold;               // two classes: class 1 is predicted from this probability on
};

// The features of a row (model.inputs) are finite, and an item is one of the model's.
bool trib_predictor_takes(const struct trib_predictor *predictor, const float *x);

// What the model says of at most TRIB_PREDICT_BATCH rows, borrowed until the next call.
const float *trib_predictor_batch(struct trib_predictor *predictor, const float *x, size_t rows);

// A line, with its end: one JSON object, or the label or value alone (nothing of a row without an
// answer).
void trib_prediction_write(const struct trib_prediction *prediction, bool as_json,
                           struct trib_buf *line);

#endif // TRIB_CLIENT_PREDICT_H
