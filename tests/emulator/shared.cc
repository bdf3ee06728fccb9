/* Shared memory: a piece of host memory for each declaration, unset when a block begins and watched at its end. */
#include "races.h"

#include <stdlib.h>

enum { GUARD = 64, GUARD_BYTE = 0xe1, UNSET = 0xb7 }; /* 0xb7b7b7b7 is no plausible index, count or factor */

/* Under a sanitizer nothing lies behind a piece, so that every access there is seen, else bytes that must stay. */
#ifdef EMULATOR_ASAN
enum { BEHIND = 0 };
#else
enum { BEHIND = GUARD };
#endif

static void add_piece(struct block *block, const void *key, const char *name, size_t size, size_t align) {
    void *at = NULL;
    if (posix_memalign(&at, align, size + BEHIND ? size + BEHIND : 1) != 0) abort();
    block->pieces[block->n_pieces++] = {key, name, (char *)at, size, 0, races_watched ? races_cells(size) : NULL};
}

static void begin_piece(struct piece *piece) {
    piece->used = 1;
    memset(piece->at, UNSET, piece->size);
    memset(piece->at + piece->size, GUARD_BYTE, BEHIND);
}

void shared_make(struct block *block, size_t dynamic) {
    block->n_pieces = 0;
    add_piece(block, NULL, "the dynamic part", dynamic, 128);
}

void shared_begin(struct block *block) {
    for (int i = 0; i < block->n_pieces; i++) block->pieces[i].used = 0;
    begin_piece(&block->pieces[0]);
}

void shared_free(struct block *block) {
    for (int i = 0; i < block->n_pieces; i++) {
        free(block->pieces[i].at);
        free(block->pieces[i].cells);
    }
}

static int guard_stands(const struct piece *piece) {
    for (size_t i = 0; i < BEHIND; i++)
        if ((unsigned char)piece->at[piece->size + i] != GUARD_BYTE) return 0;
    return 1;
}

void shared_check(const struct block *block) {
    for (int i = 0; i < block->n_pieces; i++)
        if (block->pieces[i].used && !guard_stands(&block->pieces[i]))
            machine_die(&block->warps[0].lanes[0], {NULL, 0},
                        "the block wrote past the end of shared memory, %s (%zu bytes)", block->pieces[i].name,
                        block->pieces[i].size);
}

/* What nvcc and the driver refuse, known here only when a thread comes to its declaration. */
static void check_sizes(const struct block *block) {
    const struct emulated_site nowhere = {NULL, 0};
    const size_t dynamic = block->pieces[0].size;
    size_t fixed = 0;
    for (int i = 1; i < block->n_pieces; i++) fixed += block->pieces[i].size;
    if (fixed > SHARED_STATIC_MAX)
        machine_die(machine_self(), nowhere, "%zu bytes of static shared memory are more than %d", fixed,
                    SHARED_STATIC_MAX);
    if (fixed + dynamic > SHARED_BLOCK_MAX)
        machine_die(machine_self(), nowhere, "%zu bytes of shared memory are more than %d", fixed + dynamic,
                    SHARED_BLOCK_MAX);
}

void *emulated_dynamic_shared(void) {
    return machine_self()->warp->block->pieces[0].at;
}

void *emulated_shared_piece(const void *key, const char *name, size_t size, size_t align) {
    struct block *block = machine_self()->warp->block;
    int i = 1;
    while (i < block->n_pieces && block->pieces[i].key != key) i++;
    if (i == PIECES_MAX)
        machine_die(machine_self(), {NULL, 0}, "more than %d declarations of shared memory", PIECES_MAX);
    if (i == block->n_pieces) {
        add_piece(block, key, name, size, align < 16 ? 16 : align);
        check_sizes(block);
    }
    if (!block->pieces[i].used) begin_piece(&block->pieces[i]);
    return block->pieces[i].at;
}
