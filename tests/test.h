/* The smallest test harness that can fail: CHECK prints the expression and both sides; TEST_MAIN runs the
 * listed functions, prints a line each, and exits 1 if any check failed. */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_failures;

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            test_failures++;                                                        \
        }                                                                           \
    } while (0)
#define CHECK_INT(actual, expected)                                                                                 \
    do {                                                                                                            \
        long long actual_ = (long long)(actual), expected_ = (long long)(expected);                                 \
        if (actual_ != expected_) {                                                                                 \
            fprintf(stderr, "%s:%d: %s is %lld, expected %lld\n", __FILE__, __LINE__, #actual, actual_, expected_); \
            test_failures++;                                                                                        \
        }                                                                                                           \
    } while (0)
#define CHECK_NEAR(actual, expected, tolerance)                                                                 \
    do {                                                                                                        \
        double actual_ = (actual), expected_ = (expected);                                                      \
        if (!(fabs(actual_ - expected_) <= (tolerance))) {                                                      \
            fprintf(stderr, "%s:%d: %s is %.17g, expected %.17g +- %g\n", __FILE__, __LINE__, #actual, actual_, \
                    expected_, (double)(tolerance));                                                            \
            test_failures++;                                                                                    \
        }                                                                                                       \
    } while (0)
#define CHECK_STR(actual, expected)                                                                \
    do {                                                                                           \
        const char *actual_ = (actual), *expected_ = (expected);                                   \
        if (!actual_ || strcmp(actual_, expected_) != 0) {                                         \
            fprintf(stderr, "%s:%d: %s is \"%s\", expected \"%s\"\n", __FILE__, __LINE__, #actual, \
                    actual_ ? actual_ : "(null)", expected_);                                      \
            test_failures++;                                                                       \
        }                                                                                          \
    } while (0)
/* For set-up that later lines need. */
#define REQUIRE_OK(call, err)                                                             \
    do {                                                                                  \
        if ((call) != REEL_OK) {                                                          \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, (err).message); \
            exit(1);                                                                      \
        }                                                                                 \
    } while (0)
#define RUN(function)                                                             \
    do {                                                                          \
        int before_ = test_failures;                                              \
        function();                                                               \
        printf("%s %s\n", test_failures == before_ ? "ok  " : "FAIL", #function); \
        fflush(stdout);                                                           \
    } while (0)
/* A row that cannot run on this machine ("on CUDA", "no usable GPU here"): counted, never silent. */
#define SKIP(name, reason) printf("skip %s: %s\n", (name), (reason))
/* ThreadSanitizer takes fifty times as long, and races depend on which threads share what, not on how much they share:
 * under it (1) tests that only repeat a path take fewer or smaller cases. Under any sanitizer (1) the longest do. */
#if defined(__SANITIZE_THREAD__)
enum { UNDER_TSAN = 1, UNDER_SANITIZER = 1 };
#elif defined(__SANITIZE_ADDRESS__)
enum { UNDER_TSAN = 0, UNDER_SANITIZER = 1 };
#else
enum { UNDER_TSAN = 0, UNDER_SANITIZER = 0 };
#endif
#define TEST_EXIT() return test_failures ? 1 : 0

#endif
