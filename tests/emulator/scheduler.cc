#include "scheduler.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include "fiber.h"

enum { LANES = 32, WARPS_MAX = BLOCK_THREADS_MAX / LANES, PIECES_MAX = 32, GUARD = 64, PATIENCE_SECONDS = 30 };
enum { SPIN_MAX = 1000 }; /* atomics in a row before a thread is taken to wait */

static const int UNSET = 0xb7, GUARD_BYTE = 0xe1; /* 0xb7b7b7b7 is neither a plausible index nor a plausible float */

struct warp;

struct lane : emulated_thread {
    struct warp *warp;
    int number; /* in its warp */
    int atomics;
    struct fiber fiber;
    struct emulated_site site; /* where it waits */
};

/* What a lane brings to a primitive of its warp and takes from it. */
struct offer {
    uint64_t value, result;
    uint32_t mask;
    int operation, argument, width;
    const void *mine; /* EMULATED_GATHER: `argument` bytes */
    void *all;
};

/* A bit a lane; a lane is in at most one of them, or running. */
struct warp {
    struct block *block;
    int number;
    uint32_t ready, yielded, collecting, at_barrier, at_grid, ended;
    struct offer offers[LANES];
    struct lane lanes[LANES];
};

/* A declaration of shared memory. */
struct piece {
    const void *key;
    const char *name;
    char *at;
    size_t size;
    int used; /* by the block that runs now */
};

struct block {
    struct machine *machine;
    struct dim3 index;
    uint32_t ready_warps;
    int n_warps, n_threads, n_ended, n_at_barrier;
    struct emulated_site barrier; /* where those that wait are */
    int votes, vote_result;
    struct piece pieces[PIECES_MAX]; /* the first is the dynamic one */
    int n_pieces;
    struct warp *warps;
};

/* What a launch runs on; kept for later launches, since stacks are expensive to make. */
struct machine {
    struct machine *next;
    const struct emulated_config *config;
    emulated_body body;
    const void *arguments;
    struct fiber host;
    struct block *blocks; /* resident at a time */
    size_t n_blocks, room_blocks, room_warps;
    struct warp *warps;
    size_t at_block; /* the block whose thread runs */
    size_t n_live, n_at_grid;
    char **stacks; /* free ones */
    size_t n_stacks, room_stacks;
    uint64_t random; /* 0: natural order */
    size_t idle;     /* rounds in which all threads only yielded */
    time_t idle_since;
};

__thread struct emulated_thread *emulated_now;

static struct lane *self(void) {
    return static_cast<struct lane *>(emulated_now);
}

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
        for (int w = 0; w < machine->blocks[b].n_warps && said < 40; w++) {
            const struct warp *warp = &machine->blocks[b].warps[w];
            if (!(warp->collecting | warp->at_barrier | warp->yielded | warp->at_grid)) continue;
            say_waits("wait for their warp", warp, warp->collecting);
            say_waits("wait for the block", warp, warp->at_barrier);
            say_waits("wait for the grid", warp, warp->at_grid);
            say_waits("spin", warp, warp->yielded);
            said++;
        }
}

__attribute__((noreturn, format(printf, 3, 4))) static void die(const struct lane *lane, struct emulated_site site,
                                                                const char *format, ...) {
    va_list list;
    fprintf(stderr,
            "emulated CUDA: kernel %s, block (%u,%u,%u), thread (%u,%u,%u): ", lane->warp->block->machine->config->name,
            lane->block.x, lane->block.y, lane->block.z, lane->thread.x, lane->thread.y, lane->thread.z);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\n");
    if (site.file) fprintf(stderr, "%s:%d\n", site.file, site.line);
    say_state(lane->warp->block->machine);
    abort();
}

/* ---- whose turn it is ---- */

static uint64_t next_random(struct machine *machine) { /* xorshift64 (Marsaglia 2003) */
    machine->random ^= machine->random << 13;
    machine->random ^= machine->random >> 7;
    return machine->random ^= machine->random << 17;
}

/* A set bit: the lowest, or any. */
static int choose(struct machine *machine, uint32_t bits) {
    if (machine->random)
        for (uint64_t skip = next_random(machine) % (unsigned)__builtin_popcount(bits); skip > 0; skip--)
            bits &= bits - 1;
    return __builtin_ctz(bits);
}

static void make_ready(struct warp *warp, uint32_t lanes) {
    warp->ready |= lanes;
    if (warp->ready) warp->block->ready_warps |= 1u << warp->number;
}

