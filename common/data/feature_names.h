// feature_names.h - what the features of a model are called, and a pipeline that keeps some of them.
#ifndef TRIB_DATA_FEATURE_NAMES_H
#define TRIB_DATA_FEATURE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/data/prepare.h"
#include "common/data/schema.h"
#include "common/data/source.h"
#include "tributary/err.h"

enum {
    TRIB_FEATURE_TEXT_SIZE = 24
};

struct trib_features {
    struct trib_schema *schema;   // owned; NULL: the data have none, and features are f0, f1, ...
    struct trib_prepare *prepare; // owned; as it was written, without steps when there is none
    size_t count;
    const char *why_no_pipeline; // that keeps some of them; NULL: there is one
};

// Of a model of `count` inputs that learns from such data: only the keys schema, prepare, scale and
// pipeline count. TRIB_ERR_INVAL, with a text in `why` that a model.spec has so many features; or "",
// and it is logged. The caller frees ret_features with trib_features_fini, after an error too.
TRIB_CHECKED enum trib_err trib_features_load(const struct trib_data_config *data, size_t count,
                                              struct trib_features *ret_features, char *why,
                                              size_t why_size);
void trib_features_fini(struct trib_features *features);

// Borrowed from `features` or `text`.
const char *trib_features_name(const struct trib_features *features, size_t feature,
                               char text[static TRIB_FEATURE_TEXT_SIZE]);

// The pipeline of the data, and behind it a step that drops the features that do not stay (`stays`
// has `count` elements). why_no_pipeline is NULL. TRIB_ERR_INVAL, logged: names of features are no
// names of columns.
TRIB_CHECKED enum trib_err trib_features_pipeline(const struct trib_features *features,
                                                  const bool *stays, struct trib_buf *text);

#endif // TRIB_DATA_FEATURE_NAMES_H
