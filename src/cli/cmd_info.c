/* reel info: what a dataset or model file says of itself. */
#include <stdint.h>
#include <stdio.h>

#include "cli.h"

static void print_metadata(const json_t *metadata) {
    const char *key;
    json_t *value;
    puts("\nmetadata");
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
        printf("  %-32s %s\n", key, json_string_value(value));
}

/* "[3, 5]" */
static const char *shape_text(const json_t *shape, char *text, size_t size) {
    size_t at = 0;
    for (size_t i = 0; i < json_array_size(shape); i++)
        at += (size_t)snprintf(text + at, size - at, "%s%" JSON_INTEGER_FORMAT, i ? ", " : "[",
                               json_integer_value(json_array_get(shape, i)));
    snprintf(text + at, size - at, at ? "]" : "[]");
    return text;
}

static void print_tensors(const json_t *tensors) {
    size_t index;
    json_t *tensor;
    printf("\n%-34s %-6s %-22s %16s\n", "tensor", "dtype", "shape", "bytes");
    json_array_foreach(tensors, index, tensor) {
        char shape[128]; /* 4 dimensions of at most 19 digits */
        printf("  %-32s %-6s %-22s %16s\n", json_string_value(json_object_get(tensor, "name")),
               json_string_value(json_object_get(tensor, "dtype")),
               shape_text(json_object_get(tensor, "shape"), shape, sizeof shape),
               cli_thousands(json_integer_value(json_object_get(tensor, "bytes"))));
    }
}

int cmd_info(struct cli *cli, int argc, char **argv) {
    static const struct cli_option options[] = {{0}};
    const char *path = NULL;
    int exit_status = cli_parse(cli, "FILE", "Describes a dataset or model file.", "reel info ml-latest-small.reel",
                                options, argc, argv, &path, 1, 1);
    if (exit_status >= 0) return exit_status;
    exit_status = cli_context(cli);
    if (exit_status >= 0) return exit_status;
    reel_error err;
    char *text = NULL;
    if (reel_file_info(cli->ctx, path, &text, &err) != REEL_OK) return cli_fail(cli, &err);
    json_t *info = cli_load_json(text);
    if (!info) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    if (cli->json) return cli_print_json(cli, info);
    const json_t *tensors = json_object_get(info, "tensors");
    printf("%s: %s, %zu tensors, %s bytes\n", path, json_string_value(json_object_get(info, "kind")),
           json_array_size(tensors), cli_thousands(json_integer_value(json_object_get(info, "tensor_bytes"))));
    print_metadata(json_object_get(info, "metadata"));
    print_tensors(tensors);
    json_decref(info);
    return CLI_OK;
}
