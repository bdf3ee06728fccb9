/* What the guard knows of client addresses: open connections and the rate of requests of each. An IPv6 client is its
 * /64; clients of a UNIX socket are not told apart and not limited. */
#ifndef SERVE_ADDRESS_H
#define SERVE_ADDRESS_H

#include <stdint.h>
#include <sys/socket.h>
#include <reel/status.h>

struct addresses;
struct address;

/* `connections` an address may hold open at once, `rate` requests a second with as many at once; 0 = no limit. */
reel_status addresses_new(int connections, int rate, struct addresses **out, reel_error *err);
void addresses_free(struct addresses *addresses); /* takes NULL */
/* 1 if one more connection of this address is allowed now. */
int addresses_admit(struct addresses *addresses, const struct sockaddr *from);
/* Counts one connection; NULL where nothing is limited or memory is out. Undone by address_close. */
struct address *address_open(struct addresses *addresses, const struct sockaddr *from);
void address_close(struct addresses *addresses, struct address *address); /* takes NULL */
/* Takes one request off the address's allowance: 0 = it has none left. Lock-free (GCRA, ITU-T I.371). */
int address_take(const struct addresses *addresses, struct address *address, int64_t now_ns);
/* Forgets addresses without connections whose allowance is full again. */
void addresses_sweep(struct addresses *addresses, int64_t now_ns);

#endif
