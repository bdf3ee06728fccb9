#include "kernels/cuda/cuda_links.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"

enum { NCCL_BYTES = 0 }; /* ncclInt8 of ncclDataType_t */

/* ---- NCCL ---- */

/* The emulator's devices are no GPUs: NCCL proper would not know their memory. */
static const char *nccl_name(void) {
    const char *asked = getenv("REEL_NCCL");
    if (asked && *asked) return strcmp(asked, "off") == 0 ? NULL : asked;
#ifdef REEL_CUDA_EMULATED
    return NULL;
#else
    return "libnccl.so.2";
#endif
}

/* 1 if all that is used is there. The library stays open for the process's life: its threads may outlive a job. */
static int nccl_open(struct nccl *nccl) {
    const char *name = nccl_name();
    void *library = name ? dlopen(name, RTLD_NOW | RTLD_LOCAL) : NULL;
    *nccl = {};
    if (!library) return 0;
    *(void **)&nccl->version = dlsym(library, "ncclGetVersion");
    *(void **)&nccl->open_all = dlsym(library, "ncclCommInitAll");
    *(void **)&nccl->close = dlsym(library, "ncclCommDestroy");
    *(void **)&nccl->abort = dlsym(library, "ncclCommAbort");
    *(void **)&nccl->group_start = dlsym(library, "ncclGroupStart");
    *(void **)&nccl->group_end = dlsym(library, "ncclGroupEnd");
    *(void **)&nccl->broadcast = dlsym(library, "ncclBroadcast");
    *(void **)&nccl->error_text = dlsym(library, "ncclGetErrorString");
    return nccl->version && nccl->open_all && nccl->close && nccl->abort && nccl->group_start && nccl->group_end &&
           nccl->broadcast && nccl->error_text;
}

int cuda_links_nccl_version(void) {
    struct nccl nccl;
    int version = 0;
    return nccl_open(&nccl) && nccl.version(&version) == 0 ? version : 0;
}

/* A group that failed may have left some devices waiting for the others. */
static reel_status nccl_failed(struct cuda_links *links, int code, reel_error *err) {
    snprintf(links->lost, sizeof links->lost, "%.*s", (int)sizeof links->lost - 1, links->nccl.error_text(code));
    for (int d = 0; d < links->n; d++) (void)links->nccl.abort(links->communicators[d]);
    memset(links->communicators, 0, sizeof links->communicators);
    return error_set(err, REEL_DEVICE, "exchanging between %d devices with NCCL: %s", links->n, links->lost);
}

static reel_status exchange_by_nccl(struct cuda_links *links, void *const at[], const size_t cuts[], reel_error *err) {
    int code = links->nccl.group_start();
    for (int from = 0; from < links->n; from++)
        for (int d = 0; d < links->n && code == 0 && cuts[from] < cuts[from + 1]; d++) {
            char *part = (char *)at[d] + cuts[from];
            code = links->nccl.broadcast(part, part, cuts[from + 1] - cuts[from], NCCL_BYTES, from,
                                         links->communicators[d], links->devices[d]->stream);
        }
    const int end = links->nccl.group_end();
    if (code == 0) code = end;
    return code == 0 ? REEL_OK : nccl_failed(links, code, err);
}

/* ---- copies ---- */

/* Lets each device read the others' memory. Where that is not possible copies go through the host. */
static void allow_access(const struct cuda_links *links) {
    for (int d = 0; d < links->n; d++)
        for (int other = 0; other < links->n; other++) {
            int possible = 0;
            if (other == d || cuda_backend_use(links->devices[d], NULL) != REEL_OK) continue;
            if (cudaDeviceCanAccessPeer(&possible, links->devices[d]->device, links->devices[other]->device) ==
                    cudaSuccess &&
                possible)
                (void)cudaDeviceEnablePeerAccess(links->devices[other]->device, 0);
            (void)cudaGetLastError(); /* it may have been allowed before */
        }
}

static reel_status wait_for_all(struct cuda_links *links, reel_error *err) {
    for (int d = 0; d < links->n; d++) {
        TRY_RETURN(cuda_backend_use(links->devices[d], err));
        TRY_RETURN(cuda_status(links->devices[d], cudaStreamSynchronize(links->devices[d]->stream),
                               "waiting for an exchange", err));
    }
    return REEL_OK;
}

static reel_status copy_part(struct cuda_links *links, void *const at[], const size_t cuts[], int from,
                             reel_error *err) {
    const size_t begin = cuts[from], bytes = cuts[from + 1] - begin;
    struct cuda_backend *source = links->devices[from];
    TRY_RETURN(cuda_backend_use(source, err));
    for (int d = 0; d < links->n; d++)
        if (d != from && bytes > 0)
            TRY_RETURN(
                cuda_status(source,
                            cudaMemcpyPeerAsync((char *)at[d] + begin, links->devices[d]->device,
                                                (const char *)at[from] + begin, source->device, bytes, source->stream),
                            "copying to another device", err));
    return REEL_OK;
}

/* Streams know nothing of each other, so the host waits: for what the copies read and overwrite, then for them. */
static reel_status exchange_by_copies(struct cuda_links *links, void *const at[], const size_t cuts[],
                                      reel_error *err) {
    TRY_RETURN(wait_for_all(links, err));
    for (int from = 0; from < links->n; from++) TRY_RETURN(copy_part(links, at, cuts, from, err));
    return wait_for_all(links, err);
}

/* ---- either ---- */

void cuda_links_open(struct cuda_links *links, const char **notice) {
    int numbers[CUDA_LINKS_MAX];
    links->lost[0] = '\0';
    memset(links->communicators, 0, sizeof links->communicators);
    for (int d = 0; d < links->n; d++) numbers[d] = links->devices[d]->device;
    if (nccl_open(&links->nccl)) {
        if (links->nccl.open_all(links->communicators, links->n, numbers) == 0) return;
        memset(links->communicators, 0, sizeof links->communicators);
        *notice = "NCCL does not start here; the GPUs exchange by plain copies (NCCL_DEBUG=INFO says more)";
    } else if (nccl_name())
        *notice = "NCCL was not found (apt-get install libnccl2); the GPUs exchange by plain copies";
    (void)cudaGetLastError();
    allow_access(links);
}

void cuda_links_close(struct cuda_links *links) {
    for (int d = 0; d < links->n; d++)
        if (links->communicators[d]) (void)links->nccl.close(links->communicators[d]);
    memset(links->communicators, 0, sizeof links->communicators);
}

reel_status cuda_links_use(const struct cuda_links *links, reel_error *err) {
    if (!links->lost[0]) return REEL_OK;
    return error_set(err, REEL_DEVICE, "the way between the devices was lost (%s); start the program again",
                     links->lost);
}

reel_status cuda_links_exchange(struct cuda_links *links, void *const at[], const size_t cuts[], reel_error *err) {
    TRY_RETURN(cuda_links_use(links, err));
    if (links->communicators[0]) return exchange_by_nccl(links, at, cuts, err);
    return exchange_by_copies(links, at, cuts, err);
}
