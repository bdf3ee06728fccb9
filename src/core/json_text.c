#include "core/json_text.h"

#include "core/mem.h"

static int add_piece(const char *piece, size_t size, void *buf) {
    strbuf_add(buf, piece, size);
    return ((struct strbuf *)buf)->failed ? -1 : 0;
}

char *json_text(const json_t *value, size_t flags) {
    struct strbuf text = {0};
    /* The buffer remembers a failure that jansson does not hand on. */
    if (!value || json_dump_callback(value, add_piece, &text, flags) != 0) {
        strbuf_free(&text);
        return NULL;
    }
    return strbuf_take(&text);
}
