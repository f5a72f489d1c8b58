// folder.h - copy and remove whole folders of plain files, a few folders deep.
#ifndef TRIB_TESTS_FAULT_FOLDER_H
#define TRIB_TESTS_FAULT_FOLDER_H

#include <stdbool.h>

enum {
    FOLDER_PATH_SIZE = 512
};

// `depth`: 1, or 0 when `to` may be there already.
bool folder_copy(const char *from, const char *to, int depth);
// `depth`: 0.
void folder_remove(const char *path, int depth);

#endif // TRIB_TESTS_FAULT_FOLDER_H
