/* tree_splits and tree_bits against plain loops: a bin a value, then a look at each gap. Integers and the same double
 * operations: all bits count. */
#include "backend/backend_ops.h"
#include "backend/tree_ops.h"
#include "core/context.h"
#include "ops/device.h"

enum { COLUMNS = 9 };

/* How residuals and values are drawn. */
enum kind { PLAIN, TIES, LARGE, CLOSE };

struct problem {
    int32_t n_rows[FOREST_TABLES];
    int n_nodes;
    int64_t min_leaf;
    struct tree_total *sums[FOREST_TABLES], totals[TREE_NODES_MAX];
    uint8_t open[TREE_NODES_MAX];
    float *values[COLUMNS];
    int32_t *ranks[COLUMNS], *order[COLUMNS], *starts[COLUMNS];
    struct tree_split_column columns[COLUMNS];
};

static uint32_t draws;

static uint32_t next_draw(uint32_t below) {
    return draw(77, draws++) % below;
}

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Of a column with at most `most` distinct values, in CLOSE less than 1e-7 apart in part; few ones are mostly one. */
static float draw_value(enum kind kind, uint32_t most) {
    float value = (float)(next_draw(4) && most < 6 ? most / 2 : next_draw(most));
    return kind == CLOSE ? 0.25f + value * 3e-8f : value / 8 - 5;
}

static void make_column(struct problem *p, int c, int table, enum kind kind, uint32_t most) {
    const int32_t n = p->n_rows[table];
    float *of_row = make(n, sizeof *of_row), *values = p->values[c] = make(n + 1, sizeof *values);
    int32_t *ranks = p->ranks[c] = make(n, 4), *order = p->order[c] = make(n, 4), n_values = 0, common = -1;
    for (int32_t row = 0; row < n; row++) values[row] = of_row[row] = draw_value(kind, most);
    values[n] = 3; /* one that no row may have */
    qsort(values, (size_t)n + 1, sizeof *values, compare_floats);
    for (int32_t i = 0; i <= n; i++)
        if (i == 0 || values[i] != values[n_values - 1]) values[n_values++] = values[i];
    int32_t *starts = p->starts[c] = make(n_values + 1, 4);
    for (int32_t row = 0; row < n; row++) {
        const float *found = bsearch(&of_row[row], values, (size_t)n_values, sizeof *values, compare_floats);
        ranks[row] = (int32_t)(found - values);
        starts[ranks[row] + 1]++;
    }
    for (int32_t v = 0; v < n_values; v++) {
        if (2 * (int64_t)starts[v + 1] > n) common = v;
        starts[v + 1] += starts[v];
    }
    int32_t *next = make(n_values, 4);
    memcpy(next, starts, (size_t)n_values * 4);
    for (int32_t row = 0; row < n; row++) order[next[ranks[row]]++] = row;
    p->columns[c] = (struct tree_split_column){table, n, n_values, values, ranks, order, starts, common};
    mem_free(next);
    mem_free(of_row);
}

static int32_t draw_residual(enum kind kind) {
    if (kind == TIES) return 1000;
    if (kind == LARGE) return (int32_t)(next_draw(UINT32_MAX) ^ 0x40000000u);
    return (int32_t)next_draw(1u << 28) - (1 << 27);
}

/* Sums of `n` ratings; users rate in few nodes, so that many (row, node) are empty. Every third node is closed. */
static struct problem make_problem(int32_t n_users, int32_t n_movies, int32_t n_kinds, int n_nodes, int64_t n,
                                   int64_t min_leaf, enum kind kind) {
    struct problem p = {.n_rows = {n_users, n_movies, n_kinds}, .n_nodes = n_nodes, .min_leaf = min_leaf};
    draws = (uint32_t)(n_users + 31 * n_movies + n_nodes) << 8;
    for (int t = 0; t < FOREST_TABLES; t++) p.sums[t] = make((int64_t)p.n_rows[t] * n_nodes, sizeof **p.sums);
    for (int64_t i = 0; i < n; i++) {
        int32_t user = (int32_t)next_draw((uint32_t)n_users);
        const int32_t rows[FOREST_TABLES] = {user, (int32_t)next_draw((uint32_t)n_movies),
                                             (int32_t)next_draw((uint32_t)n_kinds)};
        int node = (user / 3 + (int)next_draw(2)) % n_nodes, residual = draw_residual(kind);
        for (int t = 0; t <= FOREST_TABLES; t++) {
            struct tree_total *to =
                t == FOREST_TABLES ? &p.totals[node] : &p.sums[t][(int64_t)rows[t] * n_nodes + node];
            to->sum += residual;
            to->count++;
        }
    }
    for (int node = 0; node < n_nodes; node++) p.open[node] = node % 3 != 2;
    const uint32_t most[COLUMNS] = {1u << 30, 1, 2, 1u << 30, 40, 2, 3, 100, 5};
    for (int c = 0; c < COLUMNS; c++) make_column(&p, c, c < 3 ? 0 : c < 7 ? 1 : 2, kind, most[c]);
    return p;
}

