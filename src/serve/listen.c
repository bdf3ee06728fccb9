#include "serve/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/error.h"

enum { BACKLOG = 4096 };

struct endpoint {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } address;
    socklen_t size;
};

static reel_status parse(const char *text, int port, struct endpoint *out, reel_error *err) {
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, &out->address.in.sin_addr) == 1) {
        out->address.in.sin_family = AF_INET;
        out->address.in.sin_port = htons((uint16_t)port);
        out->size = sizeof out->address.in;
    } else if (inet_pton(AF_INET6, text, &out->address.in6.sin6_addr) == 1) {
        out->address.in6.sin6_family = AF_INET6;
        out->address.in6.sin6_port = htons((uint16_t)port);
        out->size = sizeof out->address.in6;
    } else {
        return error_set(err, REEL_INVALID_ARGUMENT, "cannot listen on '%.100s': not an IPv4 or IPv6 address", text);
    }
    if (port < 0 || port > 65535) return error_set(err, REEL_INVALID_ARGUMENT, "a port is 0..65535 (found %d)", port);
    return REEL_OK;
}

static int open_socket(const struct endpoint *at, int shared) {
    int one = 1, fd = socket(at->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) == 0) &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0 && bind(fd, &at->address.any, at->size) == 0 &&
        listen(fd, BACKLOG) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
        return fd;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

static void close_all(int *fds, int n) {
    for (int i = 0; i < n; i++) close(fds[i]);
}

reel_status listen_tcp(const char *address, int *port, int *fds, int n, reel_error *err) {
    struct endpoint at;
    TRY_RETURN(parse(address, *port, &at, err));
    /* A shared socket would join another process's port in silence: try a plain one first. */
    int probe = open_socket(&at, 0);
    if (probe < 0) return error_errno(err, REEL_IO, "cannot listen on %s port %d", address, *port);
    if (*port == 0) {
        if (getsockname(probe, &at.address.any, &at.size) == 0)
            *port = ntohs(at.address.any.sa_family == AF_INET ? at.address.in.sin_port : at.address.in6.sin6_port);
    }
    close(probe);
    for (int i = 0; i < n; i++) {
        fds[i] = open_socket(&at, 1);
        if (fds[i] >= 0) continue;
        reel_status status = error_errno(err, REEL_IO, "cannot listen on %s port %d", address, *port);
        close_all(fds, i);
        return status;
    }
    return REEL_OK;
}

/* Removes a socket file that nobody answers on. */
static reel_status clear_stale(const struct endpoint *at, const char *path, reel_error *err) {
    struct stat facts;
    if (lstat(path, &facts) != 0) return REEL_OK;
    if (!S_ISSOCK(facts.st_mode)) return error_set(err, REEL_IO, "%s is there and is no socket", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return error_errno(err, REEL_IO, "cannot listen on %s", path);
    int answers = connect(fd, &at->address.any, at->size) == 0;
    close(fd);
    if (answers) return error_set(err, REEL_IO, "cannot listen on %s: another server answers there", path);
    return unlink(path) == 0 ? REEL_OK : error_errno(err, REEL_IO, "cannot remove %s", path);
}

reel_status listen_unix(const char *path, int *fds, int n, reel_error *err) {
    struct endpoint at = {0};
    if (strlen(path) >= sizeof at.address.un.sun_path)
        return error_set(err, REEL_INVALID_ARGUMENT, "the path of a UNIX socket is too long: %.120s", path);
    at.address.un.sun_family = AF_UNIX;
    memcpy(at.address.un.sun_path, path, strlen(path) + 1);
    at.size = sizeof at.address.un;
    TRY_RETURN(clear_stale(&at, path, err));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, &at.address.any, at.size) != 0 || chmod(path, 0660) != 0 || listen(fd, BACKLOG) != 0) {
        reel_status status = error_errno(err, REEL_IO, "cannot listen on %s", path);
        if (fd >= 0) close(fd);
        return status;
    }
    fds[0] = fd;
    for (int i = 1; i < n; i++) {
        fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (fds[i] >= 0) continue;
        reel_status status = error_errno(err, REEL_IO, "cannot listen on %s", path);
        close_all(fds, i);
        return status;
    }
    return REEL_OK;
}
