// args.h - command lines from tables: subcommands, options, --help, --version, exit codes.
#ifndef TRIB_BASE_ARGS_H
#define TRIB_BASE_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

// What a process ends with (docs/operating.md).
enum trib_exit {
    TRIB_EXIT_OK = 0,
    TRIB_EXIT_USAGE = 2,    // usage or configuration
    TRIB_EXIT_PEER = 3,     // cannot reach the peer, or not accepted by it
    TRIB_EXIT_PRIVACY = 4,  // refused by privacy policy
    TRIB_EXIT_DATA = 5,     // data unusable
    TRIB_EXIT_INTERNAL = 6, // internal failure or failed invariant
    TRIB_EXIT_STOPPED = 7,  // stopped before the goal was met
};
enum trib_exit trib_exit_of(enum trib_err err);
// The same of a file, or directory, that the user wants made at `path`: an I/O error where none can be
// made, for want of a folder or of the right to write there, is a mistake in what was typed.
enum trib_exit trib_exit_at(enum trib_err err, const char *path, bool is_dir);

enum trib_option_type {
    TRIB_OPTION_FLAG, // bool
    TRIB_OPTION_TEXT, // const char *, borrowed from argv
    TRIB_OPTION_INT,  // uint64_t
    TRIB_OPTION_REAL, // double
    TRIB_OPTION_LIST, // struct trib_texts, may be given many times
};

enum {
    TRIB_TEXTS_MAX = 64
};

struct trib_texts {
    size_t count;
    const char *items[TRIB_TEXTS_MAX]; // borrowed from argv
};

struct trib_option {
    const char *name; // without the dashes
    enum trib_option_type type;
    void *value;      // where it goes
    const char *word; // how help calls the value; NULL for flags
    const char *help;
};

struct trib_command {
    const char *name;     // "devices token": words of the command line
    const char *operands; // "SCENARIO.ini", "" if none
    const char *help;     // one line
    // argv[0] is the last word of the name. Returns enum trib_exit.
    int (*run)(const struct trib_command *command, int argc, char **argv);
};

struct trib_program {
    const char *name;
    const char *about; // what it is, some lines
    const struct trib_command *commands;
    size_t count;
};

// main(): finds the command, handles --help and --version. Returns what main returns.
int trib_program_main(const struct trib_program *program, int argc, char **argv);

// What may stand behind a command.
struct trib_usage {
    const struct trib_command *command;
    const struct trib_option *options; // option_count of them; --help is there by itself
    size_t option_count;
    int operand_min, operand_max;
};

// Read a command's options and operands. False when the command is over: *ret_exit says how (after
// --help or a mistake, which was printed). On success argv[0 .. *ret_count) are the operands.
bool trib_args_parse(const struct trib_usage *usage, int argc, char **argv, int *ret_count,
                     int *ret_exit);

#endif // TRIB_BASE_ARGS_H
