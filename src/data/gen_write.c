/* ratings.csv, movies.csv, links.csv and tags.csv of a twin. Blocks are formatted in parallel, a round of them
 * at a time, and written at their offsets. */
#include "data/gen.h"

#include <stdio.h>
#include <unistd.h>

enum { ROUND = 32, LINE_MAX_BYTES = 40 };

static char *put_number(char *at, uint32_t value) {
    char digits[10];
    int n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (n) *at++ = digits[--n];
    return at;
}

struct writer {
    const struct gen *gen;
    const struct atomic_file *file;
    int32_t first;     /* block of the round's first buffer */
    char *text[ROUND]; /* one buffer a block of the round */
    size_t capacity[ROUND], size[ROUND], offset[ROUND];
    double *errors; /* (n_blocks,) squared errors of the truth */
    reel_status status[ROUND];
    reel_error error[ROUND];
};

static char *format_user(const struct gen *gen, int32_t u, char *at, double *error) {
    struct gen_user user;
    char prefix[12];
    gen_user_draw(gen, u, &user);
    char *end = put_number(prefix, (uint32_t)u + 1);
    *end++ = ',';
    size_t length = (size_t)(end - prefix);
    for (int64_t i = gen->user_offsets[u]; i < gen->user_offsets[u + 1]; i++) {
        struct gen_rating rating = gen_rate(gen, &user, i, gen->picks[i]);
        int late = rating.time >= GEN_HALF_STARS_FROM, stars = gen->scale.stars[late][gen_bin(rating.latent)];
        double miss = 0.5 * stars - gen_scale_expect(&gen->scale, late, rating.mean);
        *error += miss * miss;
        memcpy(at, prefix, length);
        at = put_number(at + length, (uint32_t)gen->catalogue.ids[gen->picks[i]]);
        *at++ = ',';
        *at++ = (char)('0' + stars / 2);
        *at++ = '.';
        *at++ = stars % 2 ? '5' : '0';
        *at++ = ',';
        at = put_number(at, rating.time);
        *at++ = '\n';
    }
    return at;
}

static void format_block(void *arg, int64_t task, int worker) {
    (void)worker;
    struct writer *writer = arg;
    const struct gen *gen = writer->gen;
    int32_t block = writer->first + (int32_t)task;
    char *at = writer->text[task];
    double error = 0;
    for (int32_t u = gen->block_users[block]; u < gen->block_users[block + 1]; u++)
        at = format_user(gen, u, at, &error);
    writer->size[task] = (size_t)(at - writer->text[task]);
    writer->errors[block] = error;
}

static void write_block(void *arg, int64_t task, int worker) {
    (void)worker;
    struct writer *writer = arg;
    writer->status[task] = file_pwrite_all(writer->file->fd, writer->text[task], writer->size[task],
                                           writer->offset[task], writer->file->path, &writer->error[task]);
}

/* Formats and writes `n` blocks from writer->first on; *offset moves along. */
static reel_status write_round(struct writer *writer, int n, size_t *offset, reel_error *err) {
    const struct gen *gen = writer->gen;
    for (int i = 0; i < n; i++) {
        const int32_t *users = gen->block_users + writer->first + i;
        size_t need = (size_t)(gen->user_offsets[users[1]] - gen->user_offsets[users[0]]) * LINE_MAX_BYTES;
        if (need <= writer->capacity[i]) continue;
        mem_free(writer->text[i]);
        writer->capacity[i] = 0;
        TRY_RETURN(MEM_RAW(&writer->text[i], need, err));
        writer->capacity[i] = need;
    }
    thread_pool_run(gen->ctx->pool, n, format_block, writer);
    for (int i = 0; i < n; i++) {
        writer->offset[i] = *offset;
        *offset += writer->size[i];
    }
    thread_pool_run(gen->ctx->pool, n, write_block, writer);
    for (int i = 0; i < n; i++)
        if (writer->status[i] != REEL_OK) {
            if (err) *err = writer->error[i];
            return writer->status[i];
        }
    return REEL_OK;
}

static reel_status write_ratings(const struct gen *gen, const struct atomic_file *file, double *rmse, reel_error *err) {
    static const char header[] = "userId,movieId,rating,timestamp\n";
    struct writer *writer;
    TRY_RETURN(MEM_NEW(&writer, 1, err));
    reel_status status = REEL_OK;
    size_t offset = strlen(header);
    writer->gen = gen;
    writer->file = file;
    TRY(MEM_NEW(&writer->errors, gen->n_blocks, err));
    TRY(file_pwrite_all(file->fd, header, offset, 0, file->path, err));
    for (int32_t block = 0; block < gen->n_blocks; block += ROUND) {
        int n = gen->n_blocks - block < ROUND ? gen->n_blocks - block : ROUND;
        writer->first = block;
        TRY(write_round(writer, n, &offset, err));
        TRY(context_check(gen->ctx, err));
        context_progress(gen->ctx, "write ratings", "ratings", gen->user_offsets[gen->block_users[block + n]],
                         gen->n_ratings, NULL, 0, block + n == gen->n_blocks);
    }
    double sum = 0;
    for (int32_t block = 0; block < gen->n_blocks; block++) sum += writer->errors[block];
    *rmse = sqrt(sum / (double)gen->n_ratings);
cleanup:
    for (int i = 0; i < ROUND; i++) mem_free(writer->text[i]);
    mem_free(writer->errors);
    mem_free(writer);
    return status;
}

