#include "serve/address.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/error.h"
#include "core/mem.h"

enum { SHARDS = 64, BUCKETS = 256 };

struct key {
    uint64_t family, prefix;
};

struct address {
    struct address *next;
    struct key key;
    int connections;            /* under the shard's lock */
    _Atomic int64_t arrival_ns; /* GCRA's theoretical arrival time */
};

struct shard {
    pthread_mutex_t lock;
    struct address *buckets[BUCKETS];
};

struct addresses {
    int connections, rate;
    struct shard shards[SHARDS];
};

reel_status addresses_new(int connections, int rate, struct addresses **out, reel_error *err) {
    TRY_RETURN(MEM_NEW(out, 1, err));
    (*out)->connections = connections;
    (*out)->rate = rate;
    for (int i = 0; i < SHARDS; i++) pthread_mutex_init(&(*out)->shards[i].lock, NULL);
    return REEL_OK;
}

void addresses_free(struct addresses *addresses) {
    if (!addresses) return;
    for (int i = 0; i < SHARDS; i++) {
        for (int b = 0; b < BUCKETS; b++)
            for (struct address *at = addresses->shards[i].buckets[b], *next; at; at = next) {
                next = at->next;
                free(at);
            }
        pthread_mutex_destroy(&addresses->shards[i].lock);
    }
    mem_free(addresses);
}

static int key_of(const struct sockaddr *from, struct key *key) {
    *key = (struct key){0};
    if (from && from->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, from, sizeof in);
        *key = (struct key){AF_INET, in.sin_addr.s_addr};
    } else if (from && from->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, from, sizeof in6);
        key->family = AF_INET6;
        memcpy(&key->prefix, &in6.sin6_addr, sizeof key->prefix);
    }
    return key->family != 0;
}

static struct address **find(struct addresses *addresses, const struct key *key, struct shard **shard) {
    uint64_t hash = XXH3_64bits(key, sizeof *key);
    *shard = &addresses->shards[hash % SHARDS];
    struct address **at = &(*shard)->buckets[hash / SHARDS % BUCKETS];
    pthread_mutex_lock(&(*shard)->lock);
    while (*at && memcmp(&(*at)->key, key, sizeof *key) != 0) at = &(*at)->next;
    return at;
}

int addresses_admit(struct addresses *addresses, const struct sockaddr *from) {
    struct key key;
    struct shard *shard;
    if (!addresses->connections || !key_of(from, &key)) return 1;
    const struct address *address = *find(addresses, &key, &shard);
    int allowed = !address || address->connections < addresses->connections;
    pthread_mutex_unlock(&shard->lock);
    return allowed;
}

struct address *address_open(struct addresses *addresses, const struct sockaddr *from) {
    struct key key;
    struct shard *shard;
    if ((!addresses->connections && !addresses->rate) || !key_of(from, &key)) return NULL;
    struct address **at = find(addresses, &key, &shard);
    if (!*at) {
        *at = calloc(1, sizeof **at);
        if (*at) (*at)->key = key;
    }
    struct address *address = *at;
    if (address) address->connections++;
    pthread_mutex_unlock(&shard->lock);
    return address;
}

void address_close(struct addresses *addresses, struct address *address) {
    struct shard *shard;
    if (!address) return;
    (void)find(addresses, &address->key, &shard);
    address->connections--;
    pthread_mutex_unlock(&shard->lock);
}

int address_take(const struct addresses *addresses, struct address *address, int64_t now_ns) {
    enum { SECOND_NS = 1000000000 };
    if (!address || !addresses->rate) return 1;
    int64_t interval = SECOND_NS / addresses->rate, arrival = atomic_load(&address->arrival_ns), next;
    do {
        next = (arrival > now_ns ? arrival : now_ns) + interval;
        if (next - now_ns > SECOND_NS) return 0;
    } while (!atomic_compare_exchange_weak(&address->arrival_ns, &arrival, next));
    return 1;
}

void addresses_sweep(struct addresses *addresses, int64_t now_ns) {
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &addresses->shards[i];
        pthread_mutex_lock(&shard->lock);
        for (int b = 0; b < BUCKETS; b++)
            for (struct address **at = &shard->buckets[b]; *at;) {
                struct address *address = *at;
                if (address->connections > 0 || atomic_load(&address->arrival_ns) > now_ns) {
                    at = &address->next;
                    continue;
                }
                *at = address->next;
                free(address);
            }
        pthread_mutex_unlock(&shard->lock);
    }
}
