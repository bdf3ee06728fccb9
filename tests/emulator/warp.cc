/* Primitives of a warp: each lane makes an offer and waits; the last one to come works out the results of all. */
#include "machine.h"

static const uint32_t WHOLE_WARP = 0xffffffffu;

/* For each lane of `here`, from the lowest. */
#define FOR_LANES(lane, here)                                                           \
    for (uint32_t rest = (here), lane = rest ? (uint32_t)__builtin_ctz(rest) : 0; rest; \
         rest &= rest - 1, lane = rest ? (uint32_t)__builtin_ctz(rest) : 0)

/* ---- shuffles ---- */

static int operation_of(const struct offer *offer) {
    return (int)(offer->word & 0xff);
}

template <int OPERATION> static inline int source_of(const struct offer *offer, int lane) {
    const int argument = (int)(offer->word >> 32), width = (int)(offer->word >> 8 & 0xff);
    const int first = lane & ~(width - 1);
    if (OPERATION == EMULATED_SHFL) return first | (argument & (width - 1));
    const int source = OPERATION == EMULATED_SHFL_UP     ? lane - argument
                       : OPERATION == EMULATED_SHFL_DOWN ? lane + argument
                                                         : lane ^ argument;
    if (OPERATION == EMULATED_SHFL_UP) return source < first ? lane : source;
    return source >= first + width ? lane : source;
}

template <int OPERATION> static void shuffle(struct warp *warp, uint32_t here) {
    FOR_LANES(lane, here) {
        struct offer *offer = &warp->offers[lane];
        const int source = source_of<OPERATION>(offer, (int)lane);
        if ((unsigned)source >= LANES || !(here >> source & 1))
            machine_die(&warp->lanes[lane], warp->lanes[lane].site,
                        "a shuffle reads lane %d, which takes no part (mask %08x, present %08x)", source, offer->mask,
                        here);
        offer->result = warp->offers[source].value;
    }
}

/* ---- votes and sums ---- */

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
    FOR_LANES(lane, here & (here - 1)) result = combine(operation, result, warp->offers[lane].value);
    FOR_LANES(lane, here) warp->offers[lane].result = result;
}

static void ballot(struct warp *warp, uint32_t here) {
    uint32_t result = 0;
    FOR_LANES(lane, here) result |= (uint32_t)(warp->offers[lane].value != 0) << lane;
    FOR_LANES(lane, here) warp->offers[lane].result = result;
}

/* Who of `here` has the value of `lane`. */
static uint32_t equal_lanes(const struct warp *warp, uint32_t here, uint32_t as) {
    uint32_t equal = 0;
    FOR_LANES(lane, here) equal |= (uint32_t)(warp->offers[lane].value == warp->offers[as].value) << lane;
    return equal;
}

static void match(struct warp *warp, uint32_t here, int all) {
    FOR_LANES(lane, here) {
        const uint32_t equal = equal_lanes(warp, here, lane);
        warp->offers[lane].result = all && equal != here ? 0 : equal;
    }
}

static void gather(struct warp *warp, uint32_t here) {
    const size_t size = (size_t)warp->offers[__builtin_ctz(here)].value;
    FOR_LANES(lane, here) {
        char *to = (char *)warp->offers[lane].all;
        if (here != WHOLE_WARP)
            machine_die(&warp->lanes[lane], warp->lanes[lane].site, "the whole warp must take part");
        for (size_t from = 0; from < LANES; from++) memcpy(to + from * size, warp->offers[from].mine, size);
    }
}

/* ---- all of them ---- */

static void check_agreement(const struct warp *warp, uint32_t here) {
    const int first = __builtin_ctz(here);
    const struct offer *a = &warp->offers[first];
    FOR_LANES(lane, here) {
        const struct offer *b = &warp->offers[lane];
        if (a->mask == b->mask && operation_of(a) == operation_of(b) &&
            (a->value == b->value || operation_of(a) != EMULATED_GATHER))
            continue;
        machine_die(&warp->lanes[lane], warp->lanes[lane].site,
                    "lanes of one mask do different things (masks %08x, %08x), another at %s:%d", b->mask, a->mask,
                    warp->lanes[first].site.file, warp->lanes[first].site.line);
    }
}

static void perform(struct warp *warp, uint32_t here) {
    const int operation = operation_of(&warp->offers[__builtin_ctz(here)]);
    check_agreement(warp, here);
    switch (operation) {
    case EMULATED_SYNC:
        if (here == (WHOLE_WARP & ~warp->ended)) warp->syncs++;
        return;
    case EMULATED_SHFL:
        return shuffle<EMULATED_SHFL>(warp, here);
    case EMULATED_SHFL_UP:
        return shuffle<EMULATED_SHFL_UP>(warp, here);
    case EMULATED_SHFL_DOWN:
        return shuffle<EMULATED_SHFL_DOWN>(warp, here);
    case EMULATED_SHFL_XOR:
        return shuffle<EMULATED_SHFL_XOR>(warp, here);
    case EMULATED_BALLOT:
        return ballot(warp, here);
    case EMULATED_MATCH_ANY:
        return match(warp, here, 0);
    case EMULATED_MATCH_ALL:
        return match(warp, here, 1);
    case EMULATED_GATHER:
        return gather(warp, here);
    default:
        return reduce(warp, here, operation);
    }
}

/* Performs what the lanes of `mask` wait for, if all are here that have not ended. */
static inline void try_perform(struct warp *warp, uint32_t mask) {
    if (mask & ~(warp->collecting | warp->ended)) return;
    const uint32_t here = mask & warp->collecting;
    perform(warp, here);
    warp->collecting &= ~here;
    warp_make_ready(warp, here);
}

void warp_release(struct warp *warp) {
    FOR_LANES(lane, warp->collecting)
    if (warp->collecting >> lane & 1) try_perform(warp, warp->offers[lane].mask);
}

/* Waits with the offer made; its result is then there. */
static inline void await_warp(struct lane *lane, uint32_t mask) {
    const uint32_t bit = 1u << lane->number;
    lane_progress(lane);
    if (!(mask & bit)) machine_die(lane, lane->site, "the lane is not in its own mask %08x", mask);
    lane->warp->collecting |= bit;
    try_perform(lane->warp, mask);
    lane_wait_or_go(lane);
}

uint64_t emulated_collect(uint64_t word, unsigned mask, uint64_t value, struct emulated_site site) {
    struct lane *lane = machine_self();
    struct offer *offer = &lane->warp->offers[lane->number];
    lane->site = site;
    offer->word = word;
    offer->mask = mask;
    offer->value = value;
    await_warp(lane, mask);
    return offer->result;
}

void emulated_collect_bytes(const void *mine, void *all, size_t size, struct emulated_site site) {
    struct lane *lane = machine_self();
    lane->site = site;
    lane->warp->offers[lane->number] = {emulated_word(EMULATED_GATHER), size, 0, WHOLE_WARP, mine, all};
    await_warp(lane, WHOLE_WARP);
}
