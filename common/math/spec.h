// spec.h - reading the words of a model's spec while its canonical text is written (model.h).
#ifndef TRIB_MATH_SPEC_H
#define TRIB_MATH_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/math/model.h"
#include "tributary/err.h"

enum {
    TRIB_SPEC_WORD_SIZE = 64, // longer words are cut: none of the language is
};

struct trib_spec {
    const char *next;         // what is left of the text
    struct trib_model *model; // with the layers before the one at hand
    size_t used;              // bytes of the model's canonical text
    char *why;
    size_t why_size;
};

// Always TRIB_ERR_INVAL; the text goes to `why`. The second form begins with the layer's number.
enum trib_err trib_spec_wrong(struct trib_spec *spec, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum trib_err trib_spec_wrong_layer(struct trib_spec *spec, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// The next word, ended by a blank or a dash; a dash is a word; empty at the end of the text.
void trib_spec_take(struct trib_spec *spec, char word[static TRIB_SPEC_WORD_SIZE]);

// Is there another word of this layer? It is put into `word` and not taken.
bool trib_spec_peek(const struct trib_spec *spec, char word[static TRIB_SPEC_WORD_SIZE]);

// A number without sign and leading zero, 1 to `max`.
bool trib_spec_count(const char *word, uint32_t max, uint32_t *ret_count);

// Two such numbers with an x between them: 3x5.
bool trib_spec_pair(const char *word, uint32_t max, uint32_t *ret_first, uint32_t *ret_second);

// The name of an activation, if one is there, else linear: also when `local` is the next word.
TRIB_CHECKED enum trib_err trib_spec_activation(struct trib_spec *spec,
                                                enum trib_activation *ret_activation);

// Give the layer a tensor of the local part; its offset counts from there until the whole model is
// read.
TRIB_CHECKED enum trib_err trib_spec_add_local(struct trib_spec *spec, struct trib_layer *layer,
                                               const char *name, const uint32_t *shape,
                                               uint32_t dimensions);

// Append to the canonical text.
TRIB_CHECKED enum trib_err trib_spec_write(struct trib_spec *spec, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Give the layer a tensor behind all parameters there are so far.
TRIB_CHECKED enum trib_err trib_spec_add_tensor(struct trib_spec *spec, struct trib_layer *layer,
                                                const char *name, const uint32_t *shape,
                                                uint32_t dimensions);

// Does a text say that it is of an ensemble (model_ensemble.c)?
bool trib_model_is_ensemble(const char *text);

#endif // TRIB_MATH_SPEC_H
