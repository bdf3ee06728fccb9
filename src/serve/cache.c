#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/error.h"
#include "serve/server.h"

enum { SHARDS = 64, BUCKETS = 4096, ENTRY_OVERHEAD = 256 };

struct cached {
    struct cached *next;          /* in its bucket */
    struct cached *newer, *older; /* in its shard, by last use */
    uint64_t key0, key1;
    struct body *body;
};

struct cache_shard {
    _Alignas(64) pthread_mutex_t lock;
    struct cached *newest, *oldest;
    int64_t bytes, entries, hits, misses;
    struct cached *buckets[BUCKETS];
};

struct body_cache {
    int64_t bytes_per_shard;
    struct cache_shard shards[SHARDS];
};

reel_status cache_new(int64_t bytes, struct body_cache **out, reel_error *err) {
    TRY_RETURN(MEM_NEW(out, 1, err));
    (*out)->bytes_per_shard = bytes / SHARDS;
    for (int i = 0; i < SHARDS; i++) pthread_mutex_init(&(*out)->shards[i].lock, NULL);
    return REEL_OK;
}

static int64_t cost(const struct cached *entry) {
    return (int64_t)entry->body->size + ENTRY_OVERHEAD;
}

static struct cached **find(struct cache_shard *shard, uint64_t key0, uint64_t key1) {
    struct cached **at = &shard->buckets[key1 % BUCKETS];
    while (*at && ((*at)->key0 != key0 || (*at)->key1 != key1)) at = &(*at)->next;
    return at;
}

static void unlink_use(struct cache_shard *shard, struct cached *entry) {
    *(entry->newer ? &entry->newer->older : &shard->newest) = entry->older;
    *(entry->older ? &entry->older->newer : &shard->oldest) = entry->newer;
}

static void link_newest(struct cache_shard *shard, struct cached *entry) {
    entry->newer = NULL;
    entry->older = shard->newest;
    *(shard->newest ? &shard->newest->newer : &shard->oldest) = entry;
    shard->newest = entry;
}

static void drop(struct cache_shard *shard, struct cached **at) {
    struct cached *entry = *at;
    if (!entry) return;
    *at = entry->next;
    unlink_use(shard, entry);
    shard->bytes -= cost(entry);
    shard->entries--;
    body_release(entry->body);
    free(entry);
}

struct body *cache_get(struct body_cache *cache, uint64_t key0, uint64_t key1) {
    struct cache_shard *shard = &cache->shards[key0 % SHARDS];
    struct body *body = NULL;
    pthread_mutex_lock(&shard->lock);
    struct cached *entry = *find(shard, key0, key1);
    if (entry) {
        body = body_retain(entry->body);
        if (entry != shard->newest) {
            unlink_use(shard, entry);
            link_newest(shard, entry);
        }
        shard->hits++;
    } else {
        shard->misses++;
    }
    pthread_mutex_unlock(&shard->lock);
    return body;
}

void cache_put(struct body_cache *cache, uint64_t key0, uint64_t key1, struct body *body) {
    struct cache_shard *shard = &cache->shards[key0 % SHARDS];
    struct cached *entry = malloc(sizeof *entry);
    if (!entry) return;
    *entry = (struct cached){.key0 = key0, .key1 = key1, .body = body};
    if (cost(entry) > cache->bytes_per_shard) {
        free(entry);
        return;
    }
    body_retain(body);
    pthread_mutex_lock(&shard->lock);
    struct cached **at = find(shard, key0, key1);
    if (*at) drop(shard, at);
    while (shard->oldest && shard->bytes + cost(entry) > cache->bytes_per_shard)
        drop(shard, find(shard, shard->oldest->key0, shard->oldest->key1));
    at = find(shard, key0, key1); /* the bucket's end may have been dropped */
    *at = entry;
    link_newest(shard, entry);
    shard->bytes += cost(entry);
    shard->entries++;
    pthread_mutex_unlock(&shard->lock);
}

void cache_get_stats(struct body_cache *cache, struct cache_stats *stats) {
    *stats = (struct cache_stats){0};
    for (int i = 0; i < SHARDS; i++) {
        struct cache_shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        stats->hits += shard->hits;
        stats->misses += shard->misses;
        stats->bytes += shard->bytes;
        stats->entries += shard->entries;
        pthread_mutex_unlock(&shard->lock);
    }
}

void cache_free(struct body_cache *cache) {
    if (!cache) return;
    for (int i = 0; i < SHARDS; i++) {
        struct cache_shard *shard = &cache->shards[i];
        while (shard->oldest) drop(shard, find(shard, shard->oldest->key0, shard->oldest->key1));
        pthread_mutex_destroy(&shard->lock);
    }
    mem_free(cache);
}