static struct lane *take_lane(struct warp *warp, int lane) {
    warp->ready &= ~(1u << lane);
    if (!warp->ready) warp->block->ready_warps &= ~(1u << warp->number);
    return &warp->lanes[lane];
}

static struct lane *take(struct machine *machine, struct warp *warp) {
    return take_lane(warp, choose(machine, warp->ready));
}

/* A thread that can run: of the same warp first, then of the same block; NULL if there is none. */
static struct lane *pick(struct machine *machine, struct warp *warp) {
    if (warp && warp->ready && !machine->random) return take(machine, warp);
    for (size_t i = 0; i < machine->n_blocks; i++) {
        struct block *block = &machine->blocks[machine->at_block];
        if (block->ready_warps) return take(machine, &block->warps[choose(machine, block->ready_warps)]);
        machine->at_block = machine->at_block + 1 < machine->n_blocks ? machine->at_block + 1 : 0;
    }
    return NULL;
}

/* All that can run yielded, or nothing can: those that yielded go on. */
static struct lane *pick_yielded(struct machine *machine, struct lane *lane) {
    int found = 0;
    for (size_t b = 0; b < machine->n_blocks; b++)
        for (int w = 0; w < machine->blocks[b].n_warps; w++) {
            struct warp *warp = &machine->blocks[b].warps[w];
            found |= warp->yielded != 0;
            make_ready(warp, warp->yielded);
            warp->yielded = 0;
        }
    if (!found) die(lane, {NULL, 0}, "no thread can go on");
    if (++machine->idle == 1) machine->idle_since = time(NULL);
    if (machine->idle > 100) sched_yield();
    if (machine->idle % 1024 == 0 && time(NULL) - machine->idle_since > PATIENCE_SECONDS) {
        for (size_t b = 0; b < machine->n_blocks; b++)
            for (int w = 0; w < machine->blocks[b].n_warps; w++)
                machine->blocks[b].warps[w].yielded = machine->blocks[b].warps[w].ready;
        die(lane, {NULL, 0}, "all threads have waited for %d s for something that does not happen", PATIENCE_SECONDS);
    }
    return pick(machine, NULL);
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

static void run_lanes(void);

/* Goes on with `next` in place of what runs on `from`. */
static void resume(struct machine *machine, struct fiber *from, struct lane *next, int last) {
    emulated_now = next;
    if (!next->fiber.stack) fiber_prepare(&next->fiber, take_stack(machine), run_lanes);
    fiber_switch(from, &next->fiber, last);
}

/* The running thread waits, its bit already set in one of its warp's masks. */
static void wait_here(struct lane *lane) {
    struct machine *machine = lane->warp->block->machine;
    struct lane *next = pick(machine, lane->warp);
    if (!next) next = pick_yielded(machine, lane);
    if (next == lane) return;
    resume(machine, &lane->fiber, next, 0);
}

/* ---- barriers ---- */

static void progress(struct lane *lane) {
    lane->atomics = 0;
    lane->warp->block->machine->idle = 0;
}

/* Lets the block go on when all its threads that have not ended wait. */
static void release_barrier(struct block *block) {
    if (block->n_at_barrier == 0 || block->n_at_barrier + block->n_ended < block->n_threads) return;
    block->vote_result = block->votes;
    block->n_at_barrier = 0;
    for (int w = 0; w < block->n_warps; w++) {
        make_ready(&block->warps[w], block->warps[w].at_barrier);
        block->warps[w].at_barrier = 0;
    }
}

static int same_site(struct emulated_site a, struct emulated_site b) {
    return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

int emulated_barrier(enum emulated_vote vote, int predicate, struct emulated_site site) {
    struct lane *lane = self();
    struct block *block = lane->warp->block;
    const uint32_t bit = 1u << lane->number;
    progress(lane);
    lane->site = site;
    if (block->n_at_barrier == 0) {
        block->barrier = site;
        block->votes = vote == EMULATED_AND;
    } else if (!same_site(block->barrier, site))
        die(lane, site, "threads of one block wait at different barriers, others at %s:%d", block->barrier.file,
            block->barrier.line);
    predicate = predicate != 0;
    if (vote == EMULATED_COUNT) block->votes += predicate;
    if (vote == EMULATED_AND) block->votes &= predicate;
    if (vote == EMULATED_OR) block->votes |= predicate;
    lane->warp->at_barrier |= bit;
    block->n_at_barrier++;
    release_barrier(block);
    if (lane->warp->ready & bit && !block->machine->random) /* the last one to come goes on at once */
        take_lane(lane->warp, lane->number);
    else
        wait_here(lane);
    return block->vote_result;
}

static void release_grid(struct machine *machine) {
    if (machine->n_at_grid == 0 || machine->n_at_grid < machine->n_live) return;
    machine->n_at_grid = 0;
    for (size_t b = 0; b < machine->n_blocks; b++)
        for (int w = 0; w < machine->blocks[b].n_warps; w++) {
            struct warp *warp = &machine->blocks[b].warps[w];
            make_ready(warp, warp->at_grid);
            warp->at_grid = 0;
        }
}

void emulated_grid_barrier(struct emulated_site site) {
    struct lane *lane = self();
    struct machine *machine = lane->warp->block->machine;
    progress(lane);
    lane->site = site;
    if (!machine->config->cooperative) die(lane, site, "a grid's barrier needs a cooperative launch");
    lane->warp->at_grid |= 1u << lane->number;
    machine->n_at_grid++;
    release_grid(machine);
    wait_here(lane);
}

void emulated_yield(struct emulated_site site) {
    struct lane *lane = self();
    lane->site = site;
    lane->warp->yielded |= 1u << lane->number;
    wait_here(lane);
}

void emulated_spin(struct emulated_site site) {
    struct lane *lane = self();
    if (++lane->atomics < SPIN_MAX) return;
    lane->atomics = 0;
    emulated_yield(site);
}

/* ---- primitives of a warp ---- */

static int source_of(const struct offer *offer, int lane) {
    const int first = lane & ~(offer->width - 1);
    int source = lane;
    switch (offer->operation) {
    case EMULATED_SHFL:
        return first | (offer->argument & (offer->width - 1));
    case EMULATED_SHFL_UP:
        source = lane - offer->argument;
        return source < first ? lane : source;
    case EMULATED_SHFL_DOWN:
        source = lane + offer->argument;
        return source >= first + offer->width ? lane : source;
    default:
        source = lane ^ offer->argument;
        return source >= first + offer->width ? lane : source;
    }
}

static void shuffle(struct warp *warp, uint32_t here) {
    for (uint32_t rest = here; rest; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        struct offer *offer = &warp->offers[lane];
        const int source = source_of(offer, lane);
        if (source < 0 || source >= LANES || !(here >> source & 1))
            die(&warp->lanes[lane], warp->lanes[lane].site,
                "a shuffle reads lane %d, which takes no part (mask %08x, present %08x)", source, offer->mask, here);
        offer->result = warp->offers[source].value;
    }
}

static uint64_t combine(int operation, uint64_t a, uint64_t b) {
    switch (operation) {
    case EMULATED_ADD:
        return a + b;
    case EMULATED_MIN:
        return (uint32_t)a < (uint32_t)b ? a : b;
    case EMULATED_MAX:
        return (uint32_t)a > (uint32_t)b ? a : b;
    case EMULATED_MIN_SIGNED:
        return (int32_t)a < (int32_t)b ? a : b;
    case EMULATED_MAX_SIGNED:
        return (int32_t)a > (int32_t)b ? a : b;
    case EMULATED_BIT_AND:
        return a & b;
    case EMULATED_BIT_OR:
        return a | b;
    default:
        return a ^ b;
    }
}

static void reduce(struct warp *warp, uint32_t here, int operation) {
    uint64_t result = warp->offers[__builtin_ctz(here)].value;
    for (uint32_t rest = here & (here - 1); rest; rest &= rest - 1)
        result = combine(operation, result, warp->offers[__builtin_ctz(rest)].value);
    for (uint32_t rest = here; rest; rest &= rest - 1) warp->offers[__builtin_ctz(rest)].result = result;
}

/* Lanes of `here` whose value is that of `lane`. */
static uint32_t equal_lanes(const struct warp *warp, uint32_t here, int lane) {
    uint32_t equal = 0;
    for (uint32_t rest = here; rest; rest &= rest - 1)
        if (warp->offers[__builtin_ctz(rest)].value == warp->offers[lane].value) equal |= rest & -rest;
    return equal;
}

static void vote(struct warp *warp, uint32_t here, int operation) {
    uint32_t ballot = 0;
    for (uint32_t rest = here; rest; rest &= rest - 1)
        if (warp->offers[__builtin_ctz(rest)].value) ballot |= rest & -rest;
    for (uint32_t rest = here; rest; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        uint32_t result = ballot;
        if (operation != EMULATED_BALLOT) result = equal_lanes(warp, here, lane);
        if (operation == EMULATED_MATCH_ALL && result != here) result = 0;
        warp->offers[lane].result = result;
    }
}

static void gather(struct warp *warp, uint32_t here) {
    for (uint32_t rest = here; rest; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        const struct offer *to = &warp->offers[lane];
        const size_t size = (size_t)to->argument;
        if (here != 0xffffffffu) die(&warp->lanes[lane], warp->lanes[lane].site, "the whole warp must take part");
        for (int from = 0; from < LANES; from++)
            memcpy((char *)to->all + (size_t)from * size, warp->offers[from].mine, size);
    }
}

static void check_agreement(const struct warp *warp, uint32_t here) {
    const int first = __builtin_ctz(here);
    for (uint32_t rest = here & (here - 1); rest; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        const struct offer *a = &warp->offers[first], *b = &warp->offers[lane];
        if (a->operation != b->operation || a->mask != b->mask ||
            (a->operation == EMULATED_GATHER && a->argument != b->argument))
            die(&warp->lanes[lane], warp->lanes[lane].site,
                "lanes of one mask do different things (masks %08x, %08x), another at %s:%d", b->mask, a->mask,
                warp->lanes[first].site.file, warp->lanes[first].site.line);
    }
}

static void perform(struct warp *warp, uint32_t here) {
    const int operation = warp->offers[__builtin_ctz(here)].operation;
    check_agreement(warp, here);
    switch (operation) {
    case EMULATED_SYNC:
        break;
    case EMULATED_SHFL:
    case EMULATED_SHFL_UP:
    case EMULATED_SHFL_DOWN:
    case EMULATED_SHFL_XOR:
        shuffle(warp, here);
        break;
    case EMULATED_BALLOT:
    case EMULATED_MATCH_ANY:
    case EMULATED_MATCH_ALL:
        vote(warp, here, operation);
        break;
    case EMULATED_GATHER:
        gather(warp, here);
        break;
    default:
        reduce(warp, here, operation);
    }
}

/* Performs what the lanes of `mask` wait for, if all are here that have not ended. */
static int try_perform(struct warp *warp, uint32_t mask) {
    const uint32_t here = mask & warp->collecting;
    if (mask & ~(warp->collecting | warp->ended)) return 0;
    perform(warp, here);
    warp->collecting &= ~here;
    make_ready(warp, here);
    return 1;
}

/* Waits with the offer made; its result is then there. */
static void await_warp(struct lane *lane, const struct offer *offer) {
    struct warp *warp = lane->warp;
    const uint32_t bit = 1u << lane->number;
    progress(lane);
    if (!(offer->mask & bit)) die(lane, lane->site, "the lane is not in its own mask %08x", offer->mask);
    warp->collecting |= bit;
    if (try_perform(warp, offer->mask) && !warp->block->machine->random) /* the last one goes on at once */
        take_lane(warp, lane->number);
    else
        wait_here(lane);
}

uint64_t emulated_collect(enum emulated_operation operation, unsigned mask, uint64_t value, int argument, int width,
                          struct emulated_site site) {
    struct lane *lane = self();
    struct offer *offer = &lane->warp->offers[lane->number];
    lane->site = site;
    offer->operation = operation;
    offer->mask = mask;
    offer->value = value;
    offer->argument = argument;
    offer->width = width;
    await_warp(lane, offer);
    return offer->result;
}

void emulated_collect_bytes(const void *mine, void *all, size_t size, struct emulated_site site) {
    struct lane *lane = self();
    struct offer *offer = &lane->warp->offers[lane->number];
    lane->site = site;
    *offer = {0, 0, 0xffffffffu, EMULATED_GATHER, (int)size, LANES, mine, all};
    await_warp(lane, offer);
}

/* ---- shared memory ---- */

static char *new_piece(struct block *block, const void *key, const char *name, size_t size, size_t align) {
    struct piece *piece = &block->pieces[block->n_pieces];
    const size_t padded = (size + GUARD + align - 1) / align * align;
    if (block->n_pieces == PIECES_MAX) die(self(), {NULL, 0}, "too many declarations of shared memory");
#ifdef __SANITIZE_ADDRESS__
    (void)padded;
    void *at = NULL; /* no room past its end: the sanitizer sees every access there */
    if (posix_memalign(&at, align, size ? size : 1) != 0) at = NULL;
#else
    void *at = aligned_alloc(align, padded);
#endif
    if (!at) abort();
    *piece = {key, name, (char *)at, size, 0};
    block->n_pieces++;
    return piece->at;
}

/* The block's own from now on: its content is unset, and what lies behind it is watched. */
static void begin_piece(struct piece *piece) {
    piece->used = 1;
    memset(piece->at, UNSET, piece->size);
#ifndef __SANITIZE_ADDRESS__
    memset(piece->at + piece->size, GUARD_BYTE, GUARD);
#endif
}

static void check_shared_size(const struct block *block) {
    size_t sum = 0;
    for (int i = 1; i < block->n_pieces; i++) sum += block->pieces[i].size;
    if (sum > SHARED_STATIC_MAX) die(self(), {NULL, 0}, "%zu bytes of static shared memory", sum);
    if (sum + block->pieces[0].size > SHARED_BLOCK_MAX)
        die(self(), {NULL, 0}, "%zu bytes of shared memory", sum + block->pieces[0].size);
}

void *emulated_dynamic_shared(void) {
    return self()->warp->block->pieces[0].at;
}

void *emulated_shared_piece(const void *key, const char *name, size_t size, size_t align) {
    struct block *block = self()->warp->block;
    int i = 1;
    while (i < block->n_pieces && block->pieces[i].key != key) i++;
    if (i == block->n_pieces) {
        new_piece(block, key, name, size, align < 16 ? 16 : align);
        check_shared_size(block);
    }
    if (!block->pieces[i].used) begin_piece(&block->pieces[i]);
    return block->pieces[i].at;
}

static void check_guards(const struct machine *machine, const struct block *block) {
#ifndef __SANITIZE_ADDRESS__
    for (int i = 0; i < block->n_pieces; i++)
        for (size_t at = 0; block->pieces[i].used && at < GUARD; at++) {
            if ((unsigned char)block->pieces[i].at[block->pieces[i].size + at] == GUARD_BYTE) continue;
            fprintf(
                stderr,
                "emulated CUDA: kernel %s, block (%u,%u,%u) wrote past the end of shared memory \"%s\" (%zu bytes)\n",
                machine->config->name, block->index.x, block->index.y, block->index.z, block->pieces[i].name,
                block->pieces[i].size);
            abort();
        }
#else
    (void)machine, (void)block;
#endif
}

void emulated_bounds(int threads) {
    const struct block *block = self()->warp->block;
    if (block->n_threads > threads)
        die(self(), {NULL, 0}, "%d threads a block, __launch_bounds__ allow %d", block->n_threads, threads);
}

/* ---- a launch ---- */

static void end_lane(struct lane *lane) {
    struct warp *warp = lane->warp;
    struct block *block = warp->block;
    warp->ended |= 1u << lane->number;
    block->n_ended++;
    block->machine->n_live--;
    block->machine->idle = 0;
    for (uint32_t rest = warp->collecting; rest; rest &= rest - 1) {
        const int other = __builtin_ctz(rest);
        if (warp->collecting >> other & 1) (void)try_perform(warp, warp->offers[other].mask);
    }
    release_barrier(block);
    release_grid(block->machine);
}

/* What every fiber runs: a thread, then the next one that has not begun, for as long as it is such a one's turn. */
static void run_lanes(void) {
    struct machine *machine = self()->warp->block->machine;
    fiber_entered(&machine->host);
    for (;;) {
        struct lane *lane = self();
        machine->body(machine->arguments);
        end_lane(lane);
        struct lane *next = pick(machine, lane->warp);
        if (!next && machine->n_live > 0) next = pick_yielded(machine, lane);
        struct fiber mine = lane->fiber;
        lane->fiber.stack = NULL;
        if (next && !next->fiber.stack) {
            next->fiber = mine;
            emulated_now = next;
            continue;
        }
        machine->stacks[machine->n_stacks++] = mine.stack;
        if (next)
            resume(machine, &mine, next, 1);
        else
            fiber_switch(&mine, &machine->host, 1);
    }
}

/* Block `number` of the grid takes its place. */
static void begin_block(struct machine *machine, struct block *block, uint64_t number) {
    const dim3 grid = machine->config->grid;
    block->index =
        dim3((unsigned)(number % grid.x), (unsigned)(number / grid.x % grid.y), (unsigned)(number / grid.x / grid.y));
    block->n_ended = block->n_at_barrier = 0;
    for (int i = 0; i < block->n_pieces; i++) block->pieces[i].used = 0;
    begin_piece(&block->pieces[0]);
    for (int w = 0; w < block->n_warps; w++) {
        struct warp *warp = &block->warps[w];
        const int n = block->n_threads - w * LANES < LANES ? block->n_threads - w * LANES : LANES;
        const uint32_t all = n == LANES ? 0xffffffffu : (1u << n) - 1;
        warp->ended = ~all;
        for (int l = 0; l < n; l++) warp->lanes[l].block = {block->index.x, block->index.y, block->index.z};
        make_ready(warp, all);
    }
    machine->n_live += (size_t)block->n_threads;
}

static void end_block(struct machine *machine, struct block *block) {
    check_guards(machine, block);
}

/* What stays the same for all blocks of a launch. */
static void shape_block(struct machine *machine, struct block *block, struct warp *warps) {
    const dim3 shape = machine->config->block;
    *block = {};
    block->machine = machine;
    block->n_threads = (int)(shape.x * shape.y * shape.z);
    block->n_warps = (block->n_threads + LANES - 1) / LANES;
    block->warps = warps;
    for (int w = 0; w < block->n_warps; w++) {
        warps[w] = {};
        warps[w].block = block;
        warps[w].number = w;
        for (int l = 0; l < LANES; l++) {
            struct lane *lane = &warps[w].lanes[l];
            const unsigned at = (unsigned)(w * LANES + l);
            lane->warp = &warps[w];
            lane->number = l;
            lane->thread = {at % shape.x, at / shape.x % shape.y, at / shape.x / shape.y};
            lane->block_dim = shape;
            lane->grid_dim = machine->config->grid;
        }
    }
    new_piece(block, NULL, "the dynamic one", machine->config->shared, 128);
}

static void free_pieces(struct block *block) {
    for (int i = 0; i < block->n_pieces; i++) free(block->pieces[i].at);
}

/* Room for n blocks of n_warps warps. */
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

static void run_blocks(struct machine *machine) {
    machine->at_block = 0;
    machine->idle = 0;
    struct lane *first = pick(machine, NULL);
    resume(machine, &machine->host, first, 0);
    emulated_now = NULL;
}

/* The number that place `i` of n has in a random order; `a` has no divisor with n in common. */
static uint64_t shuffled(uint64_t i, uint64_t n, uint64_t a, uint64_t b) {
    return (uint64_t)(((unsigned __int128)a * i + b) % n);
}

static uint64_t common_divisor(uint64_t a, uint64_t b) {
    while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

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

/* REEL_EMULATED_ORDER: 0 or unset is the natural order. */
static uint64_t seed_of_order(void) {
    const char *text = getenv("REEL_EMULATED_ORDER");
    const uint64_t seed = text ? strtoull(text, NULL, 10) : 0;
    return seed ? (seed * 0x9e3779b97f4a7c15u) | 1 : 0;
}

void scheduler_run(const struct emulated_config *config, emulated_body body, const void *arguments) {
    struct machine *machine = take_machine();
    const uint64_t n = (uint64_t)config->grid.x * config->grid.y * config->grid.z;
    const size_t resident = config->cooperative ? n : 1;
    const size_t warps = ((size_t)config->block.x * config->block.y * config->block.z + LANES - 1) / LANES;
    uint64_t a = 1, b = 0;
    machine->config = config;
    machine->body = body;
    machine->arguments = arguments;
    machine->host = {};
    machine->random = seed_of_order();
    machine->n_live = machine->n_at_grid = 0;
    reserve(machine, resident, resident * warps);
    machine->n_blocks = resident;
    for (size_t i = 0; i < resident; i++) shape_block(machine, &machine->blocks[i], machine->warps + i * warps);
    if (machine->random) {
        b = next_random(machine) % n;
        do a = next_random(machine) % n + 1;
        while (common_divisor(a, n) != 1);
    }
    for (uint64_t i = 0; i < n; i += resident) {
        for (size_t r = 0; r < resident; r++) begin_block(machine, &machine->blocks[r], shuffled(i + r, n, a, b));
        run_blocks(machine);
        for (size_t r = 0; r < resident; r++) end_block(machine, &machine->blocks[r]);
    }
    for (size_t r = 0; r < resident; r++) free_pieces(&machine->blocks[r]);
    give_machine(machine);
}

int scheduler_blocks_per_processor(int threads, size_t shared) {
    const int warps = (threads + LANES - 1) / LANES;
    int blocks = (int)PROCESSOR_THREADS / (int)LANES / warps;
    const int by_shared = (int)(SHARED_PROCESSOR / (shared + SHARED_RESERVED));
    if (blocks > PROCESSOR_BLOCKS) blocks = PROCESSOR_BLOCKS;
    return blocks < by_shared ? blocks : by_shared;
}
