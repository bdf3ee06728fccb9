/* Listening sockets. */
#ifndef SERVE_LISTEN_H
#define SERVE_LISTEN_H

#include <reel/status.h>

/* Fills fds (n,) with listening sockets on one TCP address; *port 0 becomes the one that was chosen. The kernel spreads
 * connections over them (SO_REUSEPORT). IO names an address that is taken, INVALID_ARGUMENT one that is none. */
reel_status listen_tcp(const char *address, int *port, int *fds, int n, reel_error *err);
/* The same on a UNIX socket, mode 0660; a stale socket file is replaced, one that answers is taken. */
reel_status listen_unix(const char *path, int *fds, int n, reel_error *err);

#endif
