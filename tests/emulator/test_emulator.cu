/* The emulator itself: what its primitives give, and that it stops what would hang or corrupt on a GPU. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

enum { WORDS = 4096 };

static unsigned *device_words;
static unsigned words[WORDS];

static void fetch(void) {
    CHECK_INT(cudaMemcpy(words, device_words, sizeof words, cudaMemcpyDeviceToHost), cudaSuccess);
}

/* ---- what works ---- */

static __global__ void primitives_kernel(unsigned *out) {
    const unsigned lane = threadIdx.x, all = 0xffffffffu;
    unsigned *row = out + lane * 16, everyone[32];
    row[0] = __shfl_sync(all, lane, 7);
    row[1] = __shfl_up_sync(all, lane, 3);
    row[2] = __shfl_down_sync(all, lane, 3, 8);
    row[3] = __shfl_xor_sync(all, lane, 5);
    row[4] = __ballot_sync(all, lane % 3 == 0);
    row[5] = __reduce_add_sync(all, lane);
    row[6] = __match_any_sync(all, lane / 4);
    row[7] = (unsigned)__all_sync(all, lane < 32) + 2 * (unsigned)__any_sync(all, lane > 31);
    row[8] = lane < 16 ? __shfl_xor_sync(0x0000ffffu, lane, 1) : __shfl_xor_sync(0xffff0000u, lane, 2);
    emulated_warp_gather(&lane, everyone, sizeof lane);
    row[9] = everyone[31 - lane];
}

static void primitives(void) {
    primitives_kernel<<<1, 32>>>(device_words);
    fetch();
    for (unsigned lane = 0; lane < 32; lane++) {
        const unsigned *row = words + lane * 16;
        CHECK_INT(row[0], 7);
        CHECK_INT(row[1], lane < 3 ? lane : lane - 3);
        CHECK_INT(row[2], lane % 8 < 5 ? lane + 3 : lane);
        CHECK_INT(row[3], lane ^ 5);
        CHECK_INT(row[4], 0x49249249);
        CHECK_INT(row[5], 496);
        CHECK_INT(row[6], 15u << lane / 4 * 4);
        CHECK_INT(row[7], 1);
        CHECK_INT(row[8], lane < 16 ? lane ^ 1 : lane ^ 2);
        CHECK_INT(row[9], 31 - lane);
    }
}

/* Each block reverses its numbers through shared memory; threads past the end have left before the barrier. */
static __global__ void reverse_kernel(unsigned *out, unsigned n) {
    extern __shared__ unsigned room[];
    __shared__ unsigned first;
    if (threadIdx.x >= n) return;
    if (threadIdx.x == n - 1) first = blockIdx.x * 1000;
    room[threadIdx.x] = threadIdx.x;
    const int odd = __syncthreads_count(threadIdx.x % 2);
    out[blockIdx.x * n + threadIdx.x] = first + room[n - 1 - threadIdx.x] + (odd == (int)n / 2 ? 0 : 500000);
}

static void barriers_and_shared_memory(void) {
    const unsigned n = 77;
    reverse_kernel<<<dim3(5), 96, n * sizeof(unsigned)>>>(device_words, n);
    fetch();
    for (unsigned i = 0; i < 5 * n; i++) CHECK_INT(words[i], i / n * 1000 + n - 1 - i % n);
}

/* out: how many lanes see their first copy before any wait, behind a wait for it, and their second one with the first.
 */
static __global__ void late_copies_kernel(unsigned *out, const unsigned *from) {
    __shared__ unsigned room[2][32];
    room[0][threadIdx.x] = room[1][threadIdx.x] = 0;
    emulated_copy(&room[0][threadIdx.x], from, sizeof *from);
    emulated_copy_commit();
    emulated_copy(&room[1][threadIdx.x], from, sizeof *from);
    emulated_copy_commit();
    atomicAdd(&out[0], room[0][threadIdx.x] != 0);
    emulated_copy_wait(1);
    atomicAdd(&out[1], room[0][threadIdx.x] != 0);
    atomicAdd(&out[2], room[1][threadIdx.x] != 0);
    emulated_copy_wait_all();
    atomicAdd(&out[3], room[1][threadIdx.x] != 0);
    emulated_copy(&room[0][threadIdx.x], NULL, sizeof room[0][0]);
    emulated_copy_wait_all();
    atomicAdd(&out[4], room[0][threadIdx.x] == 0);
}

