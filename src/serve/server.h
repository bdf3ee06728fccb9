/* What the parts of the running server know of each other beyond service.h. */
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include "serve/service.h"

/* service->draining: 0, then these. POLITE: every answer ends its connection; NOW: nothing new is worked on. */
enum { DRAIN_POLITE = 1, DRAIN_NOW = 2 };

reel_status cache_new(int64_t bytes, struct body_cache **out, reel_error *err);
void cache_free(struct body_cache *cache); /* takes NULL */
struct cache_stats {
    int64_t hits, misses, bytes, entries;
};
void cache_get_stats(struct body_cache *cache, struct cache_stats *stats);

/* The work of a precompute job: fills nine tenths of the cache with the users' suggestions (routes_b.c). */
reel_status precompute_suggestions(struct service *service, reel_context *ctx, const char *name, reel_error *err);
int service_connections(const struct service *service);
/* 1 for the routes of routes_system.c, which answer while nothing is loaded. */
int route_is_system(const struct route *route);
/* 1 for /healthz, /readyz and the files of the web page, which hold no data: no key is ever asked for. */
int route_is_open(const struct route *route);

#endif
