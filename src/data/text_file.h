/* A source file in memory. */
#ifndef DATA_TEXT_FILE_H
#define DATA_TEXT_FILE_H

#include <stddef.h>

struct text_file {
    const char *name; /* what messages call it; NULL = there is no such file */
    const char *data; /* NULL when size is 0 */
    size_t size;
};

#endif