static void copies_come_late(void) {
    CHECK_INT(cudaMemset(device_words, 0, 64), cudaSuccess);
    CHECK_INT(cudaMemset(device_words + 8, 1, 4), cudaSuccess);
    late_copies_kernel<<<1, 32>>>(device_words, device_words + 8);
    fetch();
    CHECK(words[0] > 4 && words[0] < 28);
    CHECK_INT(words[1], 32);
    CHECK(words[2] > 4 && words[2] < 28);
    CHECK_INT(words[3], 32);
    CHECK_INT(words[4], 32);
}

/* The blocks pass a word on, the last one first, and then meet. */
static __global__ void relay_kernel(unsigned *out) {
    if (threadIdx.x == 0) {
        while (*(volatile unsigned *)out != gridDim.x - 1 - blockIdx.x) __nanosleep(20);
        *(volatile unsigned *)out = *out + 1;
    }
    emulated_grid_barrier({__FILE__, __LINE__});
    if (threadIdx.x == 0) atomicAdd(&out[1], out[0]);
}

static void blocks_of_a_cooperative_launch_take_turns(void) {
    unsigned *argument = device_words;
    void *arguments[] = {&argument};
    CHECK_INT(cudaMemset(device_words, 0, 64), cudaSuccess);
    CHECK_INT(cudaLaunchCooperativeKernel(relay_kernel, dim3(9), dim3(40), arguments, 0, NULL), cudaSuccess);
    fetch();
    CHECK_INT(words[0], 9);
    CHECK_INT(words[1], 81);
    CHECK_INT(cudaLaunchCooperativeKernel(relay_kernel, dim3(9000), dim3(1024), arguments, 0, NULL),
              cudaErrorCooperativeLaunchTooLarge);
    CHECK_INT(cudaGetLastError(), cudaErrorCooperativeLaunchTooLarge);
}

