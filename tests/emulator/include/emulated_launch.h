/* Launches: what `kernel<<<grid, block, shared, stream>>>(arguments)` becomes, and the runtime's functions that take a
 * kernel. */
#ifndef EMULATED_LAUNCH_H
#define EMULATED_LAUNCH_H

#include <stdlib.h>
#include <new>
#include <tuple>

#include <cuda_runtime_api.h>
#include "emulated_vectors.h"

struct emulated_config {
    const char *name;   /* of the kernel, static */
    const void *kernel; /* its address */
    dim3 grid, block;
    size_t shared;
    cudaStream_t stream;
    int cooperative;
};

/* Runs a kernel's body for one thread with the arguments of the launch. */
typedef void (*emulated_body)(const void *arguments);

/* Queues a launch; `arguments` (from malloc) become the stream's. Errors of the configuration are the return value and
 * the thread's last error. */
cudaError_t emulated_enqueue(const struct emulated_config *config, emulated_body body, void *arguments);
cudaError_t emulated_set_attribute(const void *kernel, enum cudaFuncAttribute which, int value);
cudaError_t emulated_get_attributes(struct cudaFuncAttributes *out, const void *kernel);
cudaError_t emulated_occupancy(int *blocks, const void *kernel, int threads, size_t shared);

template <class... P> struct emulated_arguments {
    void (*kernel)(P...);
    std::tuple<P...> values;
    static void body(const void *arguments) {
        const emulated_arguments *self = (const emulated_arguments *)arguments;
        std::apply(self->kernel, self->values);
    }
};

template <class... P>
static inline cudaError_t emulated_launch(const struct emulated_config &config, void (*kernel)(P...), P... values) {
    typedef emulated_arguments<P...> stored;
    void *memory = aligned_alloc(alignof(stored) < 16 ? 16 : alignof(stored), (sizeof(stored) + 63) / 64 * 64);
    if (!memory) abort();
    return emulated_enqueue(&config, stored::body, new (memory) stored{kernel, {values...}});
}

template <class... P> struct emulated_call {
    struct emulated_config config;
    void (*kernel)(P...);
    void operator()(P... values) const {
        (void)emulated_launch<P...>(config, kernel, values...);
    }
};

template <class... P>
static inline struct emulated_call<P...> emulated_kernel(const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
                                                         size_t shared = 0, cudaStream_t stream = NULL) {
    return {{name, (const void *)kernel, grid, block, shared, stream, 0}, kernel};
}

template <class... P, size_t... I>
static inline cudaError_t emulated_launch_pointers(const struct emulated_config &config, void (*kernel)(P...),
                                                   void **arguments, std::index_sequence<I...>) {
    return emulated_launch<P...>(config, kernel, *(std::remove_cv_t<P> *)arguments[I]...);
}

template <class... P>
static inline cudaError_t cudaLaunchKernel(void (*kernel)(P...), dim3 grid, dim3 block, void **arguments, size_t shared,
                                           cudaStream_t stream) {
    return emulated_launch_pointers({"a kernel", (const void *)kernel, grid, block, shared, stream, 0}, kernel,
                                    arguments, std::index_sequence_for<P...>());
}

template <class... P>
static inline cudaError_t cudaLaunchCooperativeKernel(void (*kernel)(P...), dim3 grid, dim3 block, void **arguments,
                                                      size_t shared, cudaStream_t stream) {
    return emulated_launch_pointers({"a cooperative kernel", (const void *)kernel, grid, block, shared, stream, 1},
                                    kernel, arguments, std::index_sequence_for<P...>());
}

template <class... P>
static inline cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), enum cudaFuncAttribute which, int value) {
    return emulated_set_attribute((const void *)kernel, which, value);
}

template <class... P>
static inline cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *out, void (*kernel)(P...)) {
    return emulated_get_attributes(out, (const void *)kernel);
}

template <class... P>
static inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void (*kernel)(P...), int threads,
                                                                        size_t shared) {
    return emulated_occupancy(blocks, (const void *)kernel, threads, shared);
}

#endif
