/* The walk of a warp over one tile of sgd_epoch, in the order and with the bits of backend/sgd_ops.h.
 *
 * Lane l holds elements l, l + 32, ... of a row: the first half of the warp has the vectors of even number, the second
 * half those of odd number, so that the partial sums and their tree are those of the specification. Rows travel
 * through a ring in shared memory, AHEAD visits before they are needed. A row that is visited again before it could
 * come back from memory does not go there: its visit hands it to the later one, in registers if that is the next.
 *
 * A warp has a scheduler to itself, so nothing hides a latency but its own instructions: they are few, the shuffles of
 * one sum have the memory accesses of other visits between them, and there is no branch a visit. */
#ifndef KERNELS_CUDA_SGD_WALK_H
#define KERNELS_CUDA_SGD_WALK_H

#include "backend/sgd_ops.h"
#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/ticket.h"

enum { CHUNK = 32 };

static const unsigned WHOLE_WARP = 0xffffffffu;

/* ---- what a warp keeps in shared memory ---- */

/* The pointer itself, which the compiler keeps in a register instead of working it out at each use. */
static __device__ __forceinline__ float *kept(float *at) {
#if !defined(REEL_CUDA_EMULATED)
    asm volatile("" : "+l"(at));
    __builtin_assume(__isGlobal(at));
#endif
    return at;
}

/* Rows of N x 32 elements, N exact up to EXACT. AHEAD, a power of two: visits whose rows the ring holds. */
enum { EXACT = 9 };

/* What a visit needs to know. */
struct alignas(16) note {
    uint32_t user, movie; /* where its rows begin, in vectors of SGD_LANES from the first row of all */
    float value;
    uint32_t links;
};

/* The links of a visit: how many visits later, fewer than AHEAD, its user and its movie come again (4 bits each, 0:
 * they do not), and whether they were among those on the way when this visit's rows are sent for. */
enum { MOVIE_AGAIN = 4, AGAIN_MASK = 15, USER_HELD = 1 << 8, MOVIE_HELD = 1 << 9 };

template <int N, int AHEAD> struct warp_room {
    float rows[AHEAD][2][N * 32];          /* user, movie */
    struct note notes[2 * CHUNK];          /* of entry e at e % (2 CHUNK), likewise below */
    alignas(16) uint32_t words[4 * CHUNK]; /* entries as they lie in memory */
};

/* One warp's work on one tile. */
template <int N, int AHEAD> struct walk {
    struct warp_room<N, AHEAD> *room;
    float *copied[2], *stored[2]; /* rows of users, of movies: this lane's place in what it copies and what it stores */
    const float *value;
    float lane_value; /* value[lane % SGD_VALUES] */
    const uint32_t *entries;
    uint32_t begins[2]; /* the tile's first rows, as in a note */
    int n, stride, lane;
};

/* Starts the copy of chunk `chunk` of the entries, if there is one. SGD_AHEAD past the last may be read. */
template <int N, int AHEAD>
static __device__ __forceinline__ void fetch_words(const struct walk<N, AHEAD> &w, int chunk) {
    const int at = chunk * CHUNK;
    if (at < w.n)
        async_copy<1>((float *)w.room->words + at % (4 * CHUNK) + w.lane, (const float *)w.entries + at + w.lane, 1);
}

