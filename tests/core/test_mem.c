/* Aligned arrays, arenas and growable text. */
#include <stdint.h>

#include "core/error.h"
#include "core/mem.h"
#include "test.h"

static void test_arrays(void) {
    reel_error err;
    for (size_t n = 0; n < 3000000; n = n * 3 + 1) {
        double *zeroed;
        REQUIRE_OK(MEM_NEW(&zeroed, n, &err), err);
        CHECK(zeroed != NULL);
        CHECK_INT((uintptr_t)zeroed % 64, 0);
        int clean = 1;
        for (size_t i = 0; i < n; i++) clean &= zeroed[i] == 0;
        CHECK(clean);
        for (size_t i = 0; i < n; i++) zeroed[i] = 1;
        mem_free(zeroed);
    }
    mem_free(NULL);
}

static void test_exhaustion(void) {
    reel_error err;
    static const size_t sizes[][2] = {
        {SIZE_MAX, 2}, {SIZE_MAX / 8 + 1, 8}, {SIZE_MAX, 1}, {SIZE_MAX - 100, 1}, {(size_t)1 << 60, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *pointer = &err;
        CHECK_INT(mem_alloc(&pointer, sizes[i][0], sizes[i][1], &err), REEL_NO_MEMORY);
        CHECK(pointer == NULL);
        CHECK_INT(err.status, REEL_NO_MEMORY);
        CHECK_INT(mem_zero(&pointer, sizes[i][0], sizes[i][1], NULL), REEL_NO_MEMORY);
    }
}

static void test_arena(void) {
    struct arena arena = {0};
    unsigned char *pieces[2000];
    for (size_t i = 0; i < 2000; i++) {
        size_t size = i * 7 % 300;
        pieces[i] = arena_alloc(&arena, size);
        CHECK(pieces[i] && (uintptr_t)pieces[i] % 16 == 0);
        memset(pieces[i], (int)(i & 0xff), size);
    }
    unsigned char *large = arena_alloc(&arena, 1 << 20);
    CHECK(large != NULL);
    memset(large, 1, 1 << 20);
    for (size_t i = 0; i < 2000; i++)
        for (size_t k = 0; k < i * 7 % 300; k++)
            if (pieces[i][k] != (i & 0xff)) {
                CHECK(0 && "pieces overlap");
                i = 2000;
                break;
            }
    CHECK_STR(arena_strndup(&arena, "abcdef", 3), "abc");
    CHECK_STR(arena_strndup(&arena, "", 0), "");
    CHECK(arena_alloc(&arena, SIZE_MAX) == NULL);
    CHECK(arena_alloc(&arena, SIZE_MAX / 2) == NULL);
    arena_free(&arena);
    arena_free(&arena);
}

static void test_strbuf(void) {
    struct strbuf buf = {0};
    char expected[4001] = "";
    for (int i = 0; i < 1000; i++) {
        strbuf_printf(&buf, "%03d", i);
        strbuf_puts(&buf, ";");
        snprintf(expected + 4 * i, 5, "%03d;", i);
    }
    CHECK_INT(buf.length, 4000);
    CHECK_STR(buf.data, expected);
    char *text = strbuf_take(&buf);
    CHECK_STR(text, expected);
    free(text);
    CHECK_INT(buf.length, 0);
    text = strbuf_take(&buf);
    CHECK_STR(text, "");
    free(text);
    strbuf_add(&buf, "a\0b", 3);
    CHECK_INT(buf.length, 3);
    CHECK_INT(buf.data[3], 0);
    strbuf_free(&buf);
    strbuf_free(&buf);
}

/* Once an allocation fails the buffer stays failed, and a taken text is NULL, not half a text. */
static void test_strbuf_failure(void) {
    struct strbuf buf = {0};
    strbuf_puts(&buf, "abc");
    buf.failed = 1;
    strbuf_puts(&buf, "def");
    strbuf_printf(&buf, "%d", 7);
    CHECK_STR(buf.data, "abc");
    CHECK(strbuf_take(&buf) == NULL);
    CHECK(buf.data == NULL);
    strbuf_puts(&buf, "new");
    CHECK_STR(buf.data, "new");
    strbuf_free(&buf);
}

int main(void) {
    RUN(test_arrays);
    RUN(test_exhaustion);
    RUN(test_arena);
    RUN(test_strbuf);
    RUN(test_strbuf_failure);
    TEST_EXIT();
}
