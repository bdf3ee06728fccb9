/* Filling a reel_error and forwarding a status. */
#ifndef CORE_ERROR_H
#define CORE_ERROR_H

#include <stddef.h>
#include <reel/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Fills *err (may be NULL) and returns `status`, so that `return error_set(...)` reads well. The
 * message is one line: control characters from hostile input are replaced. */
__attribute__((format(printf, 3, 4))) reel_status error_set(reel_error *err, reel_status status, const char *format,
                                                            ...);
/* The same with ": <strerror(errno)>" appended; `format` names what was tried and the file. */
__attribute__((format(printf, 3, 4))) reel_status error_errno(reel_error *err, reel_status status, const char *format,
                                                              ...);
/* NO_MEMORY with the size that was asked for, 0 = unknown. */
static inline reel_status error_no_memory(reel_error *err, size_t bytes) {
    if (bytes)
        error_set(err, REEL_NO_MEMORY, "out of memory: %zu bytes were asked for", bytes);
    else
        error_set(err, REEL_NO_MEMORY, "out of memory");
    return REEL_NO_MEMORY; /* inline, so that compilers and analyzers see that this never says REEL_OK */
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
