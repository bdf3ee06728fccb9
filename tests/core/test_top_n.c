#include "test.h"

#include "core/top_n.h"

static uint32_t state = 1;

static uint32_t draw(void) {
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static int descending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void keys_order_scores(void) {
    static const float scores[] = {-FLT_MAX, -2.5f, -1e-30f, 0.0f, 1e-30f, 0.5f, 5.0f, FLT_MAX};
    for (size_t i = 0; i + 1 < sizeof scores / sizeof scores[0]; i++)
        CHECK(top_n_key(scores[i], 0) < top_n_key(scores[i + 1], 1000));
    CHECK(top_n_key(1.0f, 3) > top_n_key(1.0f, 4));
    CHECK(top_n_key(-0.0f, 3) == top_n_key(0.0f, 3));
    for (size_t i = 0; i < sizeof scores / sizeof scores[0]; i++) {
        CHECK(top_n_score(top_n_key(scores[i], 77)) == scores[i]);
        CHECK_INT(top_n_rank(top_n_key(scores[i], 77)), 77);
    }
}

/* Against qsort, for streams with many ties, offered in any order. */
static void selects_exactly(void) {
    static const size_t sizes[][2] = {{0, 1}, {1, 1}, {5, 10}, {50, 10}, {1000, 1}, {1000, 150}, {5000, 4999}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        size_t count = sizes[s][0], n = sizes[s][1];
        uint64_t *all = calloc(count + 1, 8), *keys = calloc(top_n_capacity(n), 8);
        if (!all || !keys) exit(1);
        struct top_n top;
        top_n_init(&top, keys, n);
        for (size_t i = 0; i < count; i++) {
            float score = (float)(draw() % 50) / 10 - 2;
            uint32_t rank = (uint32_t)(i * 7919 % 100003);
            all[i] = top_n_key(score, rank);
            if (score >= top.floor) top_n_offer(&top, score, rank);
        }
        qsort(all, count, 8, descending);
        size_t found = top_n_finish(&top);
        CHECK_INT(found, count < n ? count : n);
        CHECK(memcmp(all, keys, found * 8) == 0);
        free(all), free(keys);
    }
}

static void never_takes_what_is_no_score(void) {
    uint64_t keys[64];
    struct top_n top;
    top_n_init(&top, keys, 5);
    CHECK(!((float)NAN >= top.floor));
    CHECK(!((float)-INFINITY >= top.floor));
    CHECK((float)-FLT_MAX >= top.floor);
}

static void sorts(void) {
    uint64_t keys[300], expected[300], scratch[300];
    for (size_t n = 0; n <= 300; n += 13) {
        for (size_t i = 0; i < n; i++) expected[i] = keys[i] = (uint64_t)draw() << 20 | i;
        top_n_sort(keys, n, scratch);
        qsort(expected, n, 8, descending);
        CHECK(memcmp(keys, expected, n * 8) == 0);
    }
}

int main(void) {
    RUN(keys_order_scores);
    RUN(selects_exactly);
    RUN(never_takes_what_is_no_score);
    RUN(sorts);
    TEST_EXIT();
}
