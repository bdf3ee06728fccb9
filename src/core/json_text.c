#include "core/json_text.h"

#include <errno.h>

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

json_t *json_parse(const char *text, size_t size, size_t flags, json_error_t *problem, int *no_memory) {
    /* errno is the only witness. It may be wrong, as glibc can fail to grow one heap and then take another: hence
     * a second hearing. */
    for (int attempt = 0; attempt < 2; attempt++) {
        errno = 0;
        json_t *value = json_loadb(text, size, flags, problem);
        *no_memory = errno == ENOMEM;
        if (!*no_memory) return value;
        json_decref(value);
    }
    return NULL;
}
