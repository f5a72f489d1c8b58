// privacy_report.h - what the device's ledger says, for its owner: `tributary-client privacy`.
#ifndef TRIB_CLIENT_PRIVACY_REPORT_H
#define TRIB_CLIENT_PRIVACY_REPORT_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "tributary/err.h"

// The report of a state directory, as text or as one line of JSON; also while a client runs there.
// Epsilon never stands alone: with its delta and ledger, the unit, and against whom.
TRIB_CHECKED enum trib_err trib_privacy_report(const char *dir, bool as_json,
                                               struct trib_buf *ret_text);

#endif // TRIB_CLIENT_PRIVACY_REPORT_H
