/* The way between several devices of one host: NCCL where its library is found, else copies from device to device.
 *
 * NCCL is opened when a second device asks for it rather than linked (it weighs 200 MiB, and most machines have one
 * GPU): libnccl.so.2 on the loader's path, or what the environment variable REEL_NCCL names (a path); REEL_NCCL=off
 * keeps it out. */
#ifndef KERNELS_CUDA_CUDA_LINKS_H
#define KERNELS_CUDA_CUDA_LINKS_H

#include "backend/registry.h"
#include "kernels/cuda/backend_cuda.h"

enum { CUDA_LINKS_MAX = REGISTRY_DEVICES_MAX };

/* The functions of NCCL 2 that are used; enumerations are ints, communicators pointers, 0 means success. */
struct nccl {
    int (*version)(int *version);
    int (*open_all)(void **communicators, int n, const int *devices);
    int (*close)(void *communicator);
    int (*abort)(void *communicator);
    int (*group_start)(void);
    int (*group_end)(void);
    int (*broadcast)(const void *from, void *to, size_t count, int type, int root, void *communicator,
                     cudaStream_t stream);
    const char *(*error_text)(int code);
};

struct cuda_links {
    int n; /* 1..CUDA_LINKS_MAX */
    struct cuda_backend *devices[CUDA_LINKS_MAX];
    struct nccl nccl;
    void *communicators[CUDA_LINKS_MAX]; /* NULL = copies */
    char lost[128];                      /* why nothing can be exchanged any more, "" = it can */
};

/* Fills in the rest of a struct whose n and devices are set. *notice = a static sentence where copies take NCCL's place
 * without having been asked to, else it stays. */
void cuda_links_open(struct cuda_links *links, const char **notice);
void cuda_links_close(struct cuda_links *links);
/* at[d] is one array on device d, of cuts[n] bytes: bytes cuts[p] .. cuts[p + 1] - 1 go from device p to all others, so
 * that afterwards all are equal. Queued on the devices' streams behind what is there, or waits. */
reel_status cuda_links_exchange(struct cuda_links *links, void *const at[], const size_t cuts[], reel_error *err);
/* DEVICE once an exchange failed: the devices may wait for each other, or hold different things. */
reel_status cuda_links_use(const struct cuda_links *links, reel_error *err);
/* NCCL's version as it counts (22809 = 2.28.9), 0 where it is not found. */
int cuda_links_nccl_version(void);

#endif
