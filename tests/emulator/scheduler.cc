/* A launch: blocks take their places, their threads run, and the next ones come. */
#include "scheduler.h"

#include <pthread.h>
#include <stdlib.h>

#include "machine.h"

/* ---- blocks ---- */

/* What stays the same for all blocks of a launch. */
static void shape_block(struct machine *machine, struct block *block, struct warp *warps) {
    const dim3 shape = machine->config->block;
    *block = {};
    block->machine = machine;
    block->n_threads = (int)(shape.x * shape.y * shape.z);
    block->n_warps = (block->n_threads + LANES - 1) / LANES;
    block->warps = warps;
    for (int t = 0; t < block->n_warps * LANES; t++) {
        struct warp *warp = &warps[t / LANES];
        struct lane *lane = &warp->lanes[t % LANES];
        const unsigned at = (unsigned)t;
        if (t % LANES == 0) {
            *warp = {};
            warp->block = block;
            warp->number = t / LANES;
        }
        lane->machine = machine;
        lane->warp = warp;
        lane->number = t % LANES;
        lane->copies = NULL;
        lane->thread = {at % shape.x, at / shape.x % shape.y, at / shape.x / shape.y};
        lane->block_dim = shape;
        lane->grid_dim = machine->config->grid;
    }
    shared_make(block, machine->config->shared);
}

/* Block `number` of the grid takes the place of one that has ended. */
static void begin_block(struct block *block, uint64_t number) {
    const dim3 grid = block->machine->config->grid;
    block->index =
        dim3((unsigned)(number % grid.x), (unsigned)(number / grid.x % grid.y), (unsigned)(number / grid.x / grid.y));
    block->n_ended = block->n_at_barrier = 0;
    block->serial++;
    for (int w = 0; w < block->n_warps; w++) {
        struct warp *warp = &block->warps[w];
        const int n = block->n_threads - w * LANES < LANES ? block->n_threads - w * LANES : LANES;
        const uint32_t all = 0xffffffffu >> (LANES - n);
        warp->ended = ~all;
        warp->syncs = 0;
        for (int l = 0; l < n; l++) {
            warp->lanes[l].block = {block->index.x, block->index.y, block->index.z};
            warp->lanes[l].arrived = warp->lanes[l].acquired = 0;
        }
        warp_make_ready(warp, all);
    }
    block->machine->n_live += (size_t)block->n_threads;
    shared_begin(block);
}

/* ---- machines ---- */

static struct machine *idle_machines;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct machine *take_machine(void) {
    pthread_mutex_lock(&lock);
    struct machine *machine = idle_machines;
    if (machine) idle_machines = machine->next;
    pthread_mutex_unlock(&lock);
    if (!machine) machine = (struct machine *)calloc(1, sizeof *machine);
    if (!machine) abort();
    return machine;
}

static void give_machine(struct machine *machine) {
    pthread_mutex_lock(&lock);
    machine->next = idle_machines;
    idle_machines = machine;
    pthread_mutex_unlock(&lock);
}

/* Room for n blocks with n_warps warps in all. */
static void reserve(struct machine *machine, size_t n_blocks, size_t n_warps) {
    if (machine->room_blocks < n_blocks) {
        free(machine->blocks);
        machine->blocks = (struct block *)malloc(n_blocks * sizeof *machine->blocks);
        machine->room_blocks = n_blocks;
    }
    if (machine->room_warps < n_warps) {
        free(machine->warps);
        machine->warps = (struct warp *)malloc(n_warps * sizeof *machine->warps);
        machine->room_warps = n_warps;
    }
    if (!machine->blocks || !machine->warps) abort();
}

/* ---- the order of blocks ---- */

/* REEL_EMULATED_ORDER: unset or 0 is the natural order. */
static uint64_t seed_of_order(void) {
    const char *text = getenv("REEL_EMULATED_ORDER");
    const uint64_t seed = text ? strtoull(text, NULL, 10) : 0;
    return seed ? (seed * 0x9e3779b97f4a7c15u) | 1 : 0;
}

static uint64_t common_divisor(uint64_t a, uint64_t b) {
    while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Place i of n holds block (factor i + shift) mod n: all of them once, as the factor has no divisor with n in common.
 */
struct order {
    uint64_t n, factor, shift;
};

static struct order make_order(struct machine *machine, uint64_t n) {
    struct order order = {n, 1, 0};
    if (!machine->random) return order;
    order.shift = machine_random(machine) % n;
    do order.factor = machine_random(machine) % n + 1;
    while (common_divisor(order.factor, n) != 1);
    return order;
}

static uint64_t block_at(const struct order *order, uint64_t place) {
    return (uint64_t)(((unsigned __int128)order->factor * place + order->shift) % order->n);
}

/* ---- a launch ---- */

/* As many blocks at a time as there are places. */
static void run_blocks(struct machine *machine, uint64_t n) {
    const struct order order = make_order(machine, n);
    for (uint64_t first = 0; first < n; first += machine->n_blocks) {
        machine->at_block = machine->idle = 0;
        for (size_t b = 0; b < machine->n_blocks; b++) begin_block(&machine->blocks[b], block_at(&order, first + b));
        machine_resume(machine, &machine->host, machine_pick(machine, NULL), 0);
        emulated_now = NULL;
        for (size_t b = 0; b < machine->n_blocks; b++) shared_check(&machine->blocks[b]);
    }
}

void scheduler_run(const struct emulated_config *config, emulated_body body, const void *arguments) {
    const uint64_t n = (uint64_t)config->grid.x * config->grid.y * config->grid.z;
    const size_t resident = config->cooperative ? n : 1;
    const size_t warps = ((size_t)config->block.x * config->block.y * config->block.z + LANES - 1) / LANES;
    struct machine *machine = take_machine();
    machine->config = config;
    machine->body = body;
    machine->arguments = arguments;
    machine->host = {};
    machine->random = seed_of_order();
    machine->n_live = machine->n_at_grid = 0;
    machine->n_blocks = resident;
    reserve(machine, resident, resident * warps);
    for (size_t b = 0; b < resident; b++) shape_block(machine, &machine->blocks[b], machine->warps + b * warps);
    run_blocks(machine, n);
    for (size_t b = 0; b < resident; b++) shared_free(&machine->blocks[b]);
    give_machine(machine);
}

int scheduler_blocks_per_processor(int threads, size_t shared) {
    const int warps = (threads + LANES - 1) / LANES;
    int blocks = (int)PROCESSOR_THREADS / (int)LANES / warps;
    const int by_shared = (int)(SHARED_PROCESSOR / (shared + SHARED_RESERVED));
    if (blocks > PROCESSOR_BLOCKS) blocks = PROCESSOR_BLOCKS;
    return blocks < by_shared ? blocks : by_shared;
}

void emulated_bounds(int threads) {
    const struct lane *lane = machine_self();
    if (lane->warp->block->n_threads > threads)
        machine_die(lane, {NULL, 0}, "%d threads a block, its __launch_bounds__ allow %d", lane->warp->block->n_threads,
                    threads);
}