/* Notes for a chunk, a lane an entry; the words of the chunks around it are there. */
template <int N, int AHEAD>
static __device__ __forceinline__ void make_notes(const struct walk<N, AHEAD> &w, int chunk) {
    const uint32_t movie_bits = (uint32_t)(SGD_TILE_MOVIES - 1) << 4, *words = w.room->words;
    const uint32_t vectors = (uint32_t)w.stride / SGD_LANES;
    const int e = chunk * CHUNK + w.lane;
    const uint32_t word = words[e % (4 * CHUNK)];
    struct note note = {};
    note.user = w.begins[0] + (word >> 22) * vectors;
    note.movie = w.begins[1] + ((word & movie_bits) >> 4) * vectors;
    note.value = w.value[word & (SGD_VALUES - 1)];
    uint32_t user_again = 0, movie_again = 0;
#pragma unroll
    for (uint32_t d = AHEAD - 1; d > 0; d--) {
        const uint32_t place = (uint32_t)e, later = word ^ words[(place + d) % (4 * CHUNK)];
        const uint32_t before = word ^ words[(place - d) % (4 * CHUNK)];
        if (e + (int)d < w.n && later >> 22 == 0) user_again = d;
        if (e + (int)d < w.n && (later & movie_bits) == 0) movie_again = d;
        if (place >= d && before >> 22 == 0) note.links |= USER_HELD;
        if (place >= d && (before & movie_bits) == 0) note.links |= MOVIE_HELD;
    }
    note.links |= user_again | movie_again << MOVIE_AGAIN;
    w.room->notes[e % (2 * CHUNK)] = note;
}

/* Every half chunk: asks for words, or makes the notes that visits a half a chunk on will need. */
template <int N, int AHEAD> static __device__ __forceinline__ void look_ahead(const struct walk<N, AHEAD> &w, int e) {
    if (e % CHUNK == 0)
        fetch_words(w, e / CHUNK + 2);
    else if (e + CHUNK / 2 < w.n)
        make_notes(w, e / CHUNK + 1);
}

/* Starts the copy of a row, which begins at vector `at` of its side, to `slot`, if it is asked for. */
template <int N, int AHEAD>
static __device__ __forceinline__ void copy_row(float *slot, const struct walk<N, AHEAD> &w, int side, int asked,
                                                uint32_t at) {
    float *to = slot + 4 * w.lane;
    const float *from = w.copied[side] + (uint64_t)at * SGD_LANES;
#pragma unroll
    for (int i = 0; i < (N * 8 + 31) / 32; i++)
        async_copy_if(asked && 4 * (i * 32 + w.lane) < w.stride, to + 128 * i, from + 128 * i);
}

/* The same for visit e's row. */
template <int N, int AHEAD>
static __device__ __forceinline__ void fetch_row(const struct walk<N, AHEAD> &w, int e, int side, int asked,
                                                 uint32_t at) {
    copy_row(w.room->rows[e % AHEAD][side], w, side, asked, at);
}

template <int N> static __device__ __forceinline__ void take_slot(float (&row)[N], const float *slot, int lane) {
    const float *from = slot + lane;
#pragma unroll
    for (int i = 0; i < N; i++) row[i] = from[i * 32];
}

template <int N, int AHEAD>
static __device__ __forceinline__ void take_row(float (&row)[N], const struct walk<N, AHEAD> &w, int e, int side) {
    take_slot(row, w.room->rows[e % AHEAD][side], w.lane);
}

/* Of a pointer to memory of the device, which the compiler cannot tell from one to shared memory. */
static __device__ __forceinline__ float *global(float *at) {
#if !defined(REEL_CUDA_EMULATED)
    __builtin_assume(__isGlobal(at));
#endif
    return at;
}

/* Stores this lane's part of a row at `to`. */
template <int N, int AHEAD>
static __device__ __forceinline__ void send_row(float *to, const float (&row)[N], const struct walk<N, AHEAD> &w) {
#pragma unroll
    for (int i = 0; i < N; i++)
        if ((N <= EXACT && i < N - 1) || i * 32 + w.lane < w.stride) to[i * 32] = row[i];
}

/* Where this lane sends the row that visit e left: to visit e + again, or back to vector `at`. If that is the very next
 * visit it has the row already, and took it from a slot that is free again: there it goes, in vain, as one address for
 * either kind of memory saves a branch. */
template <int N, int AHEAD>
static __device__ __forceinline__ float *destination(const struct walk<N, AHEAD> &w, int e, int side, uint32_t again,
                                                     uint32_t at) {
    float *back = w.stored[side] + (uint64_t)at * SGD_LANES;
    float *on = w.room->rows[((uint32_t)e + again) % AHEAD][side] + w.lane;
    return again > 0 ? on : back;
}

