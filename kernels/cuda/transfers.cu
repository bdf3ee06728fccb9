/* Copies between the host's memory and the device.
 *
 * The driver brings pageable memory over with one thread, at a seventh of what the bus takes. So large copies go
 * through pinned buffers, a stage at a time: the backend's threads copy one stage while the bus moves the ones before
 * it. Pinning takes some milliseconds, which it is worth once PIN_AFTER bytes have come; where it fails, the driver's
 * way stays. */
#include <sched.h>
#include <string.h>

#include "core/error.h"
#include "core/threads.h"
#include "kernels/cuda/backend_cuda.h"

static const size_t STAGE = (size_t)4 << 20, PIECE = (size_t)256 << 10; /* bytes of a buffer, of a thread's task */
static const size_t STAGED_LEAST = (size_t)1 << 20, PIN_AFTER = (size_t)24 << 20;

enum { PINS_NONE_YET, PINS_THERE, PINS_REFUSED };

/* ---- the buffers ---- */

void cuda_transfers_close(struct cuda_backend *cuda) {
    struct cuda_transfers *all = &cuda->transfers;
    for (int i = 0; i < CUDA_STAGES; i++)
        if (all->moved[i]) (void)cudaEventDestroy(all->moved[i]);
    if (all->pinned) (void)cudaFreeHost(all->pinned);
    *all = {};
}

static void pin(struct cuda_backend *cuda) {
    struct cuda_transfers *all = &cuda->transfers;
    cudaError_t code = cudaHostAlloc((void **)&all->pinned, CUDA_STAGES * STAGE, cudaHostAllocDefault);
    for (int i = 0; i < CUDA_STAGES && code == cudaSuccess; i++)
        code = cudaEventCreateWithFlags(&all->moved[i], cudaEventDisableTiming);
    if (code == cudaSuccess) {
        all->state = PINS_THERE;
        return;
    }
    (void)cudaGetLastError();
    cuda_transfers_close(cuda);
    all->state = PINS_REFUSED;
}

/* Whether a copy goes through the buffers. */
static int is_staged(struct cuda_backend *cuda, size_t bytes) {
    struct cuda_transfers *all = &cuda->transfers;
    if (bytes < STAGED_LEAST) return 0;
    if (all->state == PINS_NONE_YET && (all->plain_bytes += bytes) >= PIN_AFTER) pin(cuda);
    return all->state == PINS_THERE;
}

/* ---- copies ---- */

/* One copy. Stage s goes through buffer (first + s) % CUDA_STAGES in pieces, which threads take in order; who copies
 * the last piece of a stage hands the buffer to the bus. So the pool is woken once a copy, and only full buffers wait.
 */
