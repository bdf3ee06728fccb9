/* The cache of bodies, the allowance of addresses, and the swap of snapshots under readers. */
#include "tests/test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>

#include "serve/address.h"
#include "serve/server.h"

static struct body *body_of(char fill, size_t size) {
    char *bytes = malloc(size);
    memset(bytes, fill, size);
    struct body *body = body_new("text/plain", bytes, size);
    free(bytes);
    return body;
}

static void cache_keeps_what_was_used_last(void) {
    struct body_cache *cache;
    struct cache_stats stats;
    reel_error err;
    REQUIRE_OK(cache_new(64 * 4096, &cache, &err), err); /* 4096 bytes a shard */
    for (uint64_t i = 0; i < 3; i++) {
        struct body *body = body_of((char)('a' + i), 1000);
        cache_put(cache, 0, i, body);
        body_release(body);
    }
    struct body *first = cache_get(cache, 0, 0); /* used again: 1 is the oldest now */
    CHECK(first && first->data[0] == 'a' && first->size == 1000);
    struct body *more = body_of('d', 1000);
    cache_put(cache, 0, 3, more);
    cache_put(cache, 0, 3, more); /* in place of itself */
    CHECK(cache_get(cache, 0, 1) == NULL);
    struct body *found = cache_get(cache, 0, 3);
    CHECK(found == more);
    CHECK(cache_get(cache, 1, 3) == NULL);
    cache_get_stats(cache, &stats);
    CHECK_INT(stats.entries, 3);
    CHECK_INT(stats.hits, 2);
    CHECK_INT(stats.misses, 2);
    struct body *large = body_of('x', 5000);
    cache_put(cache, 0, 9, large); /* larger than a shard: not kept */
    CHECK(cache_get(cache, 0, 9) == NULL);
    cache_free(cache);
    CHECK(first && found && first->data[999] == 'a' && found->data[0] == 'd'); /* those who hold one keep it */
    body_release(first);
    body_release(more);
    body_release(found);
    body_release(large);
}

static void an_address_gets_its_allowance(void) {
    enum { SECOND = 1000000000 };
    struct addresses *addresses;
    reel_error err;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(1)}, other = from;
    inet_pton(AF_INET, "10.0.0.1", &from.sin_addr);
    inet_pton(AF_INET, "10.0.0.2", &other.sin_addr);
    REQUIRE_OK(addresses_new(2, 10, &addresses, &err), err);
    const struct sockaddr *a = (const struct sockaddr *)&from, *b = (const struct sockaddr *)&other;
    struct address *first = address_open(addresses, a), *second = address_open(addresses, a);
    CHECK(first == second && first);
    CHECK(!addresses_admit(addresses, a) && addresses_admit(addresses, b));
    int64_t now = 100 * (int64_t)SECOND;
    int taken = 0;
    for (int i = 0; i < 50; i++) taken += address_take(addresses, first, now);
    CHECK_INT(taken, 10); /* a second's worth at once */
    CHECK(address_take(addresses, first, now + SECOND / 10));
    CHECK(!address_take(addresses, first, now + SECOND / 10));
    address_close(addresses, first);
    CHECK(addresses_admit(addresses, a));
    address_close(addresses, second);
    addresses_sweep(addresses, now); /* its allowance is not full again: remembered */
    first = address_open(addresses, a);
    CHECK(!address_take(addresses, first, now));
    address_close(addresses, first);
    addresses_sweep(addresses, now + 10 * (int64_t)SECOND);
    first = address_open(addresses, a);
    CHECK(address_take(addresses, first, now));
    address_close(addresses, first);
    addresses_free(addresses);
}

static void clients_of_a_network_are_one(void) {
    struct addresses *addresses;
    reel_error err;
    struct sockaddr_in6 one = {.sin6_family = AF_INET6}, two = one, far = one;
    inet_pton(AF_INET6, "2001:db8::1", &one.sin6_addr);
    inet_pton(AF_INET6, "2001:db8::ffff:2", &two.sin6_addr);
    inet_pton(AF_INET6, "2001:db8:0:1::1", &far.sin6_addr);
    REQUIRE_OK(addresses_new(1, 0, &addresses, &err), err);
    struct address *open = address_open(addresses, (const struct sockaddr *)&one);
    CHECK(!addresses_admit(addresses, (const struct sockaddr *)&two));
    CHECK(addresses_admit(addresses, (const struct sockaddr *)&far));
    CHECK(addresses_admit(addresses, NULL)); /* a UNIX socket */
    address_close(addresses, open);
    addresses_free(addresses);
}

/* ---- snapshots ---- */

enum { READERS = 3, SWAPS = 2000 };
static struct snapshot_cell *cell;
static atomic_int done;

static struct snapshot *make_snapshot(uint64_t generation) {
    struct snapshot *snapshot;
    reel_error err;
    REQUIRE_OK(MEM_NEW(&snapshot, 1, &err), err);
    atomic_init(&snapshot->references, 1);
    snapshot->generation = generation;
    return snapshot;
}

/* A snapshot that was freed too early shows under the sanitizers; generations never run backwards. */
static void *read_snapshots(void *arg) {
    uint64_t latest = 0;
    intptr_t backwards = 0;
    while (!atomic_load(&done)) {
        const struct snapshot *snapshot = snapshot_pin(cell, (int)(intptr_t)arg);
        backwards += snapshot->generation < latest;
        latest = snapshot->generation;
        snapshot_release(snapshot);
    }
    return (void *)backwards;
}

static void snapshots_are_swapped_under_readers(void) {
    pthread_t threads[READERS + 1];
    reel_error err;
    REQUIRE_OK(snapshot_cell_new(READERS, &cell, &err), err);
    CHECK(snapshot_pin(cell, 0) == NULL && snapshot_pin(cell, -1) == NULL);
    snapshot_swap(cell, make_snapshot(1));
    for (int i = 0; i <= READERS; i++) /* the last one has no slot */
        pthread_create(&threads[i], NULL, read_snapshots, (void *)(intptr_t)(i < READERS ? i : -1));
    for (uint64_t i = 2; i < SWAPS; i++) snapshot_swap(cell, make_snapshot(i));
    atomic_store(&done, 1);
    for (int i = 0; i <= READERS; i++) {
        void *backwards;
        pthread_join(threads[i], &backwards);
        CHECK(backwards == NULL);
    }
    snapshot_cell_free(cell);
}

int main(void) {
    RUN(cache_keeps_what_was_used_last);
    RUN(an_address_gets_its_allowance);
    RUN(clients_of_a_network_are_one);
    RUN(snapshots_are_swapped_under_readers);
    TEST_EXIT();
}