/* ---- a visit ---- */

/* What a lane needs of the rates, user step, user keep, movie step, movie keep: only its element `at`, N - 1 where N is
 * exact, can be of the row's last vector. */
struct lane_rates {
    float common[4], last[4];
    int at;
};

/* from (4, stride) in the device's memory. */
template <int N>
static __device__ __forceinline__ struct lane_rates load_rates(const float *from, int stride, int lane) {
    struct lane_rates rates;
    rates.at = N <= EXACT ? N - 1 : (stride - 1) / 32;
    const int last = rates.at * 32 + lane;
    for (int q = 0; q < 4; q++) {
        rates.common[q] = from[q * stride];
        rates.last[q] = last < stride ? from[q * stride + last] : 0;
    }
    return rates;
}

/* The other lane's sum. What stands between this and held() is done while it is on its way. */
static __device__ __forceinline__ float across(float sum, int lanes) {
    return __shfl_xor_sync(WHOLE_WARP, sum, lanes);
}

/* The value itself, which the compiler does not use earlier. */
static __device__ __forceinline__ float held(float value) {
#if !defined(REEL_CUDA_EMULATED)
    asm volatile("" : "+f"(value));
#endif
    return value;
}

/* The two rows of a visit. */
template <int N> struct rows { float user[N], movie[N]; };

/* What the visit's error does not change: `left` of it. */
template <int N>
static __device__ __forceinline__ void keep_rows(struct rows<N> &left, const struct rows<N> &r,
                                                 const struct lane_rates &rates) {
    const int at = N <= EXACT ? N - 1 : rates.at;
#pragma unroll
    for (int i = 0; i < N; i++) {
        left.user[i] = held((i == at ? rates.last[1] : rates.common[1]) * r.user[i]);
        left.movie[i] = held((i == at ? rates.last[3] : rates.common[3]) * r.movie[i]);
    }
}

/* left = what the visit with this error makes of r. */
template <int N>
static __device__ __forceinline__ void change_rows(struct rows<N> &left, const struct rows<N> &r,
                                                   const struct lane_rates &rates, float error) {
    const int at = N <= EXACT ? N - 1 : rates.at;
#pragma unroll
    for (int i = 0; i < N; i++) {
        left.movie[i] = fmaf(error * (i == at ? rates.last[2] : rates.common[2]), r.user[i], left.movie[i]);
        left.user[i] = fmaf(error * (i == at ? rates.last[0] : rates.common[0]), r.movie[i], left.user[i]);
    }
}

/* This lane's part of the dot product. */
template <int N> static __device__ __forceinline__ float product(const float (&user)[N], const float (&movie)[N]) {
    float sum = user[0] * movie[0];
#pragma unroll
    for (int i = 1; i < N; i++) sum = fmaf(user[i], movie[i], sum);
    return sum;
}

/* ---- a tile ---- */

/* Where a walk stands: visit e, of which the rows are here and their product by lanes; what the visit before left. */
template <int N> struct stand {
    struct rows<N> here, left;
    struct note note, before;
    float product, error;
    double squared;
};

/* Does visit e. One visit waits for another at one place only, the five steps of the sum, and all that others need is
 * done in between: the rows that visit e - 1 left are sent off, those of visit e + 1 taken, those of e - 2 + AHEAD sent
 * for. */
