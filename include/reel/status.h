/* Status codes and the error record that every fallible call fills. */
#ifndef REEL_STATUS_H
#define REEL_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#error "Reel is written for POSIX systems"
#endif
#define REEL_API __attribute__((visibility("default")))

/* X(code, name, sentence): the one list that yields the enum, the names and the sentences. */
#define REEL_STATUS_LIST(X)                                                                        \
    X(REEL_OK, "ok", "done")                                                                       \
    X(REEL_INVALID_ARGUMENT, "invalid_argument", "an argument is out of its range")                \
    X(REEL_NOT_FOUND, "not_found", "no such file, user, movie or model")                           \
    X(REEL_BAD_INPUT, "bad_input", "the input is malformed")                                       \
    X(REEL_CORRUPT, "corrupt", "a dataset or model file fails its checks")                         \
    X(REEL_MISMATCH, "mismatch", "the model and the dataset do not belong together")               \
    X(REEL_IO, "io", "reading or writing failed")                                                  \
    X(REEL_NO_MEMORY, "no_memory", "memory ran out")                                               \
    X(REEL_DEVICE, "device", "the device is missing or failed")                                    \
    X(REEL_UNSUPPORTED, "unsupported", "this build or backend does not offer that")                \
    X(REEL_CANCELLED, "cancelled", "stopped at a safe point because the caller asked for it")      \
    X(REEL_NUMERIC, "numeric", "the numbers left their range (diverged or not positive definite)") \
    X(REEL_BUSY, "busy", "a queue or a lock is full; try again")                                   \
    X(REEL_INTERNAL, "internal", "a promise inside the library was broken")

typedef enum reel_status {
#define REEL_STATUS_ENUM(code, name, sentence) code,
    REEL_STATUS_LIST(REEL_STATUS_ENUM)
#undef REEL_STATUS_ENUM
} reel_status;

/* The human side of a failure. Owned by the caller, who may pass NULL where it does not care.
 * `message` is one line without a newline; it starts with "FILE:LINE: " where a file is at fault. */
typedef struct reel_error {
    reel_status status;
    char message[640];
} reel_error;

/* Short machine name of a status ("bad_input"); never NULL. */
REEL_API const char *reel_status_name(reel_status status);
/* One sentence that explains a status; never NULL. */
REEL_API const char *reel_status_sentence(reel_status status);
/* Frees a string that a Reel function returned; takes NULL. */
REEL_API void reel_string_free(char *string);

#ifdef __cplusplus
}
#endif
#endif
