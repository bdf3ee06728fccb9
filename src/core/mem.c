#include "core/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/error.h"

enum { ALIGNMENT = 64, ARENA_BLOCK = 64 * 1024 };
#define HUGE_PAGE ((size_t)2 << 20)

reel_status mem_alloc(void **out, size_t n, size_t size, reel_error *err) {
    *out = NULL;
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX - HUGE_PAGE) return error_no_memory(err, SIZE_MAX);
    /* Big arrays start on a huge page, so that scattered access costs fewer TLB misses. */
    size_t alignment = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : (size_t)ALIGNMENT;
    void *pointer = NULL;
    if (posix_memalign(&pointer, alignment, bytes ? bytes : 1) != 0 || !pointer) return error_no_memory(err, bytes);
    if (alignment == HUGE_PAGE) (void)madvise(pointer, bytes & ~(HUGE_PAGE - 1), MADV_HUGEPAGE);
    *out = pointer;
    return REEL_OK;
}

reel_status mem_zero(void **out, size_t n, size_t size, reel_error *err) {
    TRY_RETURN(mem_alloc(out, n, size, err));
    memset(*out, 0, n * size);
    return REEL_OK;
}

void mem_free(void *pointer) {
    free(pointer);
}

struct arena_block {
    struct arena_block *next;
    size_t used, capacity;
    _Alignas(16) char data[];
};

void *arena_alloc(struct arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    struct arena_block *block = arena->blocks;
    if (!block || block->capacity - block->used < bytes) {
        size_t capacity = bytes > ARENA_BLOCK ? bytes : (size_t)ARENA_BLOCK;
        block = malloc(sizeof *block + capacity);
        if (!block) return NULL;
        block->next = arena->blocks;
        block->used = 0;
        block->capacity = capacity;
        arena->blocks = block;
    }
    void *pointer = block->data + block->used;
    block->used += bytes;
    return pointer;
}

char *arena_strndup(struct arena *arena, const char *text, size_t length) {
    char *copy = arena_alloc(arena, length + 1);
    if (!copy) return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

void arena_free(struct arena *arena) {
    struct arena_block *block = arena->blocks;
    while (block) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->blocks = NULL;
}

/* Room for `more` characters and the final NUL. */
static int strbuf_reserve(struct strbuf *buf, size_t more) {
    if (buf->failed) return 0;
    if (buf->capacity - buf->length > more) return 1;
    size_t need = buf->length + more + 1;
    size_t capacity = buf->capacity * 2 > need ? buf->capacity * 2 : need + 64;
    char *data = realloc(buf->data, capacity);
    if (!data) {
        buf->failed = 1;
        return 0;
    }
    buf->data = data;
    buf->capacity = capacity;
    return 1;
}

void strbuf_add(struct strbuf *buf, const char *text, size_t length) {
    if (!strbuf_reserve(buf, length)) return;
    memcpy(buf->data + buf->length, text, length);
    buf->length += length;
    buf->data[buf->length] = '\0';
}

void strbuf_puts(struct strbuf *buf, const char *text) {
    strbuf_add(buf, text, strlen(text));
}

void strbuf_printf(struct strbuf *buf, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        buf->failed = 1;
    else if (strbuf_reserve(buf, (size_t)length)) {
        vsnprintf(buf->data + buf->length, (size_t)length + 1, format, again);
        buf->length += (size_t)length;
    }
    va_end(again);
}

char *strbuf_take(struct strbuf *buf) {
    strbuf_add(buf, "", 0); /* an empty text is a text too */
    char *text = buf->failed ? NULL : buf->data;
    if (buf->failed) free(buf->data);
    *buf = (struct strbuf){0};
    return text;
}

void strbuf_free(struct strbuf *buf) {
    free(buf->data);
    *buf = (struct strbuf){0};
}
