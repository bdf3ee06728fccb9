#include "store/overlay.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"

enum { SHARDS = 64, VERSIONS = 1 << 16, FIRST_SLOTS = 16, FIRST_RATINGS = 4 };

/* One user; `ratings` ascend by movie id. capacity >= n + reserved. */
struct live_user {
    int32_t user_id; /* -1 = a free slot */
    int32_t n, reserved, capacity;
    struct store_rating *ratings;
};

/* Open addressing with linear probing, at most 3/4 full; users are never taken out. */
struct shard {
    pthread_mutex_t mutex;
    struct live_user *slots; /* (n_slots,), n_slots a power of two or 0 */
    size_t n_slots, n_users;
};

struct overlay {
    struct shard shards[SHARDS];
    _Atomic uint64_t versions[VERSIONS]; /* by hash; 0 = none of its users has live ratings */
};

/* Fibonacci hashing: consecutive ids spread over all bits. */
static uint32_t hash_user(int32_t user_id) {
    return (uint32_t)user_id * 2654435769u;
}

static struct shard *shard_of(const struct overlay *overlay, uint32_t hash) {
    return (struct shard *)(uintptr_t)&overlay->shards[hash >> 26];
}

static _Atomic uint64_t *version_of(const struct overlay *overlay, int32_t user_id) {
    return (_Atomic uint64_t *)(uintptr_t)&overlay->versions[hash_user(user_id) >> 16];
}

/* The user's slot, or the free one where it belongs. The shard has free slots. */
static struct live_user *find_slot(const struct shard *shard, int32_t user_id) {
    size_t mask = shard->n_slots - 1, at = hash_user(user_id) & mask;
    while (shard->slots[at].user_id >= 0 && shard->slots[at].user_id != user_id) at = (at + 1) & mask;
    return &shard->slots[at];
}

static reel_status grow_shard(struct shard *shard, reel_error *err) {
    struct shard grown = {.n_slots = shard->n_slots ? 2 * shard->n_slots : (size_t)FIRST_SLOTS};
    TRY_RETURN(MEM_RAW(&grown.slots, grown.n_slots, err));
    for (size_t i = 0; i < grown.n_slots; i++) grown.slots[i] = (struct live_user){.user_id = -1};
    for (size_t i = 0; i < shard->n_slots; i++)
        if (shard->slots[i].user_id >= 0) *find_slot(&grown, shard->slots[i].user_id) = shard->slots[i];
    mem_free(shard->slots);
    shard->slots = grown.slots;
    shard->n_slots = grown.n_slots;
    return REEL_OK;
}

static reel_status reserve_locked(struct shard *shard, int32_t user_id, reel_error *err) {
    if (4 * (shard->n_users + 1) > 3 * shard->n_slots) TRY_RETURN(grow_shard(shard, err));
    struct live_user *user = find_slot(shard, user_id);
    if (user->user_id < 0) {
        *user = (struct live_user){.user_id = user_id};
        shard->n_users++;
    }
    if (user->n + user->reserved == user->capacity) {
        size_t capacity = user->capacity ? 2 * (size_t)user->capacity : (size_t)FIRST_RATINGS;
        struct store_rating *ratings;
        TRY_RETURN(MEM_RAW(&ratings, capacity, err));
        if (user->n) memcpy(ratings, user->ratings, (size_t)user->n * sizeof *ratings);
        mem_free(user->ratings);
        user->ratings = ratings;
        user->capacity = (int32_t)capacity;
    }
    user->reserved++;
    return REEL_OK;
}

reel_status overlay_reserve(struct overlay *overlay, int32_t user_id, reel_error *err) {
    struct shard *shard = shard_of(overlay, hash_user(user_id));
    pthread_mutex_lock(&shard->mutex);
    reel_status status = reserve_locked(shard, user_id, err);
    pthread_mutex_unlock(&shard->mutex);
    return status;
}

static void put(struct live_user *user, const struct store_rating *rating) {
    int32_t low = 0, high = user->n;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (user->ratings[middle].movie_id < rating->movie_id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == user->n || user->ratings[low].movie_id != rating->movie_id) {
        memmove(user->ratings + low + 1, user->ratings + low, (size_t)(user->n - low) * sizeof *user->ratings);
        user->n++;
    }
    user->ratings[low] = *rating;
}

void overlay_settle(struct overlay *overlay, int32_t user_id, const struct store_rating *rating) {
    struct shard *shard = shard_of(overlay, hash_user(user_id));
    pthread_mutex_lock(&shard->mutex);
    struct live_user *user = find_slot(shard, user_id);
    user->reserved--;
    if (rating) put(user, rating);
    pthread_mutex_unlock(&shard->mutex);
    /* After the change: who reads the new version reads the new ratings too. */
    if (rating) atomic_fetch_add_explicit(version_of(overlay, user_id), 1, memory_order_release);
}

uint64_t overlay_version(const struct overlay *overlay, int32_t user_id) {
    return atomic_load_explicit(version_of(overlay, user_id), memory_order_acquire);
}

int64_t overlay_read(const struct overlay *overlay, int32_t user_id, struct store_rating *out, int64_t max) {
    if (overlay_version(overlay, user_id) == 0) return 0;
    struct shard *shard = shard_of(overlay, hash_user(user_id));
    int64_t n = 0;
    pthread_mutex_lock(&shard->mutex);
    const struct live_user *user = shard->n_slots ? find_slot(shard, user_id) : NULL;
    if (user && user->user_id >= 0) {
        n = user->n;
        int64_t copied = n < max ? n : max;
        if (copied > 0) memcpy(out, user->ratings, (size_t)copied * sizeof *out);
    }
    pthread_mutex_unlock(&shard->mutex);
    return n;
}

reel_status overlay_new(struct overlay **out, reel_error *err) {
    TRY_RETURN(MEM_NEW(out, 1, err));
    for (int i = 0; i < SHARDS; i++) pthread_mutex_init(&(*out)->shards[i].mutex, NULL);
    return REEL_OK;
}

void overlay_free(struct overlay *overlay) {
    if (!overlay) return;
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &overlay->shards[i];
        for (size_t slot = 0; slot < shard->n_slots; slot++) mem_free(shard->slots[slot].ratings);
        mem_free(shard->slots);
        pthread_mutex_destroy(&shard->mutex);
    }
    mem_free(overlay);
}
