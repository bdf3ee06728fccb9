/* reel doctor: what was found here, and what to install for what is missing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

int cmd_doctor(struct cli *cli, int argc, char **argv) {
    static const struct cli_option options[] = {{0}};
    int status = cli_parse(
        cli, "", "Prints what this machine and build offer; with --device, fails where that device does not work.",
        "reel doctor", options, argc, argv, NULL, 0, 0);
    if (status >= 0) return status;
    /* A device asked for by name is tried: `reel doctor --device cuda` answers by its exit status. */
    if (strcmp(cli->device, "auto") != 0 && (status = cli_context(cli)) >= 0) return status;
    json_t *facts = cli_load_json(reel_doctor_json());
    if (!facts) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    if (cli->json) return cli_print_json(cli, facts);
    const char *key;
    json_t *value;
    json_object_foreach(facts, key, value) {
        if (json_is_array(value)) continue;
        char *shown = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(4));
        printf("%-18s %s\n", key, shown ? shown : json_string_value(value));
        free(shown);
    }
    size_t index;
    json_array_foreach(json_object_get(facts, "gpus"), index, value)
        printf("%-18s %s, compute capability %s, %.1f GiB\n", json_string_value(json_object_get(value, "device")),
               json_string_value(json_object_get(value, "name")),
               json_string_value(json_object_get(value, "compute_capability")),
               json_real_value(json_object_get(value, "memory_gib")));
    json_array_foreach(json_object_get(facts, "missing"), index, value)
        printf("missing: %s\n", json_string_value(value));
    json_decref(facts);
    return CLI_OK;
}
