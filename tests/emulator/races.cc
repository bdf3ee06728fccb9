/* Races on shared memory: two threads of a block come to the same bytes, at least one of them writing, and nothing
 * orders them. Kernels are compiled with -fsanitize=thread, whose calls are answered here (not by its own run-time
 * library, which knows threads of the host only).
 *
 * What orders: a barrier of the block that the first thread reached and the second one waited at, and __syncwarp. Other
 * primitives of a warp do not (CUDA C++ Programming Guide, "Warp Shuffle Functions": no memory barrier is implied), nor
 * do atomics. A copy by cp.async may write from the call to the wait for it.
 *
 * Of every four bytes the last write is kept, and three reads: the last one, the last one of another thread, and of
 * another warp. So a write is missed only if it meets reads of some threads but not of the last ones. */
#include "races.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* A thread of 0 is no access: they count from 1. */
struct alignas(16) access {
    int32_t place;           /* in the program, from races_note on */
    uint32_t arrived, syncs; /* of the thread, of its warp */
    uint16_t thread;
    uint8_t bytes; /* a bit for each of the word's */
};

struct race_cell {
    struct access write, reads[3];
    uint64_t block; /* whose accesses these are */
};

static const size_t stack_size = fiber_stack_size();

static int watch(void) {
#ifdef EMULATED_RACES
    const char *text = getenv("REEL_EMULATED_RACES");
    return !text || strcmp(text, "off") != 0;
#else
    return 0;
#endif
}

const int races_watched = watch();

int emulated_races(void) {
    return races_watched;
}

struct race_cell *races_cells(size_t bytes) {
    struct race_cell *cells = (struct race_cell *)calloc(bytes / 4 + 1, sizeof *cells);
    if (!cells) abort();
    return cells;
}

static int thread_of(const struct lane *lane) {
    return lane->warp->number * LANES + lane->number;
}

static int ordered(const struct lane *lane, const struct access *before) {
    const int other = before->thread - 1;
    return other == thread_of(lane) || before->arrived < lane->acquired ||
           (other / LANES == lane->warp->number && before->syncs < lane->warp->syncs);
}

/* "file:line" of a place in the program, as addr2line finds it. */
static void say_place(const char *what, int32_t place) {
    const void *pc = (const char *)(void *)races_note + place;
    Dl_info info;
    char command[1024], line[512] = "?\n";
    if (dladdr(pc, &info) && info.dli_fname) {
        const size_t at = (size_t)((const char *)pc - (const char *)info.dli_fbase) - 1;
        snprintf(command, sizeof command, "addr2line -e '%s' %#zx", info.dli_fname, at);
        FILE *out = popen(command, "r");
        if (out && !fgets(line, sizeof line, out)) snprintf(line, sizeof line, "?\n");
        if (out) pclose(out);
    }
    fprintf(stderr, "  %s at %s", what, line);
}

static void die_of_race(const struct lane *lane, const struct piece *piece, size_t at, int writes,
                        const struct access *before, int wrote, int32_t place) {
    say_place(writes ? "this write" : "this read", place);
    say_place(wrote ? "the write before" : "the read before", before->place);
    machine_die(lane, {NULL, 0}, "a race on shared memory, %s + %zu: it %s what thread %d %s, and nothing orders them",
                piece->name, at, writes ? "writes" : "reads", before->thread - 1, wrote ? "wrote" : "read");
}

static inline int clash(const struct lane *lane, const struct access *before, uint8_t bytes) {
    return before->thread && before->bytes & bytes && !ordered(lane, before);
}

static inline void note_word(const struct lane *lane, const struct piece *piece, size_t word, uint8_t bytes, int writes,
                             int32_t place) {
    struct race_cell *cell = &piece->cells[word];
    struct access *reads = cell->reads;
    const uint16_t thread = (uint16_t)(thread_of(lane) + 1);
    if (cell->block != lane->warp->block->serial) *cell = {.block = lane->warp->block->serial};
    if (clash(lane, &cell->write, bytes)) die_of_race(lane, piece, 4 * word, writes, &cell->write, 1, place);
    if (writes) {
        for (int i = 0; i < 3; i++)
            if (clash(lane, &reads[i], bytes)) die_of_race(lane, piece, 4 * word, 1, &reads[i], 0, place);
    } else if (reads[0].thread != thread) {
        if (reads[0].thread && (reads[0].thread - 1) / LANES != (thread - 1) / LANES) reads[2] = reads[0];
        reads[1] = reads[0];
    }
    struct access *own = writes ? &cell->write : &reads[0];
    own->place = place;
    own->arrived = lane->arrived;
    own->syncs = lane->warp->syncs;
    own->thread = thread;
    own->bytes = bytes;
}

