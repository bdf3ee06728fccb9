/* The OpenAPI 3.1 description of the service, made of its routes. */
#ifndef SERVE_OPENAPI_H
#define SERVE_OPENAPI_H

#include <jansson.h>
#include <reel/context.h>
#include "serve/router.h"

/* A new reference; NULL when memory is out or a schema in the table is no JSON. `auth_all`: reading needs a key too. */
json_t *openapi_document(const struct router *router, int auth_all);

#endif
