/* Memory: aligned arrays that report failure as a status, and arenas for many small things that die
 * together. */
#ifndef CORE_MEM_H
#define CORE_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <reel/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* *out = zeroed memory for n elements of `size` bytes, aligned to 64 (large ones ask for huge pages);
 * n = 0 gives a valid pointer. Overflow and exhaustion give NO_MEMORY and *out = NULL. Freed with
 * mem_free. */
reel_status mem_zero(void **out, size_t n, size_t size, reel_error *err);
/* The same without zeroing. */
reel_status mem_alloc(void **out, size_t n, size_t size, reel_error *err);
void mem_free(void *pointer);

/* MEM_NEW(&array, n, err): typed array of n zeroed elements. MEM_RAW: not zeroed. */
#define MEM_NEW(out, n, err) mem_zero((void **)(out), (size_t)(n), sizeof **(out), (err))
#define MEM_RAW(out, n, err) mem_alloc((void **)(out), (size_t)(n), sizeof **(out), (err))

/* Bump allocator. Zero-initialise; arena_free releases all at once. Not thread-safe. */
struct arena_block;
struct arena {
    struct arena_block *blocks;
};
/* 16-byte aligned, not zeroed; NULL when memory runs out. */
void *arena_alloc(struct arena *arena, size_t bytes);
char *arena_strndup(struct arena *arena, const char *text, size_t length);
void arena_free(struct arena *arena);

/* Growable text. Zero-initialise. Once an allocation fails `failed` stays 1 and further calls do
 * nothing; strbuf_take then returns NULL. */
struct strbuf {
    char *data; /* NUL-terminated once anything was added */
    size_t length, capacity;
    int failed;
};
void strbuf_add(struct strbuf *buf, const char *text, size_t length);
void strbuf_puts(struct strbuf *buf, const char *text);
__attribute__((format(printf, 2, 3))) void strbuf_printf(struct strbuf *buf, const char *format, ...);
/* Hands the text to the caller (malloc'd; reel_string_free) and empties the buffer; NULL on failure. */
char *strbuf_take(struct strbuf *buf);
void strbuf_free(struct strbuf *buf);

#ifdef __cplusplus
}
#endif

#endif
