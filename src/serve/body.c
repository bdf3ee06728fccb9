/* Shared bodies. The HTTP answer that daemon.c makes of one holds no reference: it is destroyed with the body, and the
 * bytes go when the last connection that still sends it is through. */
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "serve/http.h"

struct body *body_new(const char *content_type, const char *data, size_t size) {
    if (size > SIZE_MAX - sizeof(struct body)) return NULL;
    struct body *body = malloc(sizeof *body + size);
    if (!body) return NULL;
    atomic_init(&body->references, 1);
    atomic_init(&body->response, NULL);
    body->content_type = content_type;
    body->size = size;
    if (size) memcpy(body->data, data, size);
    return body;
}

struct body *body_retain(struct body *body) {
    atomic_fetch_add_explicit(&body->references, 1, memory_order_relaxed);
    return body;
}

void body_release(struct body *body) {
    if (!body || atomic_fetch_sub_explicit(&body->references, 1, memory_order_acq_rel) != 1) return;
    struct MHD_Response *response = atomic_load_explicit(&body->response, memory_order_acquire);
    if (response)
        MHD_destroy_response(response); /* frees the body, perhaps later */
    else
        free(body);
}