/* In `piece`, from its byte `begin` on. */
static void note_bytes(const struct lane *lane, const struct piece *piece, size_t begin, size_t bytes, int writes,
                       int32_t place) {
    const size_t end = begin + bytes < piece->size ? begin + bytes : piece->size;
    for (size_t word = begin / 4; 4 * word < end; word++) {
        const size_t from = begin > 4 * word ? begin - 4 * word : 0, to = end - 4 * word < 4 ? end - 4 * word : 4;
        note_word(lane, piece, word, (uint8_t)((1u << to) - (1u << from)), writes, place);
    }
}

void races_note(const struct lane *lane, const void *at, size_t bytes, int writes, const void *pc) {
    if (!races_watched) return;
    const struct block *block = lane->warp->block;
    for (int i = 0; i < block->n_pieces; i++) {
        const size_t begin = (size_t)((const char *)at - block->pieces[i].at);
        if (begin >= block->pieces[i].size) continue;
        note_bytes(lane, &block->pieces[i], begin, bytes, writes,
                   (int32_t)((const char *)pc - (const char *)(void *)races_note));
        return;
    }
}

/* ---- what the compiler calls ---- */

#ifdef EMULATED_RACES

/* Most accesses are to the thread's own stack. */
static inline void note(const void *at, size_t bytes, int writes, const void *pc) {
    if (!races_watched) return;
    const struct lane *lane = machine_self();
    if (!lane || (size_t)((const char *)at - lane->fiber.stack) < stack_size) return;
    races_note(lane, at, bytes, writes, pc);
}

extern "C" {

#define ACCESS(name, bytes, writes)                           \
    void __tsan_##name(void *at) {                            \
        note(at, bytes, writes, __builtin_return_address(0)); \
    }
#define ACCESSES(prefix)          \
    ACCESS(prefix##read1, 1, 0)   \
    ACCESS(prefix##read2, 2, 0)   \
    ACCESS(prefix##read4, 4, 0)   \
    ACCESS(prefix##read8, 8, 0)   \
    ACCESS(prefix##read16, 16, 0) \
    ACCESS(prefix##write1, 1, 1)  \
    ACCESS(prefix##write2, 2, 1)  \
    ACCESS(prefix##write4, 4, 1)  \
    ACCESS(prefix##write8, 8, 1)  \
    ACCESS(prefix##write16, 16, 1)
ACCESSES()
ACCESSES(unaligned_)

void __tsan_read_range(void *at, size_t bytes) {
    note(at, bytes, 0, __builtin_return_address(0));
}
void __tsan_write_range(void *at, size_t bytes) {
    note(at, bytes, 1, __builtin_return_address(0));
}

void __tsan_init(void) {
}
void __tsan_func_entry(void *) {
}
void __tsan_func_exit(void) {
}
void __tsan_atomic_thread_fence(int) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#define ATOMICS(bits, type)                                                                                      \
    type __tsan_atomic##bits##_load(const volatile type *at, int) {                                              \
        return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                                            \
    }                                                                                                            \
    void __tsan_atomic##bits##_store(volatile type *at, type value, int) {                                       \
        __atomic_store_n(at, value, __ATOMIC_SEQ_CST);                                                           \
    }                                                                                                            \
    type __tsan_atomic##bits##_fetch_add(volatile type *at, type value, int) {                                   \
        return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);                                                  \
    }                                                                                                            \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *at, type *expected, type value, int, int) { \
        return __atomic_compare_exchange_n(at, expected, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);          \
    }
ATOMICS(16, uint16_t)
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)
}

#endif
