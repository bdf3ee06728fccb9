/* What libmicrohttpd 0.9.75 lets pass and must not pass. It parses a header in place and hands out pointers into it, so
 * the exact bytes between method, target, version, names and values follow from where those pointers lie: only a header
 * made of single spaces, "name:" and CRLF adds up to the size that it reports. Everything else (bare LF or CR, folded
 * lines, space before a colon, control characters) is refused, as is every doubt about where a request ends. */
#ifndef SERVE_GUARD_H
#define SERVE_GUARD_H

#include <stddef.h>
#include <stdint.h>

struct MHD_Connection;

struct guard_view {
    const char *wrong; /* NULL = fine; else what is wrong, for a 400 and the end of the connection */
    int has_body, chunked;
    int64_t content_length;
    const char *content_type, *authorization, *api_key; /* NULL = absent; valid during the request */
};

/* `target` and its length as libmicrohttpd first showed it (MHD_OPTION_URI_LOG_CALLBACK). */
void guard_check(struct MHD_Connection *connection, const char *method, const char *target, size_t target_length,
                 const char *version, struct guard_view *view);

#endif