template <int N, int AHEAD>
static __device__ __forceinline__ void visit(struct stand<N> &s, const struct walk<N, AHEAD> &w,
                                             const struct lane_rates &rates, int e) {
    const int far = e - 2 + AHEAD;
    float sum = s.product, other = across(sum, 16);
    const struct note ahead = w.room->notes[far % (2 * CHUNK)];
    send_row(destination(w, e - 1, 0, s.before.links & AGAIN_MASK, s.before.user), s.left.user, w);
    sum += held(other);
    other = across(sum, 8);
    send_row(destination(w, e - 1, 1, s.before.links >> MOVIE_AGAIN & AGAIN_MASK, s.before.movie), s.left.movie, w);
    sum += held(other);
    other = across(sum, 4);
    struct rows<N> next;
    take_row(next.user, w, e + 1, 0);
    sum += held(other);
    other = across(sum, 2);
    take_row(next.movie, w, e + 1, 1);
    fetch_row(w, far, 0, far < w.n && !(ahead.links & USER_HELD), ahead.user);
    sum += held(other);
    other = across(sum, 1);
    fetch_row(w, far, 1, far < w.n && !(ahead.links & MOVIE_HELD), ahead.movie);
    async_copy_commit();
    const struct note after = w.room->notes[(e + 1) % (2 * CHUNK)];
    s.squared = fma((double)s.error, (double)s.error, s.squared); /* as a product and a sum: the square is exact */
    keep_rows(s.left, s.here, rates);
    s.error = s.note.value - (sum + held(other));
    change_rows(s.left, s.here, rates, s.error);
    const int same_user = (s.note.links & AGAIN_MASK) == 1;
    const int same_movie = (s.note.links >> MOVIE_AGAIN & AGAIN_MASK) == 1;
#pragma unroll
    for (int i = 0; i < N; i++) {
        s.here.user[i] = same_user ? s.left.user[i] : next.user[i];
        s.here.movie[i] = same_movie ? s.left.movie[i] : next.movie[i];
    }
    s.product = product(s.here.user, s.here.movie);
    s.before = s.note;
    s.note = after;
}

/* Waits for the first two chunks of the entries. */
template <int N, int AHEAD> static __device__ __forceinline__ void begin_words(const struct walk<N, AHEAD> &w) {
    __syncwarp();
    fetch_words(w, 0);
    fetch_words(w, 1);
    async_copy_wait();
    __syncwarp();
}

/* Fills the ring. The user band is this warp's alone: its rows are sent for before the movie band's turn has come. */
template <int N, int AHEAD>
static __device__ __forceinline__ void begin_tile(const struct walk<N, AHEAD> &w, const int *finished, int32_t ticket) {
    begin_words(w);
    make_notes(w, 0);
    __syncwarp();
#pragma unroll
    for (int e = 0; e < AHEAD - 2; e++)
        fetch_row(w, e, 0, e < w.n && !(w.room->notes[e].links & USER_HELD), w.room->notes[e].user);
    if (finished) await_ticket(finished, ticket, w.lane);
#pragma unroll
    for (int e = 0; e < AHEAD - 2; e++) {
        fetch_row(w, e, 1, e < w.n && !(w.room->notes[e].links & MOVIE_HELD), w.room->notes[e].movie);
        async_copy_commit();
    }
}

/* Ends with all rows on their way back. Returns the sum of the squared errors. */
template <int N, int AHEAD>
static __device__ __forceinline__ double walk_tile(const struct walk<N, AHEAD> &w, const struct lane_rates &rates,
                                                   const int *finished, int32_t ticket) {
    static_assert(AHEAD <= AGAIN_MASK, "a link has four bits");
    struct stand<N> s = {};
    begin_tile(w, finished, ticket);
    async_copy_wait_but<AHEAD - 3>();
    __syncwarp();
    take_row(s.here.user, w, 0, 0);
    take_row(s.here.movie, w, 0, 1);
    s.product = product(s.here.user, s.here.movie);
    s.note = w.room->notes[0];
    s.before.links = AHEAD | AHEAD << MOVIE_AGAIN; /* what no visit left goes to the last slots, which are free yet */
#pragma unroll 1
    for (int begin = 0; begin < w.n; begin += CHUNK / 2) {
        look_ahead(w, begin);
#pragma unroll 1
        for (int e = begin; e < begin + CHUNK / 2 && e < w.n; e++) {
            async_copy_wait_but<AHEAD - 4>(); /* the rows of visit e + 1 have come */
            __syncwarp();                     /* for all lanes; and those of visit e - 2 are stored */
            visit(s, w, rates, e);
        }
    }
    send_row(w.stored[0] + (uint64_t)s.before.user * SGD_LANES, s.left.user, w);
    send_row(w.stored[1] + (uint64_t)s.before.movie * SGD_LANES, s.left.movie, w);
    return s.squared + (double)s.error * (double)s.error;
}

