/* The web page: the document at / and what it is made of under /assets/<version>/<name>. An asset's address changes
 * with its content, so browsers may keep it; the document is asked for again each time, and confirmed by its ETag. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "serve/page_files.h"
#include "serve/routes.h"

/* The page loads its own files and asks its own server; nothing inline, nothing foreign, no frames, no forms. */
static const char content_security_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

static const struct page_file *find(const char *name) {
    for (const struct page_file *file = page_files; file->name; file++)
        if (strcmp(file->name, name) == 0) return file;
    return NULL;
}

/* 1 if the client lists gzip with a weight above 0 (RFC 9110, 12.5.3). "*" alone gets the plain file. */
static int takes_gzip(const struct request *request) {
    const char *at = request_header_text(request, "Accept-Encoding");
    while (at && *at) {
        at += strspn(at, " \t,");
        size_t coding = strcspn(at, " \t;,"), whole = strcspn(at, ",");
        if (coding == 4 && strncasecmp(at, "gzip", 4) == 0) {
            const char *weight = memchr(at, '=', whole);
            return !weight || strtod(weight + 1, NULL) > 0;
        }
        at += whole;
    }
    return 0;
}

static void add_headers(struct request *request, const char *cache_control) {
    request_header(request, "Content-Security-Policy", content_security_policy);
    request_header(request, "Cache-Control", cache_control);
    request_header(request, "Vary", "Accept-Encoding");
}

static enum request_outcome answer(struct request *request, const struct page_file *file) {
    int gzip = takes_gzip(request);
    const unsigned char *data = gzip ? file->gzip : file->plain;
    if (gzip) request_header(request, "Content-Encoding", "gzip");
    request_body(request, 200,
                 body_new(file->content_type, (const char *)data, gzip ? file->gzip_size : file->plain_size));
    return REQUEST_DONE;
}

/* Weak, for it stands for the plain and the gzipped document alike. */
static int is_known(const struct request *request) {
    const char *known = request_header_text(request, "If-None-Match");
    return known && strstr(known, page_version) != NULL;
}

static enum request_outcome get_page(struct request *request) {
    const struct page_file *file = find("index.html");
    request_header(request, "ETag", page_etag);
    add_headers(request, "no-cache");
    if (!is_known(request)) return answer(request, file);
    /* A browser takes over the headers of a 304, the policy too: they must be those of the document. */
    request_body(request, 304, body_new(file->content_type, "", 0));
    return REQUEST_DONE;
}

static enum request_outcome get_asset(struct request *request) {
    const char *name = request_path_text(request, "name");
    const struct page_file *file = find(name);
    if (!file || strcmp(request_path_text(request, "version"), page_version) != 0) {
        request_problem(request, 404, "there is no such file of this version of the page");
        return REQUEST_DONE;
    }
    add_headers(request, "public, max-age=31536000, immutable");
    return answer(request, file);
}

const struct route route_page = {
    .method = HTTP_GET,
    .pattern = "/",
    .handle = get_page,
    .summary = "The web page",
};

/* clang-format off */
const struct route route_asset = {
    .method = HTTP_GET,
    .pattern = "/assets/{version}/{name}",
    .handle = get_asset,
    .summary = "A file of the web page",
    .parameters = (const struct parameter[]){
        {"version", "path", "{\"type\":\"string\",\"pattern\":\"^[0-9a-f]{16}$\"}", "version of the page"},
        {"name", "path", "{\"type\":\"string\"}", "file name"},
        {0}},
    .problems = "404",
};
/* clang-format on */
