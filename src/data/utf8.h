/* Text of unknown origin: UTF-8 checks, ISO-8859-1 conversion, and a safe form for messages. */
#ifndef DATA_UTF8_H
#define DATA_UTF8_H

#include <stddef.h>

/* 1 if the text is valid UTF-8 (no surrogates, no overlong forms, nothing above U+10FFFF) without NUL. */
int utf8_valid(const char *text, size_t length);
/* Writes ISO-8859-1 `text` as UTF-8 to `out`, which has room for 2 * length bytes; returns the bytes written. */
size_t utf8_from_latin1(const char *text, size_t length, char *out);

/* What a message shows of a field: at most 40 bytes of valid UTF-8, "..." where it was cut, '?' for control
 * characters and bytes that are no UTF-8. */
struct shown_text {
    char text[48];
};
struct shown_text utf8_shown(const char *text, size_t length);

#endif
