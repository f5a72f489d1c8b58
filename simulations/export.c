#include "simulations/export.h"

#include <stdio.h>

#include "common/base/file.h"
#include "common/math/model_file.h"

static int export_file(const char *from, enum trib_model_format format, const char *path)
{
    char why[512];
    struct trib_buf file = {0};
    if (trib_file_read(from, TRIB_MODEL_FILE_SIZE_MAX, &file))
        return TRIB_EXIT_DATA;
    enum trib_err err = trib_model_file_export(&file, format, path, why, sizeof(why));
    trib_buf_fini(&file);
    if (!err)
        (void)printf("%s\n", path);
    else if (why[0])
        (void)fprintf(stderr, "%s: %s\n", from, why);
    return (int)trib_exit_of(err);
}

int trib_export(const struct trib_command *command, int argc, char **argv)
{
    const char *path = NULL;
    const char *word = NULL;
    const struct trib_option options[] = {
        {"format", TRIB_OPTION_TEXT, &word, "FORMAT", "safetensors, npz, onnx or c"},
        {"out", TRIB_OPTION_TEXT, &path, "FILE", "where to (model.FORMAT)"},
    };
    char usual[32];
    enum trib_model_format format;
    int count;
    int status;
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = 2,
                                     .operand_min = 1,
                                     .operand_max = 1};
    if (!trib_args_parse(&usage, argc, argv, &count, &status))
        return status;
    if (!word || !trib_model_format_find(word, &format)) {
        (void)fprintf(stderr, "export: --format %s: want safetensors, npz, onnx or c\n",
                      word ? word : "is missing");
        return TRIB_EXIT_USAGE;
    }
    (void)snprintf(usual, sizeof(usual), "model.%s", word);
    return export_file(argv[0], format, path ? path : usual);
}
