/* Finds the route of a request in the tables of http.h. */
#ifndef SERVE_ROUTER_H
#define SERVE_ROUTER_H

#include "serve/http.h"
#include "serve/target.h"

enum { ROUTER_CAPTURES_MAX = 3 };
struct router;

struct router_match {
    int index;                         /* of the route among all; -1 = none for this method */
    const struct route *route;         /* NULL with index -1 */
    unsigned allowed;                  /* bit HTTP_x: the methods that the path has; 0 = no such path */
    int captures[ROUTER_CAPTURES_MAX]; /* segment of each {name}, in order of the pattern */
};

/* Of two patterns that match a path the one with a literal segment further left wins. `lists` holds n_lists lists of
 * routes, each with NULL at its end; they must outlive the router. INVALID_ARGUMENT for a pattern that it cannot hold.
 */
reel_status router_new(const struct route *const *const *lists, int n_lists, struct router **out, reel_error *err);
void router_free(struct router *router); /* takes NULL */
/* `method` -1 = one that no route has. */
void router_find(const struct router *router, const struct target *target, int method, struct router_match *match);
int router_count(const struct router *router);
const struct route *router_route(const struct router *router, int index);
/* Which capture of `route` the name is, -1 = none. */
int router_capture(const struct router *router, int index, const char *name);

#endif
