#include "data/display_text.h"

#include <stdio.h>
#include <string.h>

enum { REPLACEMENT = 0xFFFD };

/* ---- UTF-8 ---- */

/* Decodes the code point at `text`; bytes that are no UTF-8 give U+FFFD one by one. Returns the bytes used,
 * 0 at the end. */
static size_t decode(const char *text, uint32_t *code) {
    const unsigned char *s = (const unsigned char *)text;
    static const uint32_t lowest[5] = {0, 0, 0x80, 0x800, 0x10000};
    *code = s[0];
    if (s[0] < 0x80) return s[0] != 0;
    size_t length = s[0] >= 0xF0 && s[0] <= 0xF4  ? 4
                    : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
                    : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
                                                  : 0;
    uint32_t value = length ? s[0] & (0xFFu >> (length + 1)) : 0;
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80) length = 0;
        value = value << 6 | (s[i] & 0x3F);
    }
    int bad = length == 0 || value < lowest[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF);
    *code = bad ? (uint32_t)REPLACEMENT : value;
    return bad ? 1 : length;
}

struct code_range {
    uint32_t first, last;
};

static int in_ranges(uint32_t code, const struct code_range *ranges, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (code >= ranges[i].first && code <= ranges[i].last) return 1;
    return 0;
}
#define IN_RANGES(code, ranges) in_ranges((code), (ranges), sizeof(ranges) / sizeof *(ranges))

static const struct code_range unsafe_codes[] = {{0x00, 0x1F},     {0x7F, 0x9F},     {0x200E, 0x200F}, {0x2028, 0x202E},
                                                 {0x2066, 0x2069}, {0xFFF9, 0xFFFB}, {0xFFFE, 0xFFFF}};
static const struct code_range zero_width[] = {{0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD}, {0x064B, 0x065F},
                                               {0x0E34, 0x0E3A}, {0x0E47, 0x0E4E}, {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF},
                                               {0x200B, 0x200D}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}};
static const struct code_range double_width[] = {
    {0x1100, 0x115F}, {0x2E80, 0x303E}, {0x3041, 0xA4CF}, {0xA960, 0xA97C},   {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},
    {0xFE30, 0xFE6F}, {0xFF00, 0xFF60}, {0xFFE0, 0xFFE6}, {0x1F300, 0x1F64F}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};

static int code_width(uint32_t code) {
    return code < 0x300 ? 1 : IN_RANGES(code, zero_width) ? 0 : IN_RANGES(code, double_width) ? 2 : 1;
}

char *text_clean(struct arena *arena, const char *text) {
    char *copy = arena_alloc(arena, 3 * strlen(text) + 1); /* U+FFFD takes three bytes for at least one */
    if (!copy) return NULL;
    char *at = copy;
    uint32_t code;
    for (size_t length; (length = decode(text, &code)) > 0; text += length) {
        int bad = code == REPLACEMENT || IN_RANGES(code, unsafe_codes);
        memcpy(at, bad ? "\xEF\xBF\xBD" : text, bad ? 3 : length);
        at += bad ? 3 : length;
    }
    *at = '\0';
    return copy;
}

int text_width(const char *text) {
    int width = 0;
    uint32_t code;
    for (size_t length; (length = decode(text, &code)) > 0; text += length) width += code_width(code);
    return width;
}

void text_fit(struct strbuf *out, const char *text, int width, int align) {
    int room = text_width(text) <= width ? width : width - 1, used = 0;
    size_t bytes = 0;
    uint32_t code;
    for (size_t length; (length = decode(text + bytes, &code)) > 0; bytes += length) {
        if (used + code_width(code) > room) break;
        used += code_width(code);
    }
    int cut = text[bytes] != '\0';
    if (align < 0) strbuf_printf(out, "%*s", width - used - cut, "");
    strbuf_add(out, text, bytes);
    if (cut) strbuf_puts(out, "…");
    if (align >= 0) strbuf_printf(out, "%*s", width - used - cut, "");
}

/* ---- bars ---- */

void text_bar(struct strbuf *out, double share, int width) {
    static const char *const eighths[8] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int steps = (int)(share * width * 8 + 0.5);
    if (steps == 0 && share > 0) steps = 1;
    for (int i = 0; i < steps / 8; i++) strbuf_puts(out, "█");
    strbuf_puts(out, eighths[steps % 8]);
}

void text_spark(struct strbuf *out, double share) {
    static const char *const heights[9] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    int step = (int)(share * 8 + 0.5);
    if (step == 0 && share > 0) step = 1;
    strbuf_puts(out, heights[step < 0 ? 0 : step > 8 ? 8 : step]);
}

struct number_text text_thousands(int64_t n) {
    struct number_text out;
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;
    for (int i = 0; i < length; i++) {
        out.text[at++] = digits[i];
        if (digits[i] != '-' && i + 1 < length && (length - 1 - i) % 3 == 0) out.text[at++] = ',';
    }
    out.text[at] = '\0';
    return out;
}
