#include "serve/connection.h"

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "core/error.h"

/* Descriptors that are not client connections and may lie between them: files, databases, epoll sets. */
enum { OTHER_DESCRIPTORS = 1024 };

struct slot {
    pthread_mutex_t lock; /* held while the watchdog uses the descriptor, so that it cannot be closed meanwhile */
    struct connection *connection;
};

struct connections {
    struct connection_limits limits;
    struct addresses *addresses;
    _Atomic int count;
    _Atomic int highest; /* descriptor seen */
    int n_slots;
    struct slot *slots; /* by descriptor */
};

int64_t now_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

reel_status connections_new(const struct connection_limits *limits, struct addresses *addresses,
                            struct connections **out, reel_error *err) {
    reel_status status = REEL_OK;
    struct connections *connections;
    *out = NULL;
    TRY_RETURN(MEM_NEW(&connections, 1, err));
    connections->limits = *limits;
    connections->addresses = addresses;
    connections->n_slots = limits->connections + OTHER_DESCRIPTORS;
    TRY(MEM_NEW(&connections->slots, connections->n_slots, err));
    for (int i = 0; i < connections->n_slots; i++) pthread_mutex_init(&connections->slots[i].lock, NULL);
    *out = connections;
    return REEL_OK;
cleanup:
    mem_free(connections);
    return status;
}

void connections_free(struct connections *connections) {
    if (!connections) return;
    for (int i = 0; i < connections->n_slots; i++) pthread_mutex_destroy(&connections->slots[i].lock);
    mem_free(connections->slots);
    mem_free(connections);
}

int connections_admit(struct connections *connections, const struct sockaddr *from) {
    return atomic_load_explicit(&connections->count, memory_order_relaxed) < connections->limits.connections &&
           addresses_admit(connections->addresses, from);
}

static void name_peer(struct connection *connection, const struct sockaddr *from) {
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    snprintf(connection->name, sizeof connection->name, "unix");
    if (from && from->sa_family == AF_INET) {
        memcpy(&in, from, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, connection->name, sizeof connection->name);
    } else if (from && from->sa_family == AF_INET6) {
        memcpy(&in6, from, sizeof in6);
        inet_ntop(AF_INET6, &in6.sin6_addr, connection->name, sizeof connection->name);
    }
}

struct connection *connections_open(struct connections *connections, int fd, const struct sockaddr *from, int daemon,
                                    int64_t now_ns) {
    if (fd < 0 || fd >= connections->n_slots) return NULL;
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection) return NULL;
    connection->fd = fd;
    connection->daemon = daemon;
    name_peer(connection, from);
    connection->address = address_open(connections->addresses, from);
    connection_enter(connection, PHASE_IDLE, now_ns);
    connection->idle_ns = now_ns; /* of the first request every byte counts: idle_bytes stays 0 */
    struct slot *slot = &connections->slots[fd];
    pthread_mutex_lock(&slot->lock);
    slot->connection = connection;
    pthread_mutex_unlock(&slot->lock);
    atomic_fetch_add(&connections->count, 1);
    int highest = atomic_load(&connections->highest);
    while (highest < fd && !atomic_compare_exchange_weak(&connections->highest, &highest, fd)) {
    }
    return connection;
}

void connections_close(struct connections *connections, struct connection *connection) {
    struct slot *slot = &connections->slots[connection->fd];
    pthread_mutex_lock(&slot->lock);
    slot->connection = NULL;
    pthread_mutex_unlock(&slot->lock);
    atomic_fetch_sub(&connections->count, 1);
    address_close(connections->addresses, connection->address);
    request_clear(&connection->request);
    free(connection);
}

/* Bytes that the kernel has taken in for this connection; 0 where it does not say (UNIX sockets). */
static uint64_t bytes_received(int fd) {
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_bytes_received : 0;
}

static int idle_too_long(const struct connections *connections, struct connection *connection, int64_t since,
                         int64_t now_ns) {
    const struct connection_limits *limits = &connections->limits;
    int full = atomic_load(&connections->count) > limits->connections / 10 * 9;
    uint64_t bytes = bytes_received(connection->fd);
    if (connection->idle_ns != since) {
        connection->idle_ns = since;
        connection->idle_bytes = bytes;
        connection->first_byte_ns = 0;
    }
    if (bytes > connection->idle_bytes && !connection->first_byte_ns) connection->first_byte_ns = now_ns;
    if (connection->first_byte_ns) return now_ns - connection->first_byte_ns > limits->deadline_ns;
    return now_ns - since > (full ? limits->idle_full_ns : limits->idle_ns);
}

static int is_over(const struct connections *connections, struct connection *connection, int64_t now_ns, int draining) {
    int phase = atomic_load_explicit(&connection->phase, memory_order_acquire);
    if (draining > 1 && phase != PHASE_WORKING) return 1;
    int64_t since = atomic_load_explicit(&connection->since_ns, memory_order_relaxed);
    switch (phase) {
    case PHASE_IDLE:
        return draining || idle_too_long(connections, connection, since, now_ns);
    case PHASE_RECEIVING:
        /* The request line may have trickled in before. */
        if (connection->first_byte_ns &&
            connection->idle_ns == atomic_load_explicit(&connection->idle_since_ns, memory_order_relaxed))
            since = connection->first_byte_ns;
        return now_ns - since > connections->limits.deadline_ns;
    case PHASE_SENDING:
        return now_ns - since > connections->limits.send_ns;
    default:
        return 0;
    }
}

void connections_sweep(struct connections *connections, int64_t now_ns, int draining) {
    int highest = atomic_load(&connections->highest);
    for (int fd = 0; fd <= highest; fd++) {
        struct slot *slot = &connections->slots[fd];
        pthread_mutex_lock(&slot->lock);
        if (slot->connection && is_over(connections, slot->connection, now_ns, draining)) shutdown(fd, SHUT_RDWR);
        pthread_mutex_unlock(&slot->lock);
    }
    addresses_sweep(connections->addresses, now_ns);
}

int connections_count(const struct connections *connections) {
    return atomic_load_explicit(&connections->count, memory_order_relaxed);
}
