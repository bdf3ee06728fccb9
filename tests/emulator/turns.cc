/* Whose turn it is, and what is said when it can be nobody's. */
#include "machine.h"

#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

enum { PATIENCE_SECONDS = 30, SAID_MAX = 40 };

__thread struct emulated_thread *emulated_now;

/* ---- the end of it ---- */

static void say_waits(const char *what, const struct warp *warp, uint32_t lanes) {
    if (!lanes) return;
    const struct emulated_site site = warp->lanes[__builtin_ctz(lanes)].site;
    fprintf(stderr, "  block (%u,%u,%u) warp %d: lanes %08x %s at %s:%d\n", warp->block->index.x, warp->block->index.y,
            warp->block->index.z, warp->number, lanes, what, site.file, site.line);
}

static void say_state(const struct machine *machine) {
    int said = 0;
    for (size_t b = 0; b < machine->n_blocks; b++)
        for (int w = 0; w < machine->blocks[b].n_warps && said < SAID_MAX; w++) {
            const struct warp *warp = &machine->blocks[b].warps[w];
            if (!(warp->collecting | warp->at_barrier | warp->yielded | warp->at_grid)) continue;
            say_waits("wait for their warp", warp, warp->collecting);
            say_waits("wait for the block", warp, warp->at_barrier);
            say_waits("wait for the grid", warp, warp->at_grid);
            say_waits("let others go first", warp, warp->yielded);
            said++;
        }
}

void machine_die(const struct lane *lane, struct emulated_site site, const char *format, ...) {
    va_list list;
    fprintf(stderr, "emulated CUDA: kernel %s, block (%u,%u,%u), thread (%u,%u,%u): ", lane->machine->config->name,
            lane->block.x, lane->block.y, lane->block.z, lane->thread.x, lane->thread.y, lane->thread.z);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\n");
    if (site.file) fprintf(stderr, "  at %s:%d\n", site.file, site.line);
    say_state(lane->machine);
    abort();
}

/* ---- whose turn it is ---- */

uint64_t machine_random(struct machine *machine) { /* xorshift64 (Marsaglia 2003) */
    machine->random ^= machine->random << 13;
    machine->random ^= machine->random >> 7;
    return machine->random ^= machine->random << 17;
}

/* A set bit: the lowest, or any. */
static int choose(struct machine *machine, uint32_t bits) {
    if (machine->random)
        for (uint64_t skip = machine_random(machine) % (unsigned)__builtin_popcount(bits); skip > 0; skip--)
            bits &= bits - 1;
    return __builtin_ctz(bits);
}

/* A ready thread: of the block that runs, else of the next one that has any. */
static struct lane *pick_ready(struct machine *machine) {
    if (machine->random && machine->n_blocks > 1) machine->at_block = machine_random(machine) % machine->n_blocks;
    for (size_t i = 0; i < machine->n_blocks; i++) {
        struct block *block = &machine->blocks[machine->at_block];
        if (block->ready_warps) {
            struct warp *warp = &block->warps[choose(machine, block->ready_warps)];
            return warp_take(warp, choose(machine, warp->ready));
        }
        machine->at_block = machine->at_block + 1 < machine->n_blocks ? machine->at_block + 1 : 0;
    }
    return NULL;
}

/* Threads that let others go first are ready again; 0: there are none. */
static int wake_yielded(struct machine *machine) {
    uint32_t found = 0;
    for (size_t b = 0; b < machine->n_blocks; b++)
        for (int w = 0; w < machine->blocks[b].n_warps; w++) {
            struct warp *warp = &machine->blocks[b].warps[w];
            found |= warp->yielded;
            warp_make_ready(warp, warp->yielded);
            warp->yielded = 0;
        }
    return found != 0;
}

/* Whether all have only waited for each other for too long. Another device's threads may be what they wait for. */
static int out_of_patience(struct machine *machine) {
    if (++machine->idle == 1) machine->idle_since = time(NULL);
    if (machine->idle > 100) sched_yield();
    return machine->idle % 1024 == 0 && time(NULL) - machine->idle_since > PATIENCE_SECONDS;
}

struct lane *machine_pick(struct machine *machine, struct lane *lane) {
    const struct emulated_site nowhere = {NULL, 0};
    struct lane *next = pick_ready(machine);
    if (next || machine->n_live == 0) return next;
    if (out_of_patience(machine))
        machine_die(lane, nowhere, "all threads have waited for %d s for what does not happen", PATIENCE_SECONDS);
    if (!wake_yielded(machine)) machine_die(lane, nowhere, "no thread can go on");
    return pick_ready(machine);
}

static char *take_stack(struct machine *machine) {
    enum { AT_ONCE = 64 };
    if (machine->n_stacks == 0) {
        machine->room_stacks += AT_ONCE;
        machine->stacks = (char **)realloc(machine->stacks, machine->room_stacks * sizeof *machine->stacks);
        if (!machine->stacks) abort();
        char *stacks = fiber_stacks(AT_ONCE);
        for (int i = 0; i < AT_ONCE; i++)
            machine->stacks[machine->n_stacks++] = stacks + (size_t)i * fiber_stack_size();
    }
    return machine->stacks[--machine->n_stacks];
}

void machine_resume(struct machine *machine, struct fiber *from, struct lane *next, int last) {
    emulated_now = next;
    if (!next->fiber.stack) fiber_prepare(&next->fiber, take_stack(machine), machine_run_lanes);
    fiber_switch(from, &next->fiber, last);
}

/* The running thread has ended: those that waited for it alone go on. */
static void end_lane(struct lane *lane) {
    struct block *block = lane->warp->block;
    copies_end(lane);
    lane->warp->ended |= 1u << lane->number;
    block->n_ended++;
    lane->machine->n_live--;
    lane_progress(lane);
    if (lane->warp->collecting) warp_release(lane->warp);
    if (block->n_at_barrier) barrier_release(block);
    if (lane->machine->n_at_grid) barrier_release_grid(lane->machine);
}

/* Runs a thread, then the next one that has not begun, for as long as it is such a one's turn: a kernel in which nobody
 * waits needs one stack and no switch. */
void machine_run_lanes(void) {
    struct machine *machine = machine_self()->machine;
    fiber_entered(&machine->host);
    for (;;) {
        struct lane *lane = machine_self();
        machine->body(machine->arguments);
        end_lane(lane);
        const int near = lane->warp->ready && !machine->random;
        struct lane *next =
            near ? warp_take(lane->warp, __builtin_ctz(lane->warp->ready)) : machine_pick(machine, lane);
        struct fiber mine = lane->fiber;
        lane->fiber.stack = NULL;
        if (next && !next->fiber.stack) {
            next->fiber = mine;
            emulated_now = next;
            continue;
        }
        fiber_check(&mine);
        machine->stacks[machine->n_stacks++] = mine.stack;
        if (next)
            machine_resume(machine, &mine, next, 1);
        else
            fiber_switch(&mine, &machine->host, 1);
    }
}
