// limits.h - every bound that a peer, a file or a user can run into, in one place.
//
// A count or size from outside is compared with its bound here before anything is allocated for it.
#ifndef TRIB_BASE_LIMITS_H
#define TRIB_BASE_LIMITS_H

enum {
    // ---- wire (docs/protocol.md)
    TRIB_FRAME_MAX = 65535,      // Noise 3: a message is at most 65535 bytes
    TRIB_AEAD_TAG_SIZE = 16,     // ChaCha20-Poly1305
    TRIB_RECORD_HEADER_SIZE = 8, // type, flags, stream, offset
    TRIB_RECORD_PAYLOAD_MAX = TRIB_FRAME_MAX - TRIB_AEAD_TAG_SIZE - TRIB_RECORD_HEADER_SIZE,
    TRIB_CHUNK_SIZE = 61440,           // bulk bytes in a record: whole 16-, 24- and 32-bit words
    TRIB_HANDSHAKE_MAX = 256,          // bytes an unauthenticated peer may make us keep
    TRIB_HANDSHAKE_MS = 5000,          // and how long
    TRIB_HANDSHAKE_WANTED_MS = 500,    // the same, while others wait for its place
    TRIB_RECORD_MS = 30000,            // longest a long record may be under way, either direction
    TRIB_RECORD_WANTED_MS = 10000,     // the same, while others wait for the buffer that it holds
    TRIB_CONTROL_MAX = 32768,          // bytes of one packed control message
    TRIB_SECAGG_STEP_MAX = 64 << 20,   // bytes of one step of secure aggregation
    TRIB_KEY_LINKS_MAX = 64,           // times that a coordinator gets other keys
    TRIB_URL_MAX = 255,                // bytes of a coordinator URL
    TRIB_ADMIN_REQUEST_MAX = 16 << 20, // a job file or a roster, and the words
    TRIB_ADMIN_REPLY_MAX = 16 << 20,
    TRIB_ROSTER_FILE_MAX = TRIB_ADMIN_REQUEST_MAX - 65536, // 80,000 devices and more

    // ---- models and data
    TRIB_SPEC_MAX = 511, // bytes of a model's canonical text
    TRIB_LAYERS_MAX = 32,
    TRIB_LAYER_UNITS_MAX = 1 << 24,
    TRIB_PARAMS_MAX = 1 << 26, // 256 MiB of float32
    TRIB_CLASSES_MAX = 4096,
    TRIB_CLASS_WEIGHTS_MAX = 256, // classes that have weights from the counts of a fleet
    TRIB_ROWS_MAX = 1 << 26,
    TRIB_DATA_FILE_SIZE_MAX = 0x7fffffff, // bytes of a text file of rows
    TRIB_KEPT_FOLDS_MAX = 100,
    TRIB_COLUMNS_MAX = 1 << 20,
    TRIB_CSV_LINE_MAX = 16 << 20, // bytes of one line

    // ---- rounds
    TRIB_NAME_MAX = 63,      // bytes of a device, group, job or population name
    TRIB_COHORT_MAX = 16384, // devices counted in one round
    TRIB_ROUNDS_MAX = 1000000,
    TRIB_WEIGHT_SUM_BITS = 32,         // sum of example weights of a round < 2^32 (aggregate.h)
    TRIB_DEVICES_MAX = 1 << 20,        // enrolled with one coordinator
    TRIB_HYPER_MAX = 16,               // named numbers in a task
    TRIB_METRICS_MAX = 24,             // named numbers in an evaluation
    TRIB_TALLY_VALUES_MAX = 1 << 20,   // sums of a tally round
    TRIB_COUNTERS_TEXT_MAX = 511,      // bytes of the declaration of counters in a task
    TRIB_TALLY_REQUEST_MAX = 8 << 10,  // bytes of what it asks for
    TRIB_PIPELINE_TEXT_MAX = 12 << 10, // bytes of a preparation pipeline in a task
    TRIB_FALLBACK_TEXT_MAX = 12 << 10, // bytes of a fall-back table in a manifest

    // ---- files
    TRIB_PATH_MAX = 4095,
    TRIB_CONF_FILE_MAX = 1 << 20,
    TRIB_CONF_LINE_MAX = 199, // inih keeps 200 bytes of a line and cuts the rest silently
    TRIB_CONF_TEXT_MAX = 511, // bytes of one value
};

#endif // TRIB_BASE_LIMITS_H
