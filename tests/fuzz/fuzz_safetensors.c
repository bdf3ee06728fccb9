/* Opens, verifies and reads through any bytes as a safetensors file: no crash, no read outside, no leak; and
 * what opens can be written and opened again. */
#define _GNU_SOURCE
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/file.h"
#include "core/tensor_file.h"
#include "core/threads.h"

static struct thread_pool *pool;
static char in_path[64], out_path[64];
static int in_fd;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    in_fd = memfd_create("fuzz", 0);
    if (in_fd < 0 || thread_pool_new(1, &pool, NULL) != REEL_OK) abort();
    snprintf(in_path, sizeof in_path, "/proc/self/fd/%d", in_fd);
    snprintf(out_path, sizeof out_path, "/dev/shm/fuzz_safetensors.%ld", (long)getpid());
    return 0;
}

static void demand(int condition) {
    if (!condition) abort();
}

/* Reads every byte, so that the sanitizers see a tensor that lies outside. */
static uint64_t sum_tensors(const struct tensor_set *set) {
    uint64_t sum = 0;
    for (size_t i = 0; i < tensor_set_count(set); i++) {
        const struct tensor *tensor = tensor_set_at(set, i);
        demand(tensor_set_find(set, tensor->name) == tensor);
        demand((size_t)tensor->n * dtype_size(tensor->dtype) == tensor->bytes);
        demand((uintptr_t)tensor->data % dtype_size(tensor->dtype) == 0);
        for (size_t k = 0; k < tensor->bytes; k++) sum += ((const uint8_t *)tensor->data)[k];
    }
    return sum;
}

/* A header that opens is JSON to others as well, with the same metadata. */
static void compare_with_jansson(const struct tensor_set *set) {
    struct file_map map;
    reel_error err;
    demand(file_map_open(in_path, &map, &err) == REEL_OK);
    size_t size = 0;
    for (int i = 7; i >= 0; i--) size = size << 8 | (unsigned char)map.data[i];
    json_t *header = json_loadb(map.data + 8, size, JSON_REJECT_DUPLICATES, NULL);
    demand(header != NULL);
    json_t *metadata = json_object_get(header, "__metadata__");
    const char *key, *value;
    size_t n = 0;
    for (; tensor_set_metadata_at(set, n, &key, &value); n++) {
        const char *other = json_string_value(json_object_get(metadata, key));
        demand(other && strcmp(other, value) == 0);
    }
    demand(n == json_object_size(metadata));
    json_decref(header);
    file_map_close(&map);
}

static void write_again(const struct tensor_set *set) {
    struct tensor_set *again = NULL;
    reel_error err;
    if (tensor_file_write(out_path, set, pool, &err) != REEL_OK) return;
    demand(tensor_file_open(out_path, NULL, &again, &err) == REEL_OK);
    demand(tensor_file_verify(again, pool, &err) == REEL_OK);
    demand(tensor_set_count(again) == tensor_set_count(set) && sum_tensors(again) == sum_tensors(set));
    tensor_set_free(again);
    unlink(out_path);
}

/* The input is the file; one that starts with '{' gets the length of its header (up to the last '}') put before
 * it, so that mutations reach what stands behind that check. */
static void store(const uint8_t *data, size_t size) {
    uint8_t length[8] = {0};
    size_t start = 0;
    reel_error err;
    if (size > 0 && data[0] == '{') {
        size_t header = size;
        while (header > 1 && data[header - 1] != '}') header--;
        for (int i = 0; i < 8; i++) length[i] = (uint8_t)(header >> (8 * i) & 0xff);
        start = sizeof length;
    }
    demand(ftruncate(in_fd, 0) == 0);
    demand(file_pwrite_all(in_fd, length, start, 0, in_path, &err) == REEL_OK);
    demand(file_pwrite_all(in_fd, data, size, start, in_path, &err) == REEL_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    reel_error err;
    struct tensor_set *set = NULL;
    store(data, size);
    reel_status status = tensor_file_open(in_path, NULL, &set, &err);
    demand(status == REEL_OK ? set != NULL : status == REEL_CORRUPT && !set);
    if (status != REEL_OK) return 0;
    compare_with_jansson(set);
    (void)tensor_file_verify(set, pool, &err);
    write_again(set);
    tensor_set_free(set);
    return 0;
}
