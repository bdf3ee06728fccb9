/* The functions of NCCL 2 that kernels/cuda/cuda_links.cu uses, for emulated devices, whose memory is the host's and
 * whose streams do what is queued at once: a broadcast is a copy, made when its group ends. What NCCL asks of its
 * callers is checked: all communicators make the same calls in the same order. REEL_EMULATED_NCCL_FAILS=1 lets groups
 * fail. Names and values are NCCL's (nccl.h); one thread at a time. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { SUCCESS = 0, SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4, INVALID_USAGE = 5, INT8 = 0, RANKS_MAX = 16 };
enum { CALLS_MAX = 64 };

struct call {
    const void *from;
    void *to;
    size_t count;
    int root;
};

struct clique;

struct communicator {
    struct clique *clique;
    struct call calls[CALLS_MAX]; /* of the open group */
    int n_calls;
};

struct clique {
    int n, open; /* ranks, and communicators not closed */
    struct communicator ranks[RANKS_MAX];
};

static int depth;              /* of groups */
static struct clique *waiting; /* whose calls the open group holds */

EXPORT int ncclGetVersion(int *version);
EXPORT int ncclCommInitAll(struct communicator **out, int n, const int *devices);
EXPORT int ncclCommDestroy(struct communicator *communicator);
EXPORT int ncclCommAbort(struct communicator *communicator);
EXPORT int ncclGroupStart(void);
EXPORT int ncclGroupEnd(void);
EXPORT int ncclBroadcast(const void *from, void *to, size_t count, int type, int root,
                         struct communicator *communicator, void *stream);
EXPORT const char *ncclGetErrorString(int code);

int ncclGetVersion(int *version) {
    *version = 22809;
    return SUCCESS;
}

const char *ncclGetErrorString(int code) {
    switch (code) {
    case SUCCESS:
        return "no error";
    case SYSTEM_ERROR:
        return "unhandled system error";
    case INVALID_ARGUMENT:
        return "invalid argument";
    default:
        return "invalid usage";
    }
}

int ncclCommInitAll(struct communicator **out, int n, const int *devices) {
    if (n < 1 || n > RANKS_MAX || !devices) return INVALID_ARGUMENT;
    struct clique *clique = calloc(1, sizeof *clique);
    if (!clique) return SYSTEM_ERROR;
    clique->n = clique->open = n;
    for (int rank = 0; rank < n; rank++) {
        clique->ranks[rank].clique = clique;
        out[rank] = &clique->ranks[rank];
    }
    return SUCCESS;
}

int ncclCommDestroy(struct communicator *communicator) {
    struct clique *clique = communicator->clique;
    if (--clique->open == 0) free(clique);
    return SUCCESS;
}

int ncclCommAbort(struct communicator *communicator) {
    return ncclCommDestroy(communicator);
}

int ncclGroupStart(void) {
    depth++;
    return SUCCESS;
}

int ncclBroadcast(const void *from, void *to, size_t count, int type, int root, struct communicator *communicator,
                  void *stream) {
    struct clique *clique = communicator->clique;
    if (!stream || type != INT8 || root < 0 || root >= clique->n || !to) return INVALID_ARGUMENT;
    if (depth == 0 || communicator->n_calls == CALLS_MAX || (waiting && waiting != clique)) return INVALID_USAGE;
    communicator->calls[communicator->n_calls++] = (struct call){from, to, count, root};
    waiting = clique;
    return SUCCESS;
}

/* Call number `number` of all ranks: the same on each. */
static int broadcast_all(struct clique *clique, int number) {
    const struct call *first = &clique->ranks[0].calls[number];
    const struct call *root = &clique->ranks[first->root].calls[number];
    for (int rank = 0; rank < clique->n; rank++) {
        const struct call *call = &clique->ranks[rank].calls[number];
        if (call->count != first->count || call->root != first->root) return INVALID_USAGE;
        memmove(call->to, root->from, call->count);
    }
    return SUCCESS;
}

int ncclGroupEnd(void) {
    struct clique *clique = waiting;
    const char *fails = getenv("REEL_EMULATED_NCCL_FAILS");
    if (depth == 0) return INVALID_USAGE;
    if (--depth > 0 || !clique) return SUCCESS;
    waiting = NULL;
    int code = fails && *fails == '1' ? SYSTEM_ERROR : SUCCESS;
    for (int rank = 0; rank < clique->n; rank++)
        if (clique->ranks[rank].n_calls != clique->ranks[0].n_calls) code = INVALID_USAGE;
    for (int i = 0; i < clique->ranks[0].n_calls && code == SUCCESS; i++) code = broadcast_all(clique, i);
    for (int rank = 0; rank < clique->n; rank++) clique->ranks[rank].n_calls = 0;
    return code;
}