/* ---- a tile of one movie ---- */

/* The movie's row stays in registers; the ring holds rows of users alone, that of visit e here. */
template <int N, int AHEAD> static __device__ __forceinline__ float *user_slot(const struct walk<N, AHEAD> &w, int e) {
    return (float *)w.room->rows + (uint32_t)e % (2 * AHEAD) * (N * 32);
}

/* Starts the copies of the users' rows of the group that begins with visit e, as far as the tile goes. */
template <int N, int AHEAD> static __device__ __forceinline__ void fetch_group(const struct walk<N, AHEAD> &w, int e) {
    const uint4 four = *(const uint4 *)(w.room->words + (uint32_t)e % (4 * CHUNK));
    const uint32_t words[SGD_GROUP] = {four.x, four.y, four.z, four.w}, vectors = (uint32_t)w.stride / SGD_LANES;
#pragma unroll
    for (int v = 0; v < SGD_GROUP; v++)
        copy_row(user_slot(w, e + v), w, 0, e + v < w.n, w.begins[0] + (words[v] >> 22) * vectors);
    async_copy_commit();
}

/* The sum of `sums` over all lanes, in the order of the specification. */
static __device__ __forceinline__ float sum_lanes(const float (&sums)[1], int) {
    float sum = sums[0];
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += across(sum, lanes);
    return sum;
}

/* The same for a group's visits at once, that of visit v in lanes 8 v .. 8 v + 7: several sums cross the warp in the
 * time of one when each half of the lanes sends those that the other half goes on with. */
static __device__ __forceinline__ float sum_lanes(const float (&sums)[SGD_GROUP], int lane) {
    const int upper = lane & 16, odd = lane & 8;
    const float far[2] = {across(upper ? sums[0] : sums[2], 16), across(upper ? sums[1] : sums[3], 16)};
    const float pair[2] = {(upper ? sums[2] : sums[0]) + far[0], (upper ? sums[3] : sums[1]) + far[1]};
    float sum = (odd ? pair[1] : pair[0]) + across(odd ? pair[0] : pair[1], 8);
#pragma unroll
    for (int lanes = 4; lanes > 0; lanes /= 2) sum += across(sum, lanes);
    return sum;
}

/* movie = what the visits of a group make of it. */
template <int N, int COUNT>
static __device__ __forceinline__ void change_movie(float (&movie)[N], const float (&users)[COUNT][N],
                                                    const float (&errors)[COUNT], const struct lane_rates &rates) {
    const int at = N <= EXACT ? N - 1 : rates.at;
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float keep = i == at ? rates.last[3] : rates.common[3], twice = keep * keep;
        movie[i] = (COUNT == 1 ? keep : twice * twice) * movie[i];
#pragma unroll
        for (int v = 0; v < COUNT; v++)
            movie[i] = fmaf(errors[v] * (i == at ? rates.last[2] : rates.common[2]), users[v][i], movie[i]);
    }
}

/* Stores what a visit with this error makes of `user`, whose entry is `word`, when it meets `movie`. */
template <int N, int AHEAD>
static __device__ __forceinline__ void change_user(const float (&user)[N], const float (&movie)[N], float error,
                                                   const struct walk<N, AHEAD> &w, const struct lane_rates &rates,
                                                   uint32_t word) {
    const int at = N <= EXACT ? N - 1 : rates.at;
    const uint32_t vector = w.begins[0] + (word >> 22) * ((uint32_t)w.stride / SGD_LANES);
    float left[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float step = i == at ? rates.last[0] : rates.common[0], keep = i == at ? rates.last[1] : rates.common[1];
        left[i] = fmaf(error * step, movie[i], keep * user[i]);
    }
    send_row(global(w.stored[0] + (uint64_t)vector * SGD_LANES), left, w);
}