static void drop(struct problem *p) {
    for (int t = 0; t < FOREST_TABLES; t++) mem_free(p->sums[t]);
    for (int c = 0; c < COLUMNS; c++) {
        void *all[] = {p->values[c], p->ranks[c], p->order[c], p->starts[c]};
        for (int i = 0; i < 4; i++) mem_free(all[i]);
    }
}

/* ---- the plain search ---- */

static struct tree_candidate scan_node(const struct problem *p, int c, int at) {
    const struct tree_split_column *column = &p->columns[c];
    const struct tree_total node = p->totals[at];
    struct tree_candidate best = {.gain = -1};
    struct tree_total *bins = make(column->n_values, sizeof *bins);
    for (int32_t row = 0; row < column->n_rows; row++) {
        struct tree_total one = p->sums[column->table][(int64_t)row * p->n_nodes + at];
        bins[column->ranks[row]].sum += one.sum;
        bins[column->ranks[row]].count += one.count;
    }
    int64_t sum = 0, count = 0;
    int32_t previous = -1;
    for (int32_t value = 0; value < column->n_values; value++) {
        if (bins[value].count == 0) continue;
        int64_t right = node.count - count;
        if (previous >= 0 && column->values[value] > column->values[previous] + 1e-7f) {
            best.varies = 1;
            if (count >= p->min_leaf && right >= p->min_leaf) {
                double difference = (double)node.count * (double)sum - (double)count * (double)node.sum;
                double gain = difference * difference / ((double)count * (double)right);
                if (gain > best.gain) best = (struct tree_candidate){gain, sum, count, previous, value, 1};
            }
        }
        sum += bins[value].sum;
        count += bins[value].count;
        previous = value;
    }
    mem_free(bins);
    return best;
}

static int same_candidate(const struct tree_candidate *a, const struct tree_candidate *b) {
    return memcmp(&a->gain, &b->gain, sizeof a->gain) == 0 && a->left_sum == b->left_sum &&
           a->left_count == b->left_count && a->rank == b->rank && a->next == b->next && a->varies == b->varies;
}

/* Returns how many nodes have a split. */
static int check_splits(const struct problem *p, struct backend *backend) {
    struct job_memory job = {.backend = backend};
    struct tree_candidate best[COLUMNS * TREE_NODES_MAX];
    struct tree_split_column columns[COLUMNS];
    reel_error err;
    int n_found = 0;
    memset(best, 77, sizeof best);
    for (int c = 0; c < COLUMNS; c++) {
        columns[c] = p->columns[c];
        columns[c].values = PUT(&job, p->values[c], columns[c].n_values);
        columns[c].ranks = PUT(&job, p->ranks[c], columns[c].n_rows);
        columns[c].order = PUT(&job, p->order[c], columns[c].n_rows);
        columns[c].starts = PUT(&job, p->starts[c], columns[c].n_values + 1);
    }
    struct tree_splits_args args = {.n_columns = COLUMNS,
                                    .columns = columns,
                                    .n_nodes = p->n_nodes,
                                    .totals = p->totals,
                                    .open = p->open,
                                    .min_leaf = p->min_leaf,
                                    .best = best};
    for (int t = 0; t < FOREST_TABLES; t++) args.sums[t] = PUT(&job, p->sums[t], (int64_t)p->n_rows[t] * p->n_nodes);
    REQUIRE_OK(backend->ops->tree_splits(backend, &args, &err), err);
    for (int c = 0; c < COLUMNS; c++)
        for (int node = 0; node < p->n_nodes; node++) {
            struct tree_candidate expected = {.gain = -1};
            if (p->open[node]) expected = scan_node(p, c, node);
            const struct tree_candidate *found = &best[c * p->n_nodes + node];
            if (!same_candidate(&expected, found))
                printf("column %d, node %d of %d: gain %.17g at %d, expected %.17g at %d (REEL_TEST_SEED=%llu)\n", c,
                       node, p->n_nodes, found->gain, found->rank, expected.gain, expected.rank,
                       (unsigned long long)seed);
            CHECK(same_candidate(&expected, found));
            n_found += found->gain >= 0;
        }
    job_memory_free(&job);
    return n_found;
}

