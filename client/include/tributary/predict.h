// predict.h - use the model that a device has installed, in your own program.
//
//     struct trib_predictor *predictor;
//     if (trib_predictor_open("/var/lib/tributary", &predictor) == TRIB_OK) {
//         err = trib_predictor_run(predictor, x, rows, outputs);
//         trib_predictor_close(predictor);
//     }
//
// A predictor is the version that was installed when it was opened, with the device's own part of it
// and its own pipeline. A client may run on the same directory: it swaps files whole, and a predictor
// neither waits for it nor locks anything. For a newer version open another one.
//
// What is wrong with files or rows is logged (tributary/log.h). A predictor is for one thread at a
// time; several may be open.
#ifndef TRIB_PREDICT_H
#define TRIB_PREDICT_H

#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct trib_predictor;

// Read the enrolment, client.ini, the installed model, local.part if the model has a local part, and
// the pipeline and fall-back that client.ini names; without a fall-back of its own the one that came
// with the installed version answers where the model does not.
// TRIB_ERR_STATE: not enrolled, or no model that can be used is installed and there is no fall-back; TRIB_ERR_INVAL: client.ini, or a file that it names, is wrong or not there.
TRIB_API TRIB_CHECKED enum trib_err trib_predictor_open(const char *state_dir,
                                                        struct trib_predictor **ret_predictor);
// The same with the device's own copy of the model: what a client in mode online made of the
// installed version with the rows that have arrived since, as it last wrote it to the file that
// data.online_copy names. Without a copy of the installed version it is that version itself.
// TRIB_ERR_INVAL also: client.ini has no data.online_copy.
TRIB_API TRIB_CHECKED enum trib_err trib_predictor_open_online(
    const char *state_dir, struct trib_predictor **ret_predictor);
// Rows that the copy has learnt since the version; 0: none, or it was not asked for.
TRIB_API uint64_t trib_predictor_online_rows(const struct trib_predictor *predictor);
TRIB_API void trib_predictor_close(struct trib_predictor *predictor); // NULL is fine

// 0: there is no model, the fall-back answers.
TRIB_API uint64_t trib_predictor_version(const struct trib_predictor *predictor);
// Numbers of a row of features, and of what the model says of it. 0: there is no model.
TRIB_API size_t trib_predictor_inputs(const struct trib_predictor *predictor);
TRIB_API size_t trib_predictor_outputs(const struct trib_predictor *predictor);

// What the model says: x (rows, inputs) row-major, the features as the model learnt from them;
// ret_outputs (rows, outputs): probabilities of the classes (of two, maybe of class 1 alone), or
// values.
// TRIB_ERR_STATE: there is no model; TRIB_ERR_DATA: a feature is not finite or not one of the
// model's items, or an output is not finite.
TRIB_API TRIB_CHECKED enum trib_err trib_predictor_run(struct trib_predictor *predictor,
                                                       const float *x, size_t rows,
                                                       float *ret_outputs);

// ---- Rows as text ------------------------------------------------------------------------------

// What is said of a row. Borrowed for the callback; later versions may have more members.
struct trib_prediction {
    uint64_t row;      // from 0, bad ones counted too
    uint64_t line;     // where it begins in the text, from 1
    const char *error; // why there is no answer; the rest is then empty. NULL: there is one
    const char *by;    // "model", "cluster NAME", "rule NAME" or "default"
    uint64_t version;  // of the model, whoever answers; 0: none
    const float *outputs;
    size_t output_count;
    // Of classes: the most probable one, of two the one that the version's threshold decides for,
    // and its probability.
    int is_class;
    uint32_t class_index;
    int is_name;       // `label` is a word, not a number
    const char *label; // as the label's column would have it, or the class as a number
    double probability;
    double value; // of a regression, in the unit of the label's column
};

typedef void (*trib_prediction_fn)(void *user, const struct trib_prediction *prediction);

// Answer every row of `text` (size bytes, kept by the caller), which is written as the [data]
// section of client.ini says: csv or jsonl. The label's column may be absent, and is not looked at.
// `answer` is called once for each row, in their order, bad ones included. `name` is for messages.
// TRIB_ERR_DATA: some rows have no answer, or none could be read; TRIB_ERR_INVAL: client.ini does
// not say how such rows are read. Logged.
TRIB_API TRIB_CHECKED enum trib_err trib_predictor_rows(struct trib_predictor *predictor,
                                                        const char *name, const char *text,
                                                        size_t size, trib_prediction_fn answer,
                                                        void *user);

#ifdef __cplusplus
}
#endif

#endif // TRIB_PREDICT_H
