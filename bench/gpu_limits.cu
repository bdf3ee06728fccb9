/* gpu_limits: what this GPU can do, measured: the ceilings that bench/gpu.sh holds the operators against. Prints `row,`
 * lines (bench/bench.h). Built by bench/gpu.sh with nvcc alone; exit 77 where there is no GPU. */
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/cuda/mma.h"

static void must(cudaError_t code, const char *what) {
    if (code == cudaSuccess) return;
    fprintf(stderr, "gpu_limits: %s: %s\n", what, cudaGetErrorString(code));
    exit(code == cudaErrorNoDevice || code == cudaErrorInsufficientDriver ? 77 : 1);
}

static void row(const char *benchmark, const char *parameters, double value, const char *unit) {
    printf("row,%s,1,%s,%.6g,,,%s\n", benchmark, parameters, value, unit);
}

static cudaEvent_t begin_event, end_event;

static int compare(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Median milliseconds of nine runs behind two to warm up. */
template <class Work> static double median_ms(Work work) {
    float times[9];
    for (int i = -2; i < 9; i++) {
        float ms;
        must(cudaEventRecord(begin_event), "recording");
        work();
        must(cudaGetLastError(), "launching");
        must(cudaEventRecord(end_event), "recording");
        must(cudaEventSynchronize(end_event), "waiting");
        must(cudaEventElapsedTime(&ms, begin_event, end_event), "timing");
        if (i >= 0) times[i] = ms;
    }
    qsort(times, 9, sizeof times[0], compare);
    return times[4];
}

enum { CHAINS = 8, ROUNDS = 4096, THREADS = 256 };

/* CHAINS independent chains of multiply-adds a thread. The result is written only if it is impossible. */
template <class Real> static __global__ void chains_kernel(Real *out, Real factor) {
    Real sums[CHAINS];
    for (int c = 0; c < CHAINS; c++) sums[c] = (Real)(threadIdx.x + c);
    for (int i = 0; i < ROUNDS; i++)
#pragma unroll
        for (int c = 0; c < CHAINS; c++) sums[c] = sums[c] * factor + (Real)1;
    Real sum = 0;
    for (int c = 0; c < CHAINS; c++) sum += sums[c];
    if (sum == (Real)-1) *out = sum;
}

template <class Real> static void chains(const char *name, int processors, void *room) {
    const int blocks = processors * 8;
    const double ms = median_ms([&] { chains_kernel<Real><<<blocks, THREADS>>>((Real *)room, (Real)0.999); });
    row(name, "chains of multiply-adds", 2.0 * CHAINS * ROUNDS * THREADS * blocks / ms * 1e-9, "TFLOP/s");
}

/* The same of the tensor cores, by the instruction that factor_solve uses. */
static __global__ void tensor_kernel(float *out, unsigned bits) {
    const unsigned a[4] = {bits, bits, bits, bits}, b[2] = {bits, bits};
    float sums[CHAINS][4] = {}, sum = 0;
    for (int i = 0; i < ROUNDS; i++)
#pragma unroll
        for (int c = 0; c < CHAINS; c++) mma_half(sums[c], a, b);
    for (int c = 0; c < CHAINS; c++) sum += sums[c][0];
    if (sum == -1) *out = sum;
}

static void tensor(int processors, void *room) {
    const int blocks = processors * 8;
    const double flops = 2.0 * 16 * 8 * 16 * CHAINS * ROUNDS * (THREADS / 32) * blocks;
    const double ms = median_ms([&] { tensor_kernel<<<blocks, THREADS>>>((float *)room, 0x38003800u); });
    row("gpu fp16", "chains of mma.m16n8k16", flops / ms * 1e-9, "TFLOP/s");
}

static void copies(char *room, size_t bytes) {
    const double ms =
        median_ms([&] { must(cudaMemcpyAsync(room + bytes, room, bytes, cudaMemcpyDeviceToDevice), "copying"); });
    row("gpu copy", "device to device; read and written", 2e-6 * (double)bytes / ms, "GB/s");
    const size_t part = bytes < ((size_t)256 << 20) ? bytes : (size_t)256 << 20;
    char *host = (char *)malloc(part);
    if (!host) return;
    memset(host, 1, part);
    const double up = median_ms([&] { must(cudaMemcpy(room, host, part, cudaMemcpyHostToDevice), "copying"); });
    row("gpu upload", "from pageable memory", 1e-6 * (double)part / up, "GB/s");
    free(host);
}

/* Numbers in -0.5 .. 0.5 without a pattern: products of zeros would run faster than real ones. */
static __global__ void fill_kernel(float *out, size_t n) {
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x)
        out[i] = (float)((unsigned)i * 2654435761u >> 8) / 16777216.0f - 0.5f;
}

/* cuBLAS, if the loader finds it: its C interface as cublas_v2.h (CUDA 8 to 13) declares it. */
static void gemm(float *room) {
    const char *const names[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"};
    void *library = NULL, *handle = NULL;
    for (int i = 0; i < 4 && !library; i++) library = dlopen(names[i], RTLD_NOW);
    if (!library) {
        fprintf(stderr, "skipped: the rate of cuBLAS's sgemm (no libcublas on the loader's path)\n");
        return;
    }
    const int n = 8192;
    const float one = 1, zero = 0;
    int (*create)(void **);
    int (*sgemm)(void *, int, int, int, int, int, const float *, const float *, int, const float *, int, const float *,
                 float *, int);
    *(void **)&create = dlsym(library, "cublasCreate_v2");
    *(void **)&sgemm = dlsym(library, "cublasSgemm_v2");
    if (!create || !sgemm || create(&handle) != 0) return;
    float *a = room, *b = a + (size_t)n * n, *c = b + (size_t)n * n;
    const double ms = median_ms([&] { (void)sgemm(handle, 0, 0, n, n, n, &one, a, n, b, n, &zero, c, n); });
    row("gpu sgemm", "cuBLAS n=8192", 2.0 * n * n * n / ms * 1e-9, "TFLOP/s");
}

int main() {
    int count = 0;
    must(cudaGetDeviceCount(&count), "looking for a GPU");
    if (count == 0) return 77;
    cudaDeviceProp properties;
    must(cudaGetDeviceProperties(&properties, 0), "asking the GPU");
    printf("%s, %d multiprocessors, %.1f GiB, compute capability %d.%d\n", properties.name,
           properties.multiProcessorCount, (double)properties.totalGlobalMem / (1 << 30), properties.major,
           properties.minor);
    const size_t quarter = properties.totalGlobalMem / 4, most = (size_t)2 << 30,
                 bytes = quarter < most ? quarter : most;
    char *room;
    must(cudaMalloc((void **)&room, 2 * bytes), "allocating");
    must(cudaMemset(room, 0, 2 * bytes), "clearing");
    must(cudaEventCreate(&begin_event), "making an event");
    must(cudaEventCreate(&end_event), "making an event");
    copies(room, bytes);
    chains<float>("gpu fp32", properties.multiProcessorCount, room);
    chains<double>("gpu fp64", properties.multiProcessorCount, room);
    tensor(properties.multiProcessorCount, room);
    if (2 * bytes >= (size_t)3 * 8192 * 8192 * sizeof(float)) {
        fill_kernel<<<1024, 256>>>((float *)room, (size_t)2 * 8192 * 8192);
        gemm((float *)room);
    }
    return 0;
}
