/* Counters of the service in Prometheus' text format. Each epoll thread counts in arrays of its own, without locks; a
 * scrape adds them up. */
#ifndef SERVE_METRICS_H
#define SERVE_METRICS_H

#include "core/mem.h"
#include "serve/access_log.h"
#include "serve/router.h"

struct metrics;
struct service;

reel_status metrics_new(int daemons, const struct router *router, struct metrics **out, reel_error *err);
void metrics_free(struct metrics *metrics); /* takes NULL */
/* Called by thread record->daemon alone. */
void metrics_record(struct metrics *metrics, const struct access_record *record);
/* Everything, the service's queue, cache, models and memory included. */
void metrics_text(const struct service *service, struct strbuf *out);

#endif
