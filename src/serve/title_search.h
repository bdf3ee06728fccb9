/* Finding movies by words of their titles, without regard to case, accents and punctuation. */
#ifndef SERVE_TITLE_SEARCH_H
#define SERVE_TITLE_SEARCH_H

enum { SEARCH_WORDS_MAX = 16 };

/* The words of a query, folded. */
struct title_words {
    int n;
    const char *words[SEARCH_WORDS_MAX]; /* into `text` */
    char text[1024];
};

/* Splits a query (UTF-8, at most 200 characters); words past the 16th are left out. */
void title_words_parse(const char *query, struct title_words *out);
/* 1 if every word of the query stands somewhere in the title. */
int title_matches(const struct title_words *words, const char *title);

#endif