/* Does COUNT visits from visit e on, a group or one by itself. Returns the squared errors added to `squared`. */
template <int N, int AHEAD, int COUNT>
static __device__ __forceinline__ double visit_group(float (&movie)[N], double squared, const struct walk<N, AHEAD> &w,
                                                     const struct lane_rates &rates, int e) {
    const uint32_t *words = w.room->words + (uint32_t)e % (4 * CHUNK);
    float users[COUNT][N], sums[COUNT], errors[COUNT], old[N];
#pragma unroll
    for (int v = 0; v < COUNT; v++) {
        take_slot(users[v], user_slot(w, e + v), w.lane);
        sums[v] = product(users[v], movie);
    }
    if (COUNT == SGD_GROUP) fetch_group(w, e + 2 * AHEAD - SGD_GROUP);
    const uint32_t word = words[COUNT == 1 ? 0 : w.lane / 8];
    const float value = __shfl_sync(WHOLE_WARP, w.lane_value, (int)(word % SGD_VALUES));
    const float error = value - sum_lanes(sums, w.lane);
#pragma unroll
    for (int v = 0; v < COUNT; v++) errors[v] = COUNT == 1 ? error : __shfl_sync(WHOLE_WARP, error, 8 * v);
#pragma unroll
    for (int i = 0; i < N; i++) old[i] = movie[i];
    change_movie(movie, users, errors, rates);
#pragma unroll
    for (int v = 0; v < COUNT; v++) {
        change_user(users[v], old, errors[v], w, rates, words[v]);
        squared = fma((double)errors[v], (double)errors[v], squared);
    }
    return squared;
}

/* The groups of a tile of one movie, then its last visits. */
template <int N, int AHEAD>
static __device__ __forceinline__ double walk_groups(float (&movie)[N], const struct walk<N, AHEAD> &w,
                                                     const struct lane_rates &rates) {
    const int whole = w.n / SGD_GROUP * SGD_GROUP;
    double squared = 0;
#pragma unroll 1
    for (int begin = 0; begin < whole; begin += CHUNK) {
        fetch_words(w, begin / CHUNK + 2);
#pragma unroll 1
        for (int e = begin; e < begin + CHUNK && e < whole; e += SGD_GROUP) {
            async_copy_wait_but<2 * AHEAD / SGD_GROUP - 2>(); /* the rows of this group have come */
            __syncwarp();                                     /* for all lanes, and those of the one before are used */
            squared = visit_group<N, AHEAD, SGD_GROUP>(movie, squared, w, rates, e);
        }
    }
    async_copy_wait();
    __syncwarp();
#pragma unroll 1
    for (int e = whole; e < w.n; e++) squared = visit_group<N, AHEAD, 1>(movie, squared, w, rates, e);
    return squared;
}

/* As walk_tile, for a tile of one movie. */
template <int N, int AHEAD>
static __device__ __forceinline__ double walk_movie(const struct walk<N, AHEAD> &w, const struct lane_rates &rates,
                                                    const int *finished, int32_t ticket) {
    float *row = w.stored[1] + (uint64_t)w.begins[1] * SGD_LANES, movie[N];
    begin_words(w);
#pragma unroll 1
    for (int e = 0; e < 2 * AHEAD - SGD_GROUP; e += SGD_GROUP) fetch_group(w, e);
    if (finished) await_ticket(finished, ticket, w.lane);
#pragma unroll
    for (int i = 0; i < N; i++) movie[i] = i * 32 + w.lane < w.stride ? __ldcg(row + i * 32) : 0;
    const double squared = walk_groups(movie, w, rates);
    send_row(row, movie, w);
    return squared;
}

#endif
