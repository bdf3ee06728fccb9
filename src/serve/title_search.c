#include "serve/title_search.h"

#include <string.h>

/* Base letters of U+00C0 .. U+017F, the accented Latin ones; ' ' = punctuation, '\0' = stays as it is. */
static const char base_letters[] = "aaaaaaaceeeeiiiidnooooo ouuuuyts"  /* U+00C0 */
                                   "aaaaaaaceeeeiiiidnooooo ouuuuyty"  /* U+00E0 */
                                   "aaaaaaccccccccddddeeeeeeeeeegggg"  /* U+0100 */
                                   "gggghhhhiiiiiiiiiiiijjkkklllllll"  /* U+0120 */
                                   "lllnnnnnnnnnoooooooorrrrrrssssss"  /* U+0140 */
                                   "ssttttttuuuuuuuuuuuuwwyyyzzzzzzs"; /* U+0160 */

/* Folds one character at *text and moves behind it; 1 = out[0] is an ASCII letter or digit, 0 = punctuation; -1 = a
 * byte of another script, kept. Apostrophes vanish (2): "Schindler's" is found as "schindlers". */
static int fold(const unsigned char **text, char *out) {
    const unsigned char *at = *text;
    *text = at + 1;
    if (*at < 0x80) {
        *out = (char)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
        if (*at == '\'') return 2;
        return (*out >= 'a' && *out <= 'z') || (*out >= '0' && *out <= '9');
    }
    if (*at >= 0xc3 && *at <= 0xc5 && at[1] >= 0x80 && at[1] < 0xc0) {
        unsigned point = (unsigned)(*at & 0x1f) << 6 | (at[1] & 0x3f);
        *text = at + 2;
        *out = base_letters[point - 0xc0];
        return *out != ' ';
    }
    *out = (char)*at;
    return -1;
}

/* Folds a text into words with one space before, between and behind them; what does not fit is cut off. */
static size_t fold_text(const char *text, char *out, size_t size) {
    const unsigned char *at = (const unsigned char *)text;
    size_t n = 0;
    out[n++] = ' ';
    while (*at && n + 2 < size) {
        char letter;
        int kind = fold(&at, &letter);
        if (kind == 2) continue;
        if (kind == 0) letter = ' ';
        if (letter != ' ' || out[n - 1] != ' ') out[n++] = letter;
    }
    if (out[n - 1] != ' ') out[n++] = ' ';
    out[n] = '\0';
    return n;
}

void title_words_parse(const char *query, struct title_words *out) {
    out->n = 0;
    fold_text(query, out->text, sizeof out->text);
    for (char *at = out->text + 1; *at && out->n < SEARCH_WORDS_MAX;) {
        size_t length = strcspn(at, " ");
        out->words[out->n++] = at;
        at += length;
        if (*at) *at++ = '\0';
    }
}

int title_matches(const struct title_words *words, const char *title) {
    char folded[1024];
    if (words->n == 0) return 1;
    fold_text(title, folded, sizeof folded);
    for (int w = 0; w < words->n; w++)
        if (!strstr(folded, words->words[w])) return 0;
    return 1;
}