static void launches_and_copies_are_checked(void) {
    reverse_kernel<<<1, 2000>>>(device_words, 5);
    CHECK_INT(cudaGetLastError(), cudaErrorInvalidConfiguration);
    reverse_kernel<<<1, 32, 60000>>>(device_words, 5);
    CHECK_INT(cudaGetLastError(), cudaErrorInvalidValue);
    CHECK_INT(cudaFuncSetAttribute(reverse_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 60000), cudaSuccess);
    reverse_kernel<<<1, 32, 60000>>>(device_words, 5);
    CHECK_INT(cudaGetLastError(), cudaSuccess);
    CHECK_INT(cudaMemcpy(words, device_words, 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    CHECK_INT(cudaMemcpy(device_words, words, sizeof words + 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    CHECK_INT(cudaGetLastError(), cudaErrorInvalidValue);
}

/* ---- what is stopped ---- */

static __global__ void lost_lane_kernel(unsigned *out) {
    if (threadIdx.x == 5) __syncthreads();
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1u, 1);
    __syncthreads();
}

static __global__ void two_barriers_kernel(unsigned *out) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    *out = 1;
}

static __global__ void missing_source_kernel(unsigned *out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1u, 20);
}

static __global__ void overflow_kernel(unsigned *out) {
    __shared__ unsigned room[64];
    room[threadIdx.x + 1] = 1;
    __syncthreads();
    out[threadIdx.x] = room[threadIdx.x];
}

/* Neighbours read what was written with no barrier between; and with one too few before it is written again. */
static __global__ void read_race_kernel(unsigned *out) {
    __shared__ unsigned room[64];
    room[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = room[threadIdx.x ^ 32];
}

static __global__ void write_race_kernel(unsigned *out) {
    __shared__ unsigned room[64];
    room[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = room[threadIdx.x ^ 32];
    room[threadIdx.x] = 0;
}

/* A shuffle orders nothing. */
static __global__ void shuffle_race_kernel(unsigned *out) {
    __shared__ unsigned room[32];
    room[threadIdx.x] = __shfl_xor_sync(0xffffffffu, threadIdx.x, 1);
    (void)__shfl_xor_sync(0xffffffffu, threadIdx.x, 1);
    out[threadIdx.x] = room[threadIdx.x ^ 1];
}

/* The first warp only tells that it came, and must not read what the second one wrote. */
static __global__ void arrival_race_kernel(unsigned *out) {
    __shared__ unsigned room[64];
    room[threadIdx.x] = threadIdx.x;
    emulated_meet(threadIdx.x / 32);
    out[threadIdx.x] = room[threadIdx.x ^ 32];
}

/* A copy may come after the barrier: only behind the wait is it there. */
static __global__ void copy_race_kernel(unsigned *out) {
    __shared__ unsigned room[64];
    emulated_copy(&room[threadIdx.x], out + threadIdx.x, sizeof *out);
    __syncthreads();
    emulated_copy_wait_all();
    out[threadIdx.x] = room[threadIdx.x ^ 32];
}

/* None of these: a barrier, the warp's, halves of a word, and a copy in time. */
static __global__ void no_race_kernel(unsigned *out) {
    __shared__ unsigned room[64];
    __shared__ uint16_t halves[64];
    room[threadIdx.x] = threadIdx.x;
    halves[threadIdx.x] = (uint16_t)threadIdx.x;
    __syncwarp();
    out[threadIdx.x] = room[threadIdx.x ^ 1];
    emulated_meet(1);
    out[threadIdx.x] += room[threadIdx.x ^ 32] + halves[threadIdx.x ^ 32];
    __syncthreads();
    emulated_copy(&room[threadIdx.x], NULL, sizeof room[0]);
    emulated_copy_wait_all();
    __syncthreads();
    out[threadIdx.x] += room[threadIdx.x ^ 32];
}

static __global__ void __launch_bounds__(32) bounds_kernel(unsigned *out) {
    *out = 1;
}

typedef void (*kernel)(unsigned *);

/* Whether the launch ends the program with a message that holds `text`. */
static int stops(kernel run, unsigned threads, const char *text) {
    char said[4096] = "";
    int ends[2], status = 0;
    if (pipe(ends) != 0) return 0;
    const pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        run<<<1, threads>>>(device_words);
        _exit(0);
    }
    close(ends[1]);
    for (size_t at = 0; at < sizeof said - 1;) {
        const ssize_t n = read(ends[0], said + at, sizeof said - 1 - at);
        if (n <= 0) break;
        at += (size_t)n;
    }
    close(ends[0]);
    return waitpid(child, &status, 0) == child && !(WIFEXITED(status) && WEXITSTATUS(status) == 0) &&
           strstr(said, text);
}

static void broken_kernels_are_stopped(void) {
    CHECK(stops(lost_lane_kernel, 32, "no thread can go on"));
    CHECK(stops(two_barriers_kernel, 64, "different barriers"));
    CHECK(stops(missing_source_kernel, 32, "reads lane 20"));
    CHECK(stops(bounds_kernel, 64, "__launch_bounds__ allow 32"));
    CHECK(stops(overflow_kernel, 64, "emulated CUDA: ") || stops(overflow_kernel, 64, "AddressSanitizer") ||
          stops(overflow_kernel, 64, "runtime error: ")); /* UBSan's */
}

static void races_are_found(void) {
    no_race_kernel<<<1, 64>>>(device_words);
    fetch();
    CHECK_INT(words[3], 2 + 2 * 35);
    if (!emulated_races()) {
        printf("skipped: races on shared memory (not in this build, or REEL_EMULATED_RACES=off)\n");
        return;
    }
    CHECK(stops(read_race_kernel, 64, "it writes what thread 0 read"));
    CHECK(stops(write_race_kernel, 64, " wrote, and nothing orders them"));
    CHECK(stops(shuffle_race_kernel, 32, "a race on shared memory"));
    CHECK(stops(arrival_race_kernel, 64, "a race on shared memory"));
    CHECK(stops(copy_race_kernel, 64, "a race on shared memory"));
}

int main(void) {
    CHECK_INT(cudaMalloc((void **)&device_words, sizeof words), cudaSuccess);
    RUN(primitives);
    RUN(barriers_and_shared_memory);
    RUN(blocks_of_a_cooperative_launch_take_turns);
    RUN(copies_come_late);
    RUN(launches_and_copies_are_checked);
    RUN(broken_kernels_are_stopped);
    RUN(races_are_found);
    CHECK_INT(cudaFree(device_words), cudaSuccess);
    TEST_EXIT();
}
