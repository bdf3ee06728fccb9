/* Barriers of a block and of a grid, and threads that let others go first. */
#include "machine.h"

enum { SPIN_MAX = 1000 }; /* atomics in a row before a thread is taken to wait */

void barrier_release(struct block *block) {
    if (block->n_at_barrier + block->n_ended < block->n_threads) return;
    block->vote_result = block->votes;
    block->n_at_barrier = 0;
    for (int w = 0; w < block->n_warps; w++) {
        warp_make_ready(&block->warps[w], block->warps[w].at_barrier);
        block->warps[w].at_barrier = 0;
    }
}

static int same_site(struct emulated_site a, struct emulated_site b) {
    return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

/* Adds a thread's vote; the first one to come says where the barrier is. */
static void vote_at(struct lane *lane, struct block *block, enum emulated_vote vote, int predicate) {
    if (block->n_at_barrier == 0) {
        block->barrier = lane->site;
        block->votes = vote == EMULATED_AND;
    } else if (!same_site(block->barrier, lane->site))
        machine_die(lane, lane->site, "threads of one block wait at different barriers, others at %s:%d",
                    block->barrier.file, block->barrier.line);
    if (vote == EMULATED_COUNT) block->votes += predicate != 0;
    if (vote == EMULATED_AND) block->votes &= predicate != 0;
    if (vote == EMULATED_OR) block->votes |= predicate != 0;
}

/* The running thread has come to a barrier, and knows behind it what the others did before, if it waits there. */
static void note_arrival(struct lane *lane, int waits) {
    lane->arrived++;
    if (waits) lane->acquired = lane->arrived;
}

int emulated_barrier(enum emulated_vote vote, int predicate, struct emulated_site site) {
    struct lane *lane = machine_self();
    struct block *block = lane->warp->block;
    lane_progress(lane);
    note_arrival(lane, vote != EMULATED_ARRIVE);
    lane->site = site;
    vote_at(lane, block, vote, predicate);
    lane->warp->at_barrier |= 1u << lane->number;
    block->n_at_barrier++;
    barrier_release(block);
    lane_wait_or_go(lane);
    return block->vote_result;
}

void barrier_release_grid(struct machine *machine) {
    if (machine->n_at_grid < machine->n_live) return;
    machine->n_at_grid = 0;
    for (size_t b = 0; b < machine->n_blocks; b++)
        for (int w = 0; w < machine->blocks[b].n_warps; w++) {
            struct warp *warp = &machine->blocks[b].warps[w];
            warp_make_ready(warp, warp->at_grid);
            warp->at_grid = 0;
        }
}

void emulated_grid_barrier(struct emulated_site site) {
    struct lane *lane = machine_self();
    lane_progress(lane);
    lane->site = site;
    if (!lane->machine->config->cooperative) machine_die(lane, site, "a grid's barrier needs a cooperative launch");
    note_arrival(lane, 1);
    lane->warp->at_grid |= 1u << lane->number;
    lane->machine->n_at_grid++;
    barrier_release_grid(lane->machine);
    lane_wait_or_go(lane);
}

void emulated_yield(struct emulated_site site) {
    struct lane *lane = machine_self();
    lane->site = site;
    lane->warp->yielded |= 1u << lane->number;
    lane_wait(lane);
}

void emulated_spin(struct emulated_site site) {
    struct lane *lane = machine_self();
    if (++lane->atomics < SPIN_MAX) return;
    lane->atomics = 0;
    emulated_yield(site);
}
