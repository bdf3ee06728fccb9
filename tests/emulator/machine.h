/* What a launch runs on, shared by the emulator's files: threads, warps, blocks, and whose turn it is. */
#ifndef EMULATOR_MACHINE_H
#define EMULATOR_MACHINE_H

#include <cuda_runtime.h>

#include "fiber.h"
#include "scheduler.h"

enum { LANES = 32, WARPS_MAX = BLOCK_THREADS_MAX / LANES, PIECES_MAX = 32 };

struct warp;
struct machine;
struct late_copies;

/* A thread. */
struct lane : emulated_thread {
    struct machine *machine;
    struct warp *warp;
    int number; /* in its warp */
    int atomics;
    uint32_t arrived, acquired; /* barriers of the block that it came to; up to which it knows what others did before */
    struct fiber fiber;
    struct emulated_site site;  /* where it waits */
    struct late_copies *copies; /* NULL: none asked for */
};

/* What a lane brings to a primitive of its warp and takes from it. */
struct offer {
    uint64_t word, value, result; /* word: emulated_word */
    uint32_t mask;
    const void *mine; /* EMULATED_GATHER: `value` bytes */
    void *all;
};

/* A bit a lane; a lane is in one of them, or running. */
struct warp {
    uint32_t ready, yielded, collecting, at_barrier, at_grid, ended;
    uint32_t syncs; /* __syncwarp so far */
    int number;
    struct block *block;
    struct offer offers[LANES];
    struct lane lanes[LANES];
};

/* A declaration of shared memory. */
struct piece {
    const void *key;
    const char *name;
    char *at;
    size_t size;
    int used;                /* by the block that runs now */
    struct race_cell *cells; /* races.cc; NULL where accesses are not watched */
};

struct block {
    struct machine *machine;
    struct dim3 index;
    uint64_t serial; /* of all blocks that its place had */
    uint32_t ready_warps;
    int n_warps, n_threads, n_ended, n_at_barrier;
    struct emulated_site barrier; /* where those that wait are */
    int votes, vote_result;
    struct warp *warps;
    struct piece pieces[PIECES_MAX]; /* the first is the dynamic one */
    int n_pieces;
};

/* Kept for later launches, since stacks are expensive to make. */
struct machine {
    struct machine *next;
    const struct emulated_config *config;
    emulated_body body;
    const void *arguments;
    struct fiber host;
    struct block *blocks; /* resident at a time */
    struct warp *warps;
    size_t n_blocks, room_blocks, room_warps;
    size_t at_block; /* the block whose thread runs */
    size_t n_live, n_at_grid;
    char **stacks; /* free ones */
    size_t n_stacks, room_stacks;
    uint64_t random; /* state of the generator, 0: natural order */
    size_t idle;     /* rounds in which all threads only yielded */
    long long idle_since;
};

static inline struct lane *machine_self(void) {
    return static_cast<struct lane *>(emulated_now);
}

/* Ends the program, with the thread, the place (file may be NULL) and who waits where. */
__attribute__((noreturn, format(printf, 3, 4))) void machine_die(const struct lane *lane, struct emulated_site site,
                                                                 const char *format, ...);
/* Next of the machine's random numbers. */
uint64_t machine_random(struct machine *machine);
/* The thread to go on with once none of `warp` is ready or the order is random; NULL when none ever can (the launch is
 * over). `lane` is the one that waits or ended. */
struct lane *machine_pick(struct machine *machine, struct lane *lane);
/* Goes on with `next` in place of what runs on `from`; `last`: that one has ended. */
void machine_resume(struct machine *machine, struct fiber *from, struct lane *next, int last);
/* What a fiber runs first. */
void machine_run_lanes(void);

static inline void warp_make_ready(struct warp *warp, uint32_t lanes) {
    warp->ready |= lanes;
    if (warp->ready) warp->block->ready_warps |= 1u << warp->number;
}

static inline struct lane *warp_take(struct warp *warp, int lane) {
    warp->ready &= ~(1u << lane);
    if (!warp->ready) warp->block->ready_warps &= ~(1u << warp->number);
    return &warp->lanes[lane];
}

/* The running thread waits, its bit already set in one of its warp's masks. Those of its own warp come first. */
static inline void lane_wait(struct lane *lane) {
    struct warp *warp = lane->warp;
    struct machine *machine = lane->machine;
    const int near = warp->ready && !machine->random;
    struct lane *next = near ? warp_take(warp, __builtin_ctz(warp->ready)) : machine_pick(machine, lane);
    if (next == lane) return;
    if (next->fiber.stack) {
        emulated_now = next;
        fiber_switch(&lane->fiber, &next->fiber, 0);
    } else
        machine_resume(machine, &lane->fiber, next, 0);
}

/* The running thread goes on at once if it just became ready, as the last one that others waited for; else it waits. */
static inline void lane_wait_or_go(struct lane *lane) {
    if (lane->warp->ready >> lane->number & 1 && !lane->machine->random)
        warp_take(lane->warp, lane->number);
    else
        lane_wait(lane);
}

/* The running thread did something that others may wait for. */
static inline void lane_progress(struct lane *lane) {
    lane->atomics = 0;
    lane->machine->idle = 0;
}

/* barriers.cc: lets those go on that wait at a barrier that all have reached who have not ended. */
void barrier_release(struct block *block);
void barrier_release_grid(struct machine *machine);
/* warp.cc: the same for the primitives that lanes of the warp wait at. */
void warp_release(struct warp *warp);
/* copies.cc: the thread's copies that have not come yet do, for it has ended. */
void copies_end(struct lane *lane);
/* shared.cc: of one block, for all blocks that take its place. */
void shared_make(struct block *block, size_t dynamic);
void shared_begin(struct block *block);
void shared_check(const struct block *block);
void shared_free(struct block *block);

#endif
