// old_manifest.h - a manifest as it was signed before it could name the digest of its parent: the
// bytes of such a coordinator, for the parameters and the seed of test_slot.c. Never made anew.
#ifndef TRIB_TESTS_UNIT_OLD_MANIFEST_H
#define TRIB_TESTS_UNIT_OLD_MANIFEST_H

#include "tests/test.h"

#include <string.h>

#include "common/base/bytes.h"
#include "common/wire/message.h"

static inline void old_manifest(struct trib_msg_new_version *ret_announcement)
{
    static const char manifest[] =
        "08021007180622206d9bac2262c9d1cee75b31eee1aa9164a1bdca9f198e430090902822df13a125"
        "2a20835d9917800f01546a286c4877cd091bc6fbb37f64a38209e9ea34358c2a920b321333202d20"
        "64656e7365203220736f66746d617838084003481450045a05726f756e64600c6880e089beac3372"
        "130a08616363757261637911000000000000e83f9a010764656661756c74a2012005050505050505"
        "05050505050505050505050505050505050505050505050505";
    static const char signature[] =
        "029d304cd79bcf0d578644678872bc40c6268630c85b8c1bff276269fa2e6ebd2cf573c8fe594895"
        "8be52b10cb002c3a39ce510408eb9c9bd8a5bf6b080de708";
    const size_t size = strlen(manifest) / 2;
    assert_in_range(size, 1, sizeof(ret_announcement->manifest));
    assert_true(trib_hex_decode(manifest, ret_announcement->manifest, size));
    assert_true(trib_hex_decode(signature, ret_announcement->signature, TRIB_SIGNATURE_SIZE));
    ret_announcement->manifest_size = size;
}

#endif // TRIB_TESTS_UNIT_OLD_MANIFEST_H