struct transfer {
    struct cuda_backend *cuda;
    cudaStream_t stream;
    char *to;
    const char *from;
    size_t bytes;
    int up, first;
    /* Shared by the threads: */
    int turns[CUDA_STAGES];  /* how often the bus was given the buffer */
    int copied[CUDA_STAGES]; /* pieces of its stage */
    int code;                /* the first error of the CUDA runtime */
};

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static void fail(struct transfer *t, cudaError_t code) {
    int none = cudaSuccess;
    if (code != cudaSuccess)
        (void)__atomic_compare_exchange_n(&t->code, &none, (int)code, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static int buffer_of(const struct transfer *t, size_t stage) {
    return (int)(((size_t)t->first + stage) % CUDA_STAGES);
}

static char *pinned_at(const struct transfer *t, size_t stage) {
    return t->cuda->transfers.pinned + (size_t)buffer_of(t, stage) * STAGE;
}

/* Gives a stage's buffer to the bus. */
static void move_stage(struct transfer *t, size_t stage) {
    const int buffer = buffer_of(t, stage);
    const size_t at = stage * STAGE, bytes = smaller(t->bytes - at, STAGE);
    if (t->up)
        fail(t, cudaMemcpyAsync(t->to + at, pinned_at(t, stage), bytes, cudaMemcpyHostToDevice, t->stream));
    else
        fail(t, cudaMemcpyAsync(pinned_at(t, stage), t->from + at, bytes, cudaMemcpyDeviceToHost, t->stream));
    fail(t, cudaEventRecord(t->cuda->transfers.moved[buffer], t->stream));
    t->copied[buffer] = 0;
    __atomic_fetch_add(&t->turns[buffer], 1, __ATOMIC_RELEASE);
}

/* Until the bus has done with a stage's buffer: with the stage before it on the way up, with this one on the way down.
 * Pieces are handed out in order, so whoever gives it to the bus is at work. Returns whether all is well. */
static int wait_for_bus(struct transfer *t, size_t stage) {
    const int buffer = buffer_of(t, stage), turn = (int)(stage / CUDA_STAGES) + !t->up;
    while (__atomic_load_n(&t->turns[buffer], __ATOMIC_ACQUIRE) < turn) {
        if (__atomic_load_n(&t->code, __ATOMIC_RELAXED) != cudaSuccess) return 0;
        (void)sched_yield();
    }
    fail(t, cudaEventSynchronize(t->cuda->transfers.moved[buffer]));
    return __atomic_load_n(&t->code, __ATOMIC_RELAXED) == cudaSuccess;
}

static void copy_piece(void *arg, int64_t piece, int worker) {
    (void)worker;
    struct transfer *t = (struct transfer *)arg;
    const size_t at = (size_t)piece * PIECE, stage = at / STAGE, bytes = smaller(t->bytes - at, PIECE);
    const int pieces = (int)((smaller(t->bytes - stage * STAGE, STAGE) + PIECE - 1) / PIECE);
    fail(t, cudaSetDevice(t->cuda->device));
    if (!wait_for_bus(t, stage)) return;
    if (t->up)
        memcpy(pinned_at(t, stage) + at % STAGE, t->from + at, bytes);
    else
        memcpy(t->to + at, pinned_at(t, stage) + at % STAGE, bytes);
    if (__atomic_add_fetch(&t->copied[buffer_of(t, stage)], 1, __ATOMIC_ACQ_REL) < pieces) return;
    if (t->up)
        move_stage(t, stage);
    else if ((stage + CUDA_STAGES) * STAGE < t->bytes)
        move_stage(t, stage + CUDA_STAGES);
}

/* On the backend's threads; on the calling one where devices share them. */
static void copy_all(struct transfer *t) {
    const int64_t n = (int64_t)((t->bytes + PIECE - 1) / PIECE);
    if (t->cuda->base.pool && !t->cuda->shares_pool) {
        thread_pool_run(t->cuda->base.pool, n, copy_piece, t);
        return;
    }
    for (int64_t piece = 0; piece < n; piece++) copy_piece(t, piece, 0);
}

static cudaError_t staged_copy(struct transfer *t) {
    struct cuda_transfers *all = &t->cuda->transfers;
    const size_t n = (t->bytes + STAGE - 1) / STAGE;
    t->first = all->next;
    all->next = buffer_of(t, n);
    for (size_t stage = 0; !t->up && stage < n && stage < CUDA_STAGES; stage++) {
        fail(t, cudaEventSynchronize(all->moved[buffer_of(t, stage)])); /* an upload on another stream */
        move_stage(t, stage);
    }
    copy_all(t);
    return (cudaError_t)t->code;
}

reel_status cuda_copy_up(struct cuda_backend *cuda, cudaStream_t stream, void *to, const void *from, size_t bytes,
                         reel_error *err) {
    struct transfer t = {cuda, stream, (char *)to, (const char *)from, bytes, 1};
    if (!bytes) return REEL_OK;
    return cuda_status(cuda,
                       is_staged(cuda, bytes) ? staged_copy(&t)
                                              : cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream),
                       "copying to the device", err);
}

reel_status cuda_copy_down(struct cuda_backend *cuda, cudaStream_t stream, void *to, const void *from, size_t bytes,
                           reel_error *err) {
    struct transfer t = {cuda, stream, (char *)to, (const char *)from, bytes, 0};
    if (bytes)
        TRY_RETURN(cuda_status(
            cuda,
            is_staged(cuda, bytes) ? staged_copy(&t) : cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream),
            "copying from the device", err));
    return cuda_status(cuda, cudaStreamSynchronize(stream), "waiting for the device", err);
}
