#include "data/line_chunks.h"

#include <stdatomic.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/csv_reader.h"

#define CHUNK_BYTES ((size_t)1 << 20)

struct count {
    const struct text_file *file;
    struct line_chunk *chunks;
    atomic_int quoted;
};

static void count_chunk(void *arg, int64_t task, int worker) {
    (void)worker;
    struct count *count = arg;
    struct line_chunk *chunk = &count->chunks[task];
    const char *data = count->file->data + chunk->begin;
    size_t size = chunk->end - chunk->begin;
    chunk->n_lines = csv_count_lines(data, size) - 1;
    if (memchr(data, '"', size)) atomic_store_explicit(&count->quoted, 1, memory_order_relaxed);
}

static void find_borders(const struct text_file *file, size_t offset, struct line_chunks *out) {
    size_t border = offset;
    for (int64_t i = 0; i < out->n; i++) {
        out->chunks[i].begin = border;
        size_t target = offset + (size_t)(i + 1) * CHUNK_BYTES;
        if (i + 1 == out->n || target >= file->size) {
            border = file->size;
        } else if (border < target) {
            const char *end = memchr(file->data + target - 1, '\n', file->size - target + 1);
            border = end ? (size_t)(end + 1 - file->data) : file->size;
        }
        out->chunks[i].end = border;
    }
}

reel_status line_chunks_cut(reel_context *ctx, const struct text_file *file, size_t offset, int64_t line,
                            struct line_chunks *out, reel_error *err) {
    *out = (struct line_chunks){.n = (int64_t)((file->size - offset) / CHUNK_BYTES) + 1};
    TRY_RETURN(MEM_NEW(&out->chunks, out->n, err));
    find_borders(file, offset, out);
    struct count count = {.file = file, .chunks = out->chunks};
    atomic_init(&count.quoted, 0);
    thread_pool_run(ctx->pool, out->n, count_chunk, &count);
    out->chunks[out->n - 1].n_lines++; /* the last line may lack its end */
    for (int64_t i = 0; i < out->n; i++) {
        out->chunks[i].first_line = line + out->n_lines;
        out->n_lines += out->chunks[i].n_lines;
    }
    out->quoted = atomic_load(&count.quoted);
    return REEL_OK;
}

void line_chunks_free(struct line_chunks *chunks) {
    mem_free(chunks->chunks);
    *chunks = (struct line_chunks){0};
}