static void check_all_splits(struct backend *backend) {
    struct problem p[] = {make_problem(1, 1, 1, 1, 3, 1, PLAIN),
                          make_problem(5, 3, 2, 2, 0, 1, PLAIN),
                          make_problem(7, 5, 169, 4, 300, 1, PLAIN),
                          make_problem(9001, 77, 7, 4, 40000, 1, TIES),
                          make_problem(2048, 2049, 8, 2, 20000, 30, LARGE),
                          make_problem(4097, 600, 8, 1, 30000, 1, CLOSE),
                          make_problem(4097, 600, 8, 4, 30000, 2000, PLAIN),
                          make_problem(500, 2500, 31, 8, 9000, 1, LARGE),
                          make_problem(700, 90, 169, 128, 20000, 2, PLAIN),
                          make_problem(70001, 9001, 7, 4, 200000, 1, LARGE)};
    for (size_t i = 0; i < sizeof p / sizeof p[0]; i++) {
        int n = check_splits(&p[i], backend);
        if (i >= 2) CHECK(n > 0);
        drop(&p[i]);
    }
}

/* ---- bits ---- */

static void check_bits(struct backend *backend, const int32_t n_rows[FOREST_TABLES], int level) {
    struct job_memory job = {.backend = backend};
    struct tree_choice splits[4];
    struct tree_bits_args args = {.level = level, .splits = splits};
    uint8_t *bits[FOREST_TABLES];
    int32_t *ranks[4];
    reel_error err;
    for (int t = 0; t < FOREST_TABLES; t++) {
        bits[t] = make(n_rows[t], 1);
        /* A tree begins with whatever the one before left; further on, bits of the levels below are not there. */
        for (int32_t row = 0; row < n_rows[t]; row++)
            bits[t][row] = (uint8_t)(next_draw(128) & (level ? (1u << ((1 << level) - 1)) - 1 : 127u));
        args.n_rows[t] = n_rows[t];
        args.bits[t] = PUT(&job, bits[t], n_rows[t]);
        if (level == 0) memset(bits[t], 0, (size_t)n_rows[t]);
    }
    for (int node = 0; node < 1 << level; node++) {
        int table = (int)next_draw(4) - 1, rank = (int)next_draw(9);
        int32_t n = table < 0 ? 0 : n_rows[table];
        ranks[node] = make(n, 4);
        for (int32_t row = 0; row < n; row++) {
            ranks[node][row] = (int32_t)next_draw(10);
            if (ranks[node][row] > rank) bits[table][row] |= (uint8_t)(1 << ((1 << level) - 1 + node));
        }
        splits[node] = (struct tree_choice){table, PUT(&job, ranks[node], n), rank};
    }
    REQUIRE_OK(backend->ops->tree_bits(backend, &args, &err), err);
    for (int t = 0; t < FOREST_TABLES; t++)
        check_same("bits", bits[t], get_bytes(&job, args.bits[t], (size_t)n_rows[t]), (size_t)n_rows[t]);
    for (int node = 0; node < 1 << level; node++) mem_free(ranks[node]);
    job_memory_free(&job);
}

static void check_all_bits(struct backend *backend) {
    static const int32_t sizes[][FOREST_TABLES] = {{1, 1, 1}, {1, 0, 3}, {1000, 33, 7}, {5000, 27001, 169}};
    draws = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int level = 0; level < 3; level++)
            for (int repeat = 0; repeat < 3; repeat++) check_bits(backend, sizes[i], level);
}

/* ---- the rows ---- */

static void splits_of_one_thread(void) {
    on_threads(1, check_all_splits);
}

static void splits_of_several_threads(void) {
    on_threads(2, check_all_splits);
    on_threads(5, check_all_splits);
}

static void bits_on_the_cpu(void) {
    on_threads(2, check_all_bits);
}

static void tree_splits_matches(void) {
    check_all_splits(device);
}

static void tree_bits_matches(void) {
    check_all_bits(device);
}

static const struct device_row device_rows[] = {DEVICE_ROW(tree_splits_matches), DEVICE_ROW(tree_bits_matches)};

int main(void) {
    device_begin();
    RUN(splits_of_one_thread);
    RUN(splits_of_several_threads);
    RUN(bits_on_the_cpu);
    return device_end(device_rows, sizeof device_rows / sizeof device_rows[0]);
}
