/* Finding titles by words. */
#include "test.h"

#include "serve/title_search.h"

static int finds(const char *query, const char *title) {
    struct title_words words;
    title_words_parse(query, &words);
    return title_matches(&words, title);
}

static void words_in_any_order_and_case(void) {
    CHECK(finds("", "Toy Story (1995)"));
    CHECK(finds("toy", "Toy Story (1995)"));
    CHECK(finds("STORY toy 1995", "Toy Story (1995)"));
    CHECK(finds("the matrix", "Matrix, The (1999)"));
    CHECK(finds("sto", "Toy Story (1995)"));
    CHECK(!finds("toy 1996", "Toy Story (1995)"));
    CHECK(finds("!?", "Toy Story (1995)"));
}

static void accents_and_punctuation(void) {
    CHECK(finds("amelie", "Am\xc3\xa9lie (2001)"));
    CHECK(finds("Am\xc3\xa9lie", "Amelie (2001)"));
    CHECK(finds("schindlers list", "Schindler's List (1993)"));
    CHECK(finds("wall e", "WALL-E (2008)"));
    CHECK(finds("\xd0\xb8\xd0\xb3\xd1\x80\xd0\xb0", "\xd0\xb8\xd0\xb3\xd1\x80\xd0\xb0 (2001)"));
    CHECK(finds("lodz", "\xc5\x81\xc3\xb3"
                        "d\xc5\xba (1990)"));
}

static void long_and_broken_texts(void) {
    char text[3000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    CHECK(finds("aaa", text));
    CHECK(finds(text, text));
    CHECK(!finds("b", text));
    CHECK(!finds("x", "\xc3")); /* a cut character */
    CHECK(finds("a b c d e f g h i j k l m n o p q r", "a b c d e f g h i j k l m n o p"));
}

int main(void) {
    RUN(words_in_any_order_and_case);
    RUN(accents_and_punctuation);
    RUN(long_and_broken_texts);
    TEST_EXIT();
}
