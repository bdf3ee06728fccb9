#include "serve/guard.h"

#include <microhttpd.h>
#include <string.h>
#include <strings.h>

struct scan {
    struct guard_view *view;
    const char *expected; /* where the next header's name must begin */
    int n_host, n_length, n_encoding, n_type, n_authorization, n_key;
    const char *length, *encoding;
};

/* RFC 9110, 5.6.2 */
static int is_token(const char *text, size_t size) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              (c && memchr(others, c, sizeof others - 1))))
            return 0;
    }
    return size > 0;
}

static int is_field_value(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f) return 0;
    return 1;
}

static int is_name(const char *key, size_t size, const char *name) {
    return size == strlen(name) && strncasecmp(key, name, size) == 0;
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_size,
                                 const char *value, size_t value_size) {
    struct scan *scan = cls;
    struct guard_view *view = scan->view;
    (void)kind;
    if (!is_token(key, key_size))
        view->wrong = "a header field's name is malformed";
    else if (key != scan->expected || !value || value <= key + key_size)
        view->wrong = "the header is not made of lines that end in CRLF";
    else if (!is_field_value(value, value_size))
        view->wrong = "a header field holds control characters";
    if (view->wrong) return MHD_NO;
    scan->expected = value + value_size + 2;
    if (is_name(key, key_size, "Host")) {
        scan->n_host++;
    } else if (is_name(key, key_size, "Content-Length")) {
        scan->n_length++;
        scan->length = value;
    } else if (is_name(key, key_size, "Transfer-Encoding")) {
        scan->n_encoding++;
        scan->encoding = value;
    } else if (is_name(key, key_size, "Content-Type")) {
        scan->n_type++;
        view->content_type = value;
    } else if (is_name(key, key_size, "Authorization")) {
        scan->n_authorization++;
        view->authorization = value;
    } else if (is_name(key, key_size, "X-API-Key")) {
        scan->n_key++;
        view->api_key = value;
    }
    return MHD_YES;
}

/* Digits alone, below 10^15; -1 for anything else. */
static int64_t parse_length(const char *text) {
    int64_t length = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 15 || text[digits]) return -1;
    for (; *text; text++) length = length * 10 + (*text - '0');
    return length;
}

static const char *check_framing(const struct scan *scan, const char *version, struct guard_view *view) {
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        return "the version must be HTTP/1.1 or HTTP/1.0";
    if (scan->n_host > 1 || (scan->n_host == 0 && version[7] == '1')) return "there must be one Host header";
    if (scan->n_length > 1) return "there is more than one Content-Length";
    if (scan->n_encoding > 1 || (scan->n_encoding && scan->n_length))
        return "the request says in two ways where its body ends";
    if (scan->n_encoding && (version[7] != '1' || strcasecmp(scan->encoding, "chunked") != 0))
        return "the only transfer coding is chunked, in HTTP/1.1";
    if (scan->n_type > 1 || scan->n_authorization > 1 || scan->n_key > 1)
        return "a header field that must be single is there twice";
    view->chunked = scan->n_encoding;
    if (scan->n_length && (view->content_length = parse_length(scan->length)) < 0)
        return "Content-Length is not a number";
    view->has_body = view->chunked || view->content_length > 0;
    return NULL;
}

void guard_check(struct MHD_Connection *connection, const char *method, const char *target, size_t target_length,
                 const char *version, struct guard_view *view) {
    *view = (struct guard_view){0};
    struct scan scan = {.view = view, .expected = version + strlen(version) + 2};
    size_t method_length = strlen(method);
    if (!is_token(method, method_length) || target != method + method_length + 1 ||
        version != target + target_length + 1) {
        view->wrong = "the request line is malformed";
        return;
    }
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, on_header, &scan);
    if (view->wrong) return;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (!info || scan.expected + 2 != method + info->header_size)
        view->wrong = "the header is not made of lines that end in CRLF";
    else
        view->wrong = check_framing(&scan, version, view);
}
