/* The HTTP front: libmicrohttpd's epoll threads on one address, and everything around a handler (guard, routes, access,
 * limits, bodies, answers, metrics, log). */
#ifndef SERVE_DAEMON_H
#define SERVE_DAEMON_H

#include "serve/connection.h"
#include "serve/router.h"
#include "serve/service.h"

struct front;

/* Listens as service->options say, with `daemons` threads. IO (the address is taken: names it), NO_MEMORY. */
reel_status front_start(struct service *service, const struct router *router, int daemons, struct front **out,
                        reel_error *err);
int front_port(const struct front *front);
/* No new connections from now on; those that are open are closed after their next answer. */
void front_quiesce(struct front *front);
/* Requests that are neither answered nor given up. */
int front_running(const struct front *front);
/* Of those, the ones that handlers or workers have at hand. */
int front_working(const struct front *front);
int front_connections(const struct front *front);
/* Ends connections that are over their time. */
void front_sweep(struct front *front);
/* Ends all threads and frees. No request may be deferred any more. Takes NULL. */
void front_stop(struct front *front);

#endif
