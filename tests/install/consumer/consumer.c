/* A user of an installed Reel, compiled as C and as C++: one call from each side of the library, so that a missing
 * dependency or a symbol that is not exported fails the link. */
#include <stdio.h>
#include <string.h>

#include <reel/reel.h>

static int fail(const char *what, const reel_error *err) {
    fprintf(stderr, "%s: %s: %s\n", what, reel_status_name(err->status), err->message);
    return 1;
}

int main(int argc, char **argv) {
    reel_context *ctx = NULL;
    reel_error err;
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = 1;
    options.device = "cpu";
    if (reel_context_new(&options, &ctx, &err) != REEL_OK) return fail("reel_context_new", &err);
    char *doctor = reel_doctor_json();
    if (!doctor || !strstr(doctor, reel_version())) return 1;
    printf("%s %s %d\n", reel_version(), reel_context_backend(ctx), reel_context_threads(ctx));
    reel_string_free(doctor);
    reel_context_free(ctx);
    return argc != 1 || !argv[0];
}
