/* The open connections, and the watchdog's view of them. libmicrohttpd tells neither when the first byte of a request
 * came nor can it end a request that trickles in, so the watchdog looks at each socket itself: the kernel counts the
 * bytes received, and shutdown(2) makes the epoll thread close the connection. */
#ifndef SERVE_CONNECTION_H
#define SERVE_CONNECTION_H

#include <netinet/in.h>
#include "serve/address.h"
#include "serve/request.h"

enum connection_phase {
    PHASE_IDLE,      /* between requests, or before a request line is complete */
    PHASE_RECEIVING, /* from the request line to the last byte of the body */
    PHASE_WORKING,   /* the client has done its part */
    PHASE_SENDING    /* the answer is queued */
};

struct front;

struct connection {
    int fd, daemon;
    struct front *front;
    char name[INET6_ADDRSTRLEN]; /* the client's address, "unix" for a UNIX socket */
    const char *raw_target;      /* of the running request, as the parser first showed it */
    size_t raw_target_length;
    struct address *address;
    _Atomic int phase;
    _Atomic int64_t since_ns;      /* when the phase began */
    _Atomic int64_t idle_since_ns; /* when the latest idle phase began */
    /* the watchdog's own */
    int64_t idle_ns;       /* which idle phase the next two are about */
    uint64_t idle_bytes;   /* received when it was first looked at */
    int64_t first_byte_ns; /* when more than that was first seen, 0 = not yet */
    struct request request;
};

struct connection_limits {
    int connections;      /* in all */
    int64_t deadline_ns;  /* from a request's first byte to its last */
    int64_t idle_ns;      /* between requests */
    int64_t idle_full_ns; /* the same when nine tenths of all connections are taken */
    int64_t send_ns;      /* for an answer to be taken by the client */
};

struct connections;
reel_status connections_new(const struct connection_limits *limits, struct addresses *addresses,
                            struct connections **out, reel_error *err);
void connections_free(struct connections *connections); /* takes NULL; none may be open */
/* 1 if a connection from this address may be accepted. */
int connections_admit(struct connections *connections, const struct sockaddr *from);
/* NULL when memory is out or the descriptor's number is too large. */
struct connection *connections_open(struct connections *connections, int fd, const struct sockaddr *from, int daemon,
                                    int64_t now_ns);
/* Before the descriptor is closed. */
void connections_close(struct connections *connections, struct connection *connection);
static inline void connection_enter(struct connection *connection, enum connection_phase phase, int64_t now_ns) {
    if (phase == PHASE_IDLE) atomic_store_explicit(&connection->idle_since_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&connection->since_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&connection->phase, phase, memory_order_release);
}
/* Ends connections that are over their time; `draining` 1: the idle ones too, 2: all but
 * those that are being worked on. */
void connections_sweep(struct connections *connections, int64_t now_ns, int draining);
int connections_count(const struct connections *connections);
int64_t now_nanoseconds(void); /* monotonic */

#endif
