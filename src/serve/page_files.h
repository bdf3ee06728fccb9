/* The web page as it was when the program was built: the files of src/serve/page, embedded by cmake/EmbedPage.cmake. */
#ifndef SERVE_PAGE_FILES_H
#define SERVE_PAGE_FILES_H

#include <stddef.h>

struct page_file {
    const char *name;         /* "app.js"; NULL ends the table */
    const char *content_type; /* static */
    const unsigned char *plain;
    size_t plain_size;
    const unsigned char *gzip;
    size_t gzip_size;
};

extern const struct page_file page_files[];
/* 16 hex digits that change with any of the files; assets are served under /assets/<version>/. */
extern const char page_version[];
extern const char page_etag[]; /* W/"<version>" */

#endif
