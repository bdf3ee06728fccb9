/* Tensor sets and safetensors files: what is written is read back, and no damage goes unnoticed. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/error.h"
#include "core/file.h"
#include "core/mem.h"
#include "core/tensor_file.h"
#include "core/threads.h"
#include "test.h"

static struct thread_pool *pool;
static char path[64];

/* A file in memory, to be damaged and written again. */
struct image {
    char *data;
    size_t size;
};

static struct image image_load(void) {
    struct file_map map;
    reel_error err;
    REQUIRE_OK(file_map_open(path, &map, &err), err);
    struct image image = {malloc(map.size), map.size};
    memcpy(image.data, map.data, map.size);
    file_map_close(&map);
    return image;
}

static void store(const void *data, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

/* A hand-made file: `header` and `data_size` bytes behind it. */
static void store_header(const char *header, size_t data_size) {
    char file[4096] = {0};
    size_t length = strlen(header);
    file[0] = (char)(length & 0xff);
    file[1] = (char)(length >> 8);
    memcpy(file + 8, header, length + 1);
    store(file, 8 + length + data_size);
}

static reel_status open_and_verify(const char *format, reel_error *err) {
    struct tensor_set *set;
    reel_status status = tensor_file_open(path, format, &set, err);
    if (status != REEL_OK) {
        CHECK(set == NULL);
        return status;
    }
    status = tensor_file_verify(set, pool, err);
    tensor_set_free(set);
    return status;
}

/* Odd sizes, an empty tensor, a scalar, every alignment. */
static struct tensor_set *sample_set(void) {
    struct tensor_set *set;
    reel_error err;
    uint8_t *bytes;
    double *matrix;
    int32_t *none;
    int64_t *scalar;
    static const float borrowed[3] = {1.5f, -2.0f, 0.25f};
    REQUIRE_OK(tensor_set_new(&set, &err), err);
    REQUIRE_OK(tensor_set_put(set, "format", "reel-test", &err), err);
    REQUIRE_OK(tensor_set_put(set, "version", "0", &err), err);
    REQUIRE_OK(tensor_set_putf(set, "version", &err, "%d", 1), err);
    REQUIRE_OK(tensor_set_put(set, "title", "L\xc3\xa9on \"quoted\"\n\\", &err), err);
    REQUIRE_OK(tensor_set_add1(set, "bytes", DTYPE_U8, 7, (void **)&bytes, &err), err);
    REQUIRE_OK(tensor_set_add(set, "matrix", DTYPE_F64, 2, (int64_t[]){3, 5}, (void **)&matrix, &err), err);
    REQUIRE_OK(tensor_set_add(set, "none", DTYPE_I32, 2, (int64_t[]){0, 4}, (void **)&none, &err), err);
    REQUIRE_OK(tensor_set_add(set, "scalar", DTYPE_I64, 0, NULL, (void **)&scalar, &err), err);
    REQUIRE_OK(tensor_set_add_borrowed(set, "borrowed", DTYPE_F32, 1, (int64_t[]){3}, borrowed, &err), err);
    for (int i = 0; i < 7; i++) bytes[i] = (uint8_t)(i * 37);
    for (int i = 0; i < 15; i++) matrix[i] = i * 0.5;
    *scalar = -42;
    return set;
}

static void write_sample(void) {
    reel_error err;
    struct tensor_set *set = sample_set();
    REQUIRE_OK(tensor_file_write(path, set, pool, &err), err);
    tensor_set_free(set);
}

static void test_round_trip(void) {
    reel_error err;
    struct tensor_set *set;
    write_sample();
    REQUIRE_OK(tensor_file_open(path, "reel-test", &set, &err), err);
    CHECK_INT(tensor_set_count(set), 5);
    CHECK_STR(tensor_set_path(set), path);
    CHECK_STR(tensor_set_get(set, "version"), "1");
    CHECK_STR(tensor_set_get(set, "title"), "L\xc3\xa9on \"quoted\"\n\\");
    CHECK(tensor_set_get(set, "absent") == NULL);
    const struct tensor *matrix;
    REQUIRE_OK(tensor_set_require(set, "matrix", DTYPE_F64, 2, (int64_t[]){-1, 5}, &matrix, &err), err);
    CHECK_INT(matrix->n, 15);
    CHECK_INT(matrix->bytes, 120);
    for (int i = 0; i < 15; i++) CHECK_NEAR(((double *)matrix->data)[i], i * 0.5, 0);
    for (size_t i = 0; i < tensor_set_count(set); i++) {
        const struct tensor *tensor = tensor_set_at(set, i);
        CHECK_INT((uintptr_t)tensor->data % 64, 0);
        char key[80], hash[17];
        snprintf(key, sizeof key, "xxh3.%s", tensor->name);
        snprintf(hash, sizeof hash, "%016" PRIx64, (uint64_t)XXH3_64bits(tensor->data, tensor->bytes));
        CHECK_STR(tensor_set_get(set, key), hash);
    }
    CHECK(tensor_set_at(set, 5) == NULL);
    CHECK_INT(*(int64_t *)tensor_set_find(set, "scalar")->data, -42);
    CHECK_INT(tensor_set_find(set, "none")->n, 0);
    REQUIRE_OK(tensor_file_verify(set, pool, &err), err);
    tensor_set_free(set);
}

static void test_bytes_depend_on_the_set_alone(void) {
    reel_error err;
    struct thread_pool *other;
    struct tensor_set *set;
    write_sample();
    struct image first = image_load();
    REQUIRE_OK(thread_pool_new(1, &other, &err), err);
    /* Read and written again: the file's own hashes are not carried along twice. */
    REQUIRE_OK(tensor_file_open(path, NULL, &set, &err), err);
    REQUIRE_OK(tensor_file_write(path, set, other, &err), err);
    tensor_set_free(set);
    struct image second = image_load();
    CHECK_INT(second.size, first.size);
    CHECK(memcmp(first.data, second.data, first.size) == 0);
    free(first.data);
    free(second.data);
    thread_pool_free(other);
}

static void test_empty_set(void) {
    reel_error err;
    struct tensor_set *set;
    REQUIRE_OK(tensor_set_new(&set, &err), err);
    REQUIRE_OK(tensor_file_write(path, set, pool, &err), err);
    tensor_set_free(set);
    REQUIRE_OK(open_and_verify(NULL, &err), err);
}

static reel_status check_unfinished(void *arg, const char *unfinished, reel_error *err) {
    struct tensor_set *set;
    REQUIRE_OK(tensor_file_open(unfinished, "reel-test", &set, err), *err);
    REQUIRE_OK(tensor_file_verify(set, pool, err), *err);
    tensor_set_free(set);
    CHECK(access(path, F_OK) == (*(int *)arg ? 0 : -1));
    return *(int *)arg ? error_set(err, REEL_NUMERIC, "not this one") : REEL_OK;
}

/* The check sees the whole file before anybody else; its refusal keeps what was there. */
static void test_check_before_naming(void) {
    reel_error err;
    struct tensor_set *set = sample_set();
    unlink(path);
    int refuse = 0;
    REQUIRE_OK(tensor_file_write_checked(path, set, pool, check_unfinished, &refuse, &err), err);
    struct image first = image_load();
    refuse = 1;
    REQUIRE_OK(tensor_set_put(set, "title", "another", &err), err);
    CHECK_INT(tensor_file_write_checked(path, set, pool, check_unfinished, &refuse, &err), REEL_NUMERIC);
    CHECK_STR(err.message, "not this one");
    struct image second = image_load();
    CHECK(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    free(first.data);
    free(second.data);
    tensor_set_free(set);
}

static void test_bad_arguments(void) {
    reel_error err;
    void *data;
    struct tensor_set *set = sample_set();
    char long_name[TENSOR_NAME_MAX + 2];
    memset(long_name, 'x', sizeof long_name);
    long_name[TENSOR_NAME_MAX + 1] = '\0';
    CHECK_INT(tensor_set_add1(set, "bytes", DTYPE_U8, 1, &data, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(tensor_set_add1(set, "", DTYPE_U8, 1, &data, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(tensor_set_add1(set, long_name, DTYPE_U8, 1, &data, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(tensor_set_add1(set, "__pad.0", DTYPE_U8, 1, &data, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(tensor_set_add1(set, "negative", DTYPE_U8, -1, &data, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(tensor_set_add1(set, "huge", DTYPE_F64, INT64_MAX / 4, &data, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(tensor_set_add(set, "huge", DTYPE_U8, 3, (int64_t[]){INT64_MAX, 2, 0}, &data, &err),
              REEL_INVALID_ARGUMENT);
    CHECK_INT(tensor_set_add1(set, "too much", DTYPE_U8, INT64_MAX - 1, &data, &err), REEL_NO_MEMORY);
    CHECK(data == NULL);
    CHECK_INT(tensor_set_count(set), 5);
    const struct tensor *tensor;
    CHECK_INT(tensor_set_require(set, "absent", DTYPE_U8, 1, (int64_t[]){-1}, &tensor, &err), REEL_CORRUPT);
    CHECK_STR(err.message, "(memory): tensor 'absent' is missing (U8 (*))");
    CHECK_INT(tensor_set_require(set, "matrix", DTYPE_F32, 2, (int64_t[]){3, -1}, &tensor, &err), REEL_CORRUPT);
    CHECK_STR(err.message, "(memory): tensor 'matrix' must be F32 (3, *) (found F64 (3, 5))");
    CHECK_INT(tensor_set_require(set, "matrix", DTYPE_F64, 2, (int64_t[]){3, 4}, &tensor, &err), REEL_CORRUPT);
    CHECK(tensor == NULL);
    CHECK_INT(tensor_file_write("/nonexistent/folder/file", set, pool, &err), REEL_IO);
    REQUIRE_OK(tensor_set_put(set, "title", "\xff", &err), err);
    CHECK_INT(tensor_file_write(path, set, pool, &err), REEL_INVALID_ARGUMENT);
    tensor_set_free(set);
    CHECK_INT(tensor_file_open("/nonexistent/file", NULL, &set, &err), REEL_NOT_FOUND);
    CHECK_INT(tensor_file_open("/", NULL, &set, &err), REEL_BAD_INPUT);
}

/* Every bit of the file, one at a time: header, padding and data. */
static void test_every_bit_flip(void) {
    reel_error err;
    write_sample();
    struct image image = image_load();
    int fd = open(path, O_WRONLY);
    CHECK(fd >= 0);
    for (size_t at = 0; at < image.size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            char changed = (char)(image.data[at] ^ (1 << bit));
            CHECK(pwrite(fd, &changed, 1, (off_t)at) == 1);
            reel_status status = open_and_verify(NULL, &err);
            if (status != REEL_CORRUPT)
                fprintf(stderr, "byte %zu bit %d: %s\n", at, bit, reel_status_name(status)), test_failures++;
        }
        CHECK(pwrite(fd, &image.data[at], 1, (off_t)at) == 1);
    }
    close(fd);
    REQUIRE_OK(open_and_verify("reel-test", &err), err);
    free(image.data);
}

static void test_every_truncation(void) {
    reel_error err;
    write_sample();
    struct image image = image_load();
    for (size_t size = image.size; size-- > 0;) {
        CHECK(truncate(path, (off_t)size) == 0);
        struct tensor_set *set;
        CHECK_INT(tensor_file_open(path, NULL, &set, &err), REEL_CORRUPT);
        tensor_set_free(set);
    }
    char longer[1] = {0};
    store(image.data, image.size);
    int fd = open(path, O_WRONLY | O_APPEND);
    CHECK(write(fd, longer, 1) == 1);
    close(fd);
    CHECK_INT(open_and_verify(NULL, &err), REEL_CORRUPT);
    free(image.data);
}

/* Files of others: no hashes, no 64-byte alignment. */
static void test_foreign_files(void) {
    reel_error err;
    struct tensor_set *set;
    store_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                 "\"b\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[8,9]}}       ",
                 9);
    REQUIRE_OK(tensor_file_open(path, NULL, &set, &err), err);
    CHECK_INT(tensor_set_count(set), 2);
    CHECK_INT(tensor_file_verify(set, pool, &err), REEL_CORRUPT);
    tensor_set_free(set);
    CHECK_INT(tensor_file_open(path, "reel-dataset", &set, &err), REEL_CORRUPT);
    CHECK(strstr(err.message, "is not a reel-dataset file (found format 'none')") != NULL);
    store_header("{}", 0);
    REQUIRE_OK(tensor_file_open(path, NULL, &set, &err), err);
    CHECK_INT(tensor_set_count(set), 0);
    tensor_set_free(set);
}

static void test_strings(void) {
    reel_error err;
    struct tensor_set *set;
    store_header(
        " { \"__metadata__\" : {\"a\\u00e9\\n\" :\"\\\"\\\\\\/\\b\\f\\r\\t\",\t\"b\":\"\\ud83d\\uDE00 \xf0\x9f\x98\x80 "
        "\\u20ac \xe2\x82\xac\", \"\":\"\"}\r\n} ",
        0);
    REQUIRE_OK(tensor_file_open(path, NULL, &set, &err), err);
    CHECK_STR(tensor_set_get(set, "a\xc3\xa9\n"), "\"\\/\b\f\r\t");
    CHECK_STR(tensor_set_get(set, "b"), "\xf0\x9f\x98\x80 \xf0\x9f\x98\x80 \xe2\x82\xac \xe2\x82\xac");
    CHECK_STR(tensor_set_get(set, ""), "");
    tensor_set_free(set);
}

static void test_every_kind_of_corruption(void) {
#define ENTRY(name, dtype, shape, begin, end) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"
    static const struct {
        const char *header;
        size_t data_size;
        const char *says;
    } cases[] = {
        {"", 0, "is no safetensors file"},
        {"[]", 0, "'{' expected"},
        {"{", 0, "is no safetensors file"},
        {"{}x", 0, "is no safetensors file"},
        {"{\"\xff\":1}", 0, "is no safetensors file"},
        {"{" ENTRY("a", "U8", "[1]", "0", "1") "," ENTRY("a", "U8", "[1]", "1", "2") "}", 2, "duplicate"},
        {"{\"__metadata__\":[]}", 0, "byte 16 of the header: '{' expected"},
        {"{\"__metadata__\":{\"k\":1}}", 0, "'\"' expected"},
        {"{\"a\":1}", 0, "'{' expected"},
        {"{" ENTRY("a", "F31", "[1]", "0", "4") "}", 4, "unknown dtype (F31)"},
        {"{" ENTRY("a", "U8", "1", "0", "1") "}", 1, "'[' expected"},
        {"{" ENTRY("a", "U8", "[-1]", "0", "1") "}", 1, "whole number"},
        {"{" ENTRY("a", "U8", "[1.0]", "0", "1") "}", 1, "']' expected"},
        {"{" ENTRY("a", "U8", "[1,1,1,1,1]", "0", "1") "}", 1, "too many numbers"},
        {"{" ENTRY("a", "U8", "[4294967296,4294967296]", "0", "0") "}", 0, "too large"},
        {"{" ENTRY("a", "F64", "[2305843009213693952]", "0", "0") "}", 0, "too large"},
        {"{" ENTRY("a", "U8", "[99999999999999999999]", "0", "0") "}", 0, "number too large"},
        {"{" ENTRY("a", "U8", "[1]", "1", "0") "}", 1, "data_offsets"},
        {"{" ENTRY("a", "U8", "[1]", "-1", "0") "}", 1, "whole number"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "data_offsets"},
        {"{" ENTRY("a", "U8", "[2]", "0", "2") "}", 1, "cut short"},
        {"{" ENTRY("a", "U8", "[2]", "9223372036854775806", "9223372036854775807") "}", 1, "cut short"},
        {"{" ENTRY("a", "U16", "[2]", "0", "2") "}", 2, "must have 4 bytes"},
        {"{" ENTRY("a", "U8", "[2]", "0", "2") "," ENTRY("b", "U8", "[2]", "1", "3") "}", 3, "overlap"},
        {"{" ENTRY("a", "U8", "[2]", "0", "2") "," ENTRY("b", "U8", "[2]", "0", "2") "}", 2, "overlap"},
        {"{" ENTRY("a", "U8", "[1]", "0", "1") "," ENTRY("b", "U8", "[1]", "65", "66") "}", 66, "belong to none"},
        {"{" ENTRY("a", "U8", "[1]", "0", "1") "}", 2, "after the last tensor"},
        {"{" ENTRY("a", "U8", "[1]", "0", "1") "," ENTRY("b", "F32", "[1]", "1", "5") "}", 5, "no multiple of 4"},
        {"{" ENTRY("1234567890123456789012345678901234567890123456789012345678901234", "U8", "[1]", "0", "1") "}", 1,
         "name must have"},
        {"{" ENTRY("", "U8", "[1]", "0", "1") "}", 1, "name must have"},
        {"{\"__metadata__\":{\"header.xxh3\":\"0123456789abcdef\"}}", 0, "header was changed"},
        {"{\"a\":{}}", 0, "expected"},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 0, "repeated field"},
        {"{\"a\":{\"type\":\"U8\"}}", 0, "unknown or repeated field"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate"},
        {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "duplicate"},
        {"{\"__metadata__\":{\"k\":\"\\u0000\"}}", 0, "bad escape"},
        {"{\"__metadata__\":{\"k\":\"\\ud800\"}}", 0, "bad escape"},
        {"{\"__metadata__\":{\"k\":\"\\ud800\\u0041\"}}", 0, "bad escape"},
        {"{\"__metadata__\":{\"k\":\"\\udc00\"}}", 0, "bad escape"},
        {"{\"__metadata__\":{\"k\":\"\\u12g4\"}}", 0, "bad escape"},
        {"{\"__metadata__\":{\"k\":\"\\x\"}}", 0, "bad escape"},
        {"{\"__metadata__\":{\"k\":\"a\nb\"}}", 0, "control character"},
        {"{\"__metadata__\":{\"k\":\"\xc0\x80\"}}", 0, "not UTF-8"},
        {"{\"__metadata__\":{\"k\":\"\xed\xa0\x80\"}}", 0, "not UTF-8"},
        {"{\"__metadata__\":{\"k\":\"\xf4\x90\x80\x80\"}}", 0, "not UTF-8"},
        {"{\"__metadata__\":{\"k\":\"\xe2\x82\"}}", 0, "not UTF-8"},
        {"{\"__metadata__\":{\"k\":\"\xe2\x82", 0, "not UTF-8"},
        {"{\"__metadata__\":{\"k\":\"\\", 0, "bad escape"},
        {"{\"__metadata__\":{\"k\":\"v\",}}", 0, "expected"},
        {"{\"__metadata__\":{\"header.xxh3\":\"", 0, "is no safetensors file"},
    };
#undef ENTRY
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        reel_error err = {0};
        store_header(cases[i].header, cases[i].data_size);
        reel_status status = open_and_verify(NULL, &err);
        if (status != REEL_CORRUPT || !strstr(err.message, cases[i].says)) {
            fprintf(stderr, "case %zu: %s: %s\n", i, reel_status_name(status), err.message);
            test_failures++;
        }
    }
}

/* Deep nesting must not eat the stack, an enormous length not the memory. */
static void test_hostile_headers(void) {
    enum { DEPTH = 100000 };
    reel_error err;
    struct image image = {calloc(1, 8 + DEPTH), 8 + DEPTH};
    memset(image.data + 8, '[', DEPTH);
    for (int i = 0; i < 8; i++) image.data[i] = (char)((uint64_t)DEPTH >> (8 * i) & 0xff);
    store(image.data, image.size);
    CHECK_INT(open_and_verify(NULL, &err), REEL_CORRUPT);
    memset(image.data, 0xff, 8);
    store(image.data, image.size);
    CHECK_INT(open_and_verify(NULL, &err), REEL_CORRUPT);
    free(image.data);
}

int main(void) {
    reel_error err;
    snprintf(path, sizeof path, "/tmp/test_tensor_file.%ld", (long)getpid());
    REQUIRE_OK(thread_pool_new(3, &pool, &err), err);
    RUN(test_round_trip);
    RUN(test_bytes_depend_on_the_set_alone);
    RUN(test_empty_set);
    RUN(test_check_before_naming);
    RUN(test_bad_arguments);
    RUN(test_every_bit_flip);
    RUN(test_every_truncation);
    RUN(test_foreign_files);
    RUN(test_strings);
    RUN(test_every_kind_of_corruption);
    RUN(test_hostile_headers);
    unlink(path);
    thread_pool_free(pool);
    TEST_EXIT();
}
