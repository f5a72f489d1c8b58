// rig_parts.h - what the files of the rig share.
#ifndef TRIB_TESTS_FAULT_RIG_PARTS_H
#define TRIB_TESTS_FAULT_RIG_PARTS_H

#include "common/base/limits.h"
#include "common/wire/admin.h"
#include "tests/fault/rig.h"

// One process of a life, and those that follow it when it ends.
struct rig_process {
    struct rig *rig;
    enum rig_side which;
    bool is_first; // start of it
    pid_t process; // 0: none
};

// Of what the file of a round's noised sum says, in the folder of updates. False: there is none.
bool rig_sum_digest(const char *dir, uint64_t round, uint8_t digest[static TRIB_DIGEST_SIZE]);

// Where a device is; the first is 0.
void rig_device_dir(const struct rig *rig, unsigned index, char dir[static TRIB_PATH_MAX + 1]);
bool rig_start(struct rig_process *side);
bool rig_stop(struct rig_process *side);

// ---- rig_make.c
bool rig_put_text(const char *dir, const char *name, const char *text);
bool rig_put_ini(const struct rig *rig);
// Ask the coordinator, which is about to listen. An answer without a row is wrong.
bool rig_ask(const struct rig *rig, const struct trib_admin_request *request,
             struct trib_admin_reply *ret_reply);

#endif // TRIB_TESTS_FAULT_RIG_PARTS_H
