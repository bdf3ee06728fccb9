/* The list of all routes. */
#include "serve/http.h"

const struct route *const service_routes[] = {
    NULL,
};
