/* Filling a reel_error and forwarding a status. */
#ifndef CORE_ERROR_H
#define CORE_ERROR_H

#include <stddef.h>
#include <reel/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* error_set(err, status, format, ...) fills *err (may be NULL) and returns `status`, so that
 * `return error_set(...)` reads well; `status` is evaluated twice. The message is one line: control characters from
 * hostile input are replaced. A macro, so that compilers and analyzers see which status comes back. */
#define error_set(err, status, ...) (error_fill((err), (status), __VA_ARGS__), error_status(status))
/* The same with ": <strerror(errno)>" appended; `format` names what was tried and the file. */
#define error_errno(err, status, ...) (error_fill_errno((err), (status), __VA_ARGS__), error_status(status))

__attribute__((format(printf, 3, 4))) void error_fill(reel_error *err, reel_status status, const char *format, ...);
__attribute__((format(printf, 3, 4))) void error_fill_errno(reel_error *err, reel_status status, const char *format,
                                                            ...);
static inline reel_status error_status(reel_status status) {
    return status;
}

/* NO_MEMORY with the size that was asked for, 0 = unknown. */
static inline reel_status error_no_memory(reel_error *err, size_t bytes) {
    if (bytes)
        error_set(err, REEL_NO_MEMORY, "out of memory: %zu bytes were asked for", bytes);
    else
        error_set(err, REEL_NO_MEMORY, "out of memory");
    return REEL_NO_MEMORY;
}

/* In a function that owns resources: `reel_status status = REEL_OK;` above and one `cleanup:` label
 * below. In one that owns nothing: TRY_RETURN. */
#define TRY(call)                            \
    do {                                     \
        status = (call);                     \
        if (status != REEL_OK) goto cleanup; \
    } while (0)
#define TRY_RETURN(call)                                \
    do {                                                \
        reel_status try_status_ = (call);               \
        if (try_status_ != REEL_OK) return try_status_; \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
