/* reel verify: checks every value and every hash of a dataset or model file. */
#include <stdio.h>

#include "cli.h"

int cmd_verify(struct cli *cli, int argc, char **argv) {
    static const struct cli_option options[] = {{0}};
    const char *path = NULL;
    int exit_status = cli_parse(
        cli, "FILE", "Checks a dataset or model file in full: structure, bounds, and the hash of each tensor.",
        "reel verify ml-latest-small.reel", options, argc, argv, &path, 1, 1);
    if (exit_status >= 0) return exit_status;
    exit_status = cli_context(cli);
    if (exit_status >= 0) return exit_status;
    reel_error err;
    char *text = NULL;
    if (reel_file_verify(cli->ctx, path, &text, &err) != REEL_OK) return cli_fail(cli, &err);
    json_t *info = cli_load_json(text);
    if (!info) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    if (cli->json) return cli_print_json(cli, info);
    printf("%s: ok (%s, %zu tensors, %s bytes)\n", path, json_string_value(json_object_get(info, "kind")),
           json_array_size(json_object_get(info, "tensors")),
           cli_thousands(json_integer_value(json_object_get(info, "tensor_bytes"))));
    json_decref(info);
    return CLI_OK;
}