/* ---- tags ---- */

static const char *const tags[] = {"sci-fi",
                                   "based on a book",
                                   "atmospheric",
                                   "action",
                                   "surreal",
                                   "funny",
                                   "dark comedy",
                                   "twist ending",
                                   "visually appealing",
                                   "quirky",
                                   "classic",
                                   "dystopia",
                                   "thought-provoking",
                                   "space",
                                   "social commentary",
                                   "stylized",
                                   "romance",
                                   "psychology",
                                   "violence",
                                   "fantasy",
                                   "boring",
                                   "comedy",
                                   "time travel",
                                   "true story",
                                   "superhero",
                                   "music",
                                   "great acting",
                                   "coming of age",
                                   "overrated",
                                   "cult film",
                                   "\"funny, sad and true\"",
                                   "\"the \"\"good\"\" ending\"",
                                   "Amélie-like",
                                   "black and white",
                                   "predictable"};
enum { N_TAGS = (int)(sizeof tags / sizeof *tags) };

/* A tagger tags every n-th of his movies, with the favourite words first. */
static void tag_user(const struct gen *gen, int32_t u, struct gen_rng *rng, struct strbuf *out) {
    int64_t begin = gen->user_offsets[u], rated = gen->user_offsets[u + 1] - begin;
    int64_t wanted = 1 + (int64_t)(60 * gen_rng_exponential(rng));
    struct gen_user user;
    gen_user_draw(gen, u, &user);
    for (int64_t i = 0; i < rated && wanted > 0; i++) {
        if (gen_rng_uniform(rng) * (double)(rated - i) > (double)wanted) continue;
        wanted--;
        int32_t m = gen->picks[begin + i];
        double skew = gen_rng_uniform(rng), delay = 3600 * gen_rng_exponential(rng);
        double time = gen_rate(gen, &user, begin + i, m).time + delay;
        if (time > gen->profile->end) time = gen->profile->end;
        strbuf_printf(out, "%d,%d,%s,%u\n", u + 1, gen->catalogue.ids[m], tags[(size_t)(skew * skew * N_TAGS)],
                      (uint32_t)time);
    }
}

static reel_status make_tags(const struct gen *gen, struct strbuf *out, reel_error *err) {
    const struct gen_profile *profile = gen->profile;
    strbuf_puts(out, "userId,movieId,tag,timestamp\n");
    /* Some tag less than they would because they have rated less: 45 is what is left of 60. */
    double taggers = (double)profile->n_tags / 45 / profile->n_users * (double)gen->n_ratings /
                     (double)profile->n_ratings * profile->n_users / gen->n_users;
    for (int32_t u = 0; u < gen->n_users && taggers > 0; u++) {
        struct gen_rng rng = gen_rng_new(gen->seed, GEN_DRAW_TAGS, u);
        if (gen_rng_uniform(&rng) < taggers) tag_user(gen, u, &rng, out);
    }
    return out->failed ? error_no_memory(err, out->length) : REEL_OK;
}

/* ---- the folder ---- */

enum { RATINGS, MOVIES, LINKS, TAGS, FILES };

static reel_status begin_file(const char *folder, const char *name, struct atomic_file *file, reel_error *err) {
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/%s", folder, name);
    reel_status status =
        path.failed ? error_no_memory(err, strlen(folder) + 16) : atomic_file_begin(path.data, file, err);
    strbuf_free(&path);
    return status;
}

static reel_status write_text(const struct atomic_file *file, const struct strbuf *text, reel_error *err) {
    return file_pwrite_all(file->fd, text->data, text->length, 0, file->path, err);
}

reel_status gen_write(struct gen *gen, const char *folder, double *oracle_rmse, reel_error *err) {
    static const char *const names[FILES] = {"ratings.csv", "movies.csv", "links.csv", "tags.csv"};
    struct atomic_file files[FILES] = {0};
    struct strbuf tag_text = {0};
    reel_status status = REEL_OK;
    TRY(file_make_dir(folder, err));
    for (int i = 0; i < FILES; i++) TRY(begin_file(folder, names[i], &files[i], err));
    TRY(write_ratings(gen, &files[RATINGS], oracle_rmse, err));
    TRY(write_text(&files[MOVIES], &gen->catalogue.movies_csv, err));
    TRY(write_text(&files[LINKS], &gen->catalogue.links_csv, err));
    TRY(make_tags(gen, &tag_text, err));
    TRY(write_text(&files[TAGS], &tag_text, err));
    for (int i = 0; i < FILES; i++) TRY(atomic_file_commit(&files[i], err));
cleanup:
    for (int i = 0; i < FILES; i++) atomic_file_abort(&files[i]);
    strbuf_free(&tag_text);
    return status;
}
