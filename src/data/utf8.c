#include "data/utf8.h"

#include <stdint.h>
#include <string.h>

/* Length of the sequence at `text`, 0 if it is not valid UTF-8. RFC 3629, table of section 4. */
static size_t sequence_length(const unsigned char *text, size_t left) {
    unsigned char first = text[0];
    if (first < 0x80) return 1;
    size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                    : (first & 0xf0) == 0xe0         ? 3
                    : first >= 0xf0 && first <= 0xf4 ? 4
                                                     : 0;
    if (length == 0 || length > left) return 0;
    unsigned char low = 0x80, high = 0xbf; /* the range of the second byte */
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
    if (text[1] < low || text[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    return length;
}

int utf8_valid(const char *text, size_t length) {
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t at = 0; at < length;) {
        uint64_t word;
        if (length - at >= 8 && (memcpy(&word, bytes + at, 8), (word & 0x8080808080808080u) == 0) &&
            !((word - 0x0101010101010101u) & 0x8080808080808080u)) {
            at += 8; /* eight ASCII characters, none NUL */
            continue;
        }
        size_t step = sequence_length(bytes + at, length - at);
        if (step == 0 || bytes[at] == 0) return 0;
        at += step;
    }
    return 1;
}

size_t utf8_from_latin1(const char *text, size_t length, char *out) {
    size_t written = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < 0x80) {
            out[written++] = (char)byte;
        } else {
            out[written++] = (char)(0xc0 | byte >> 6);
            out[written++] = (char)(0x80 | (byte & 0x3f));
        }
    }
    return written;
}

struct shown_text utf8_shown(const char *text, size_t length) {
    enum { MOST = 40 };
    struct shown_text shown;
    size_t written = 0, at = 0;
    while (at < length) {
        const unsigned char *byte = (const unsigned char *)text + at;
        size_t step = sequence_length(byte, length - at);
        if (written + (step ? step : 1) > MOST) break;
        if (step == 0 || *byte < 0x20 || *byte == 0x7f) {
            shown.text[written++] = '?';
            at++;
            continue;
        }
        memcpy(shown.text + written, byte, step);
        written += step;
        at += step;
    }
    memcpy(shown.text + written, at < length ? "..." : "", at < length ? 4 : 1);
    return shown;
}
