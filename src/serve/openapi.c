#include "serve/openapi.h"

json_t *openapi_document(const struct router *router) {
    (void)router;
    return json_pack("{s:s}", "openapi", "3.1.0");
}
