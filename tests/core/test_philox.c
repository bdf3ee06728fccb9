/* Philox4x32-10 against the known answers that Random123 publishes (kat_vectors). */
#include <stdint.h>

#include "kernels/common/philox.h"
#include "test.h"

static void test_known_answers(void) {
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct philox4 counter;
        memcpy(counter.v, cases[i].counter, sizeof counter.v);
        struct philox4 block = philox4x32(cases[i].key[0], cases[i].key[1], counter);
        for (int word = 0; word < 4; word++) CHECK_INT(block.v[word], cases[i].answer[word]);
    }
}

/* Seed, stream and index fill key and counter without touching each other. */
static void test_block_layout(void) {
    struct philox4 block = philox_block(0x299f31d0a4093822u, 0x0370734413198a2eu, 0x85a308d3243f6a88u);
    CHECK_INT(block.v[0], 0xd16cfe09);
    CHECK_INT(block.v[3], 0x24126ea1);
    CHECK_INT(philox_stream(PHILOX_GEN, 7), 0x500000007);
}

static void test_uniform_is_open(void) {
    CHECK(philox_uniform(0) > 0);
    CHECK(philox_uniform(UINT32_MAX) < 1);
    CHECK((float)philox_uniform(0) > 0);
    CHECK_NEAR(philox_uniform(0x80000000u), 0.5, 1e-9);
}

/* 4n draws of mean 1/2 and variance 1/12: five standard errors of each. */
static void test_uniform_moments(void) {
    enum { BLOCKS = 25000 };
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < BLOCKS; i++) {
        struct philox4 block = philox_block(42, philox_stream(PHILOX_TEST, 0), i);
        for (int word = 0; word < 4; word++) {
            double x = philox_uniform(block.v[word]) - 0.5;
            sum += x;
            squares += x * x;
        }
    }
    double n = 4.0 * BLOCKS;
    CHECK_NEAR(sum / n, 0, 5 * sqrt(1 / 12.0 / n));
    CHECK_NEAR(squares / n, 1 / 12.0, 5 * sqrt(1 / 180.0 / n));
}

int main(void) {
    RUN(test_known_answers);
    RUN(test_block_layout);
    RUN(test_uniform_is_open);
    RUN(test_uniform_moments);
    TEST_EXIT();
}
