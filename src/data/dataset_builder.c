#include "data/dataset_builder.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/fingerprint.h"
#include "data/ratings.h"

struct builder {
    reel_context *ctx;
    const struct source *source;
    const reel_import_options *options;
    struct dataset_build *build;
    struct bad_lines bad;
    enum source_kind kind;
    int64_t n_duplicates;
};

static const struct text_file *part(const struct builder *builder, enum source_part which) {
    const struct text_file *file = &builder->source->files[which];
    return file->name ? file : NULL;
}

/* ---- reading the files ---- */

/* A bare file, or a ratings.csv, shows its shape in its first line. */
static reel_status find_format(struct builder *builder, struct rating_format *format, reel_error *err) {
    const struct text_file *file = part(builder, PART_RATINGS);
    if (file->size == 0) return error_set(err, REEL_BAD_INPUT, "%s: the file is empty", file->name);
    if (builder->kind == SOURCE_ML_100K || builder->kind == SOURCE_ML_1M || builder->kind == SOURCE_ML_10M) {
        rating_format_plain(file, builder->kind == SOURCE_ML_100K ? "\t" : "::", builder->kind != SOURCE_ML_10M,
                            format);
        return REEL_OK;
    }
    TRY_RETURN(rating_format_detect(file, builder->options->columns, format, err));
    if (format->separator[1])
        builder->kind = SOURCE_ML_10M;
    else if (format->separator[0] == '\t' && format->body_line == 1)
        builder->kind = SOURCE_ML_100K;
    else if (format->movielens)
        builder->kind = SOURCE_ML_CSV;
    else
        builder->kind = SOURCE_CSV;
    return REEL_OK;
}

static reel_status read_movies(struct builder *builder, reel_error *err) {
    const struct text_file *file = part(builder, PART_MOVIES);
    if (!file) {
        context_log(builder->ctx, REEL_LOG_WARNING, "%s: there is no movie file beside it; titles are placeholders",
                    part(builder, PART_RATINGS)->name);
        return REEL_OK;
    }
    enum movie_format format = builder->source->kind == SOURCE_ML_100K  ? MOVIES_ITEM
                               : builder->source->kind == SOURCE_ML_1M  ? MOVIES_DAT
                               : builder->source->kind == SOURCE_ML_10M ? MOVIES_DAT
                                                                        : MOVIES_CSV;
    return movie_reader_read(file, format, part(builder, PART_GENRES), &builder->bad, &builder->build->movies, err);
}

static reel_status read_metadata(struct builder *builder, reel_error *err) {
    const struct text_file *file = part(builder, PART_METADATA);
    if (!file) return REEL_OK;
    if (!part(builder, PART_LINKS))
        return error_set(err, REEL_NOT_FOUND, "%s: links.csv, which joins it to the movies, is missing", file->name);
    return metadata_reader_read(file, &builder->bad, &builder->build->metadata, err);
}

static reel_status read_small_files(struct builder *builder, reel_error *err) {
    struct dataset_build *build = builder->build;
    const struct text_file *tags = part(builder, PART_TAGS), *links = part(builder, PART_LINKS);
    const struct text_file *scores = part(builder, PART_GENOME_SCORES), *names = part(builder, PART_GENOME_TAGS);
    TRY_RETURN(read_movies(builder, err));
    if (tags)
        TRY_RETURN(tag_reader_read(tags, builder->source->kind == SOURCE_ML_10M ? TAGS_DAT : TAGS_CSV, &builder->bad,
                                   &build->tags, err));
    if (links) TRY_RETURN(link_reader_read(links, &builder->bad, &build->links, err));
    if (scores && !names)
        return error_set(err, REEL_NOT_FOUND, "%s: genome-tags.csv, which names its tags, is missing", scores->name);
    if (scores) TRY_RETURN(genome_reader_read(builder->ctx, scores, names, &builder->bad, &build->genome, err));
    source_forget(builder->source, PART_GENOME_SCORES);
    return read_metadata(builder, err);
}

/* ---- ids ---- */

static reel_status map_ids(struct builder *builder, reel_error *err) {
    struct dataset_build *build = builder->build;
    const struct raw_ratings *raw = &build->raw;
    const struct tag_table *tags = &build->tags;
    const struct movie_table *movies = &build->movies;
    struct id_list users[2] = {{raw->users, raw->n, sizeof *raw->users},
                               {tags->n ? &tags->records[0].user : NULL, tags->n, sizeof *tags->records}};
    int32_t max_user = raw->max_user > tags->max_user ? raw->max_user : tags->max_user;
    TRY_RETURN(id_map_build(builder->ctx, users, 2, max_user, &build->user_map, err));
    struct id_list ids[3] = {{raw->movies, raw->n, sizeof *raw->movies},
                             {tags->n ? &tags->records[0].movie : NULL, tags->n, sizeof *tags->records},
                             {movies->n ? &movies->records[0].key.id : NULL, movies->n, sizeof *movies->records}};
    int32_t max_movie = raw->max_movie > tags->max_movie ? raw->max_movie : tags->max_movie;
    if (movies->n && movies->records[movies->n - 1].key.id > max_movie)
        max_movie = movies->records[movies->n - 1].key.id;
    return id_map_build(builder->ctx, ids, 3, max_movie, &build->movie_map, err);
}

/* ---- tensors ---- */

static reel_status add_ratings(struct builder *builder, reel_error *err) {
    struct dataset_build *build = builder->build;
    const struct rating_table *table = &build->ratings;
    const int64_t users = build->user_map.n, movies = build->movie_map.n, offsets = users + 1, n = table->n;
    const int64_t movie_offsets = movies + 1;
    const struct {
        const char *name;
        enum dtype dtype;
        const int64_t *n;
        const void *data;
    } columns[] = {
        {"user_ids", DTYPE_I32, &users, build->user_map.ids},
        {"movie_ids", DTYPE_I32, &movies, build->movie_map.ids},
        {"user_offsets", DTYPE_I64, &offsets, table->user_offsets},
        {"user_movies", DTYPE_I32, &n, table->user_movies},
        {"user_ratings", DTYPE_U8, &n, table->user_ratings},
        {"user_times", DTYPE_U32, &n, table->user_times},
        {"movie_offsets", DTYPE_I64, &movie_offsets, table->movie_offsets},
        {"movie_users", DTYPE_I32, &n, table->movie_users},
        {"movie_ratings", DTYPE_U8, &n, table->movie_ratings},
    };
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        TRY_RETURN(tensor_set_add_borrowed(build->set, columns[i].name, columns[i].dtype, 1, columns[i].n,
                                           columns[i].data, err));
    return REEL_OK;
}

/* Titles in the order of the movies, placeholders among them. Called with titles NULL it only fills the offsets. */
static void lay_titles(const struct dataset_build *build, int64_t *offsets, char *titles) {
    const struct movie_table *movies = &build->movies;
    int64_t at = 0, record = 0;
    for (int32_t m = 0; m < build->movie_map.n; m++) {
        char placeholder[32];
        const char *title = placeholder;
        if (record < movies->n && movies->records[record].key.id == build->movie_map.ids[m])
            title = movies->titles + movies->records[record++].title;
        else
            snprintf(placeholder, sizeof placeholder, "movie %" PRId32, build->movie_map.ids[m]);
        size_t size = strlen(title) + 1;
        if (titles)
            memcpy(titles + at, title, size);
        else
            offsets[m] = at;
        at += (int64_t)size;
    }
    if (!titles) offsets[build->movie_map.n] = at;
}

static reel_status add_titles(struct builder *builder, reel_error *err) {
    struct dataset_build *build = builder->build;
    int64_t *offsets;
    char *titles;
    TRY_RETURN(tensor_set_add1(build->set, "movie_title_offsets", DTYPE_I64, (int64_t)build->movie_map.n + 1,
                               (void **)&offsets, err));
    lay_titles(build, offsets, NULL);
    TRY_RETURN(
        tensor_set_add1(build->set, "movie_titles", DTYPE_U8, offsets[build->movie_map.n], (void **)&titles, err));
    lay_titles(build, offsets, titles);
    return REEL_OK;
}

static reel_status add_movies(struct builder *builder, reel_error *err) {
    struct dataset_build *build = builder->build;
    int64_t n = build->movie_map.n;
    int16_t *years;
    uint64_t *genres;
    int32_t *imdb, *tmdb;
    TRY_RETURN(add_titles(builder, err));
    TRY_RETURN(tensor_set_add1(build->set, "movie_years", DTYPE_I16, n, (void **)&years, err));
    TRY_RETURN(tensor_set_add1(build->set, "movie_genres", DTYPE_U64, n, (void **)&genres, err));
    TRY_RETURN(tensor_set_add1(build->set, "movie_imdb_ids", DTYPE_I32, n, (void **)&imdb, err));
    TRY_RETURN(tensor_set_add1(build->set, "movie_tmdb_ids", DTYPE_I32, n, (void **)&tmdb, err));
    for (int64_t i = 0; i < build->movies.n; i++) {
        const struct movie_record *record = &build->movies.records[i];
        int32_t m = id_map_find(&build->movie_map, record->key.id);
        years[m] = record->year;
        genres[m] = record->genres;
    }
    memset(imdb, 0xff, (size_t)n * sizeof *imdb); /* -1 */
    memset(tmdb, 0xff, (size_t)n * sizeof *tmdb);
    for (int64_t i = 0; i < build->links.n; i++) {
        const struct link_record *record = &build->links.records[i];
        int32_t m = id_map_find(&build->movie_map, record->key.id);
        if (m < 0) continue; /* links may know more movies than the catalogue */
        imdb[m] = record->imdb;
        tmdb[m] = record->tmdb;
    }
    build->n_placeholders = n - build->movies.n;
    return REEL_OK;
}

static reel_status add_genres(struct builder *builder, reel_error *err) {
    const struct genre_names *genres = &builder->build->movies.genres;
    int64_t *offsets, bytes = 0;
    char *names;
    TRY_RETURN(
        tensor_set_add1(builder->build->set, "genre_name_offsets", DTYPE_I64, genres->n + 1, (void **)&offsets, err));
    for (int g = 0; g < genres->n; g++) {
        offsets[g] = bytes;
        bytes += (int64_t)strlen(genres->names[g]) + 1;
    }
    offsets[genres->n] = bytes;
    TRY_RETURN(tensor_set_add1(builder->build->set, "genre_names", DTYPE_U8, bytes, (void **)&names, err));
    for (int g = 0; g < genres->n; g++) strcpy(names + offsets[g], genres->names[g]);
    return REEL_OK;
}

static reel_status add_tags(struct builder *builder, reel_error *err) {
    struct dataset_build *build = builder->build;
    const struct tag_table *tags = &build->tags;
    int32_t *users, *movies;
    uint32_t *times;
    int64_t *offsets, bytes = 0;
    char *texts;
    for (int64_t i = 0; i < tags->n; i++) bytes += (int64_t)tags->records[i].length + 1;
    TRY_RETURN(tensor_set_add1(build->set, "tag_users", DTYPE_I32, tags->n, (void **)&users, err));
    TRY_RETURN(tensor_set_add1(build->set, "tag_movies", DTYPE_I32, tags->n, (void **)&movies, err));
    TRY_RETURN(tensor_set_add1(build->set, "tag_times", DTYPE_U32, tags->n, (void **)&times, err));
    TRY_RETURN(tensor_set_add1(build->set, "tag_text_offsets", DTYPE_I64, tags->n + 1, (void **)&offsets, err));
    TRY_RETURN(tensor_set_add1(build->set, "tag_texts", DTYPE_U8, bytes, (void **)&texts, err));
    bytes = 0;
    for (int64_t i = 0; i < tags->n; i++) {
        const struct tag_record *record = &tags->records[i];
        users[i] = id_map_find(&build->user_map, record->user);
        movies[i] = id_map_find(&build->movie_map, record->movie);
        times[i] = record->time;
        offsets[i] = bytes;
        memcpy(texts + bytes, tags->texts + record->text, (size_t)record->length + 1);
        bytes += (int64_t)record->length + 1;
    }
    offsets[tags->n] = bytes;
    return REEL_OK;
}

/* The rows of movies that the dataset has. */
static reel_status add_genome(struct builder *builder, reel_error *err) {
    struct dataset_build *build = builder->build;
    struct genome_table *genome = &build->genome;
    int64_t rows = 0, tags = genome->n_tags, n_offsets = tags + 1;
    if (tags == 0) return REEL_OK;
    for (int32_t i = 0; i < genome->n_movies; i++) {
        int32_t m = id_map_find(&build->movie_map, genome->movies[i]);
        if (m < 0) continue;
        genome->movies[rows] = m;
        if (rows != i)
            memmove(genome->relevance + rows * tags, genome->relevance + i * tags, (size_t)tags * sizeof(float));
        rows++;
    }
    if (genome->n_missing > 0)
        context_log(builder->ctx, REEL_LOG_WARNING,
                    "%s: %" PRId64 " pairs of movie and tag have no score and count as 0",
                    part(builder, PART_GENOME_SCORES)->name, genome->n_missing);
    TRY_RETURN(tensor_set_add_borrowed(build->set, "genome_movies", DTYPE_I32, 1, &rows, genome->movies, err));
    TRY_RETURN(tensor_set_add_borrowed(build->set, "genome_relevance", DTYPE_F32, 2, (int64_t[2]){rows, tags},
                                       genome->relevance, err));
    TRY_RETURN(
        tensor_set_add_borrowed(build->set, "genome_tag_offsets", DTYPE_I64, 1, &n_offsets, genome->tag_offsets, err));
    return tensor_set_add_borrowed(build->set, "genome_tags", DTYPE_U8, 1, &genome->tag_offsets[tags], genome->tags,
                                   err);
}

/* Rows of The Movies Dataset for the movies whose TMDB id it knows. */
static reel_status add_metadata(struct builder *builder, reel_error *err) {
    struct dataset_build *build = builder->build;
    const int32_t *tmdb = tensor_set_find(build->set, "movie_tmdb_ids")->data;
    int32_t *movies, *imdb;
    uint32_t *genres;
    int64_t *revenue, n = 0;
    float *runtime;
    if (!part(builder, PART_METADATA)) return REEL_OK;
    for (int32_t m = 0; m < build->movie_map.n; m++)
        n += tmdb[m] >= 0 && metadata_table_find(&build->metadata, tmdb[m]) != NULL;
    TRY_RETURN(tensor_set_add1(build->set, "metadata_movies", DTYPE_I32, n, (void **)&movies, err));
    TRY_RETURN(tensor_set_add1(build->set, "metadata_genres", DTYPE_U32, n, (void **)&genres, err));
    TRY_RETURN(tensor_set_add1(build->set, "metadata_imdb_ids", DTYPE_I32, n, (void **)&imdb, err));
    TRY_RETURN(tensor_set_add1(build->set, "metadata_revenue", DTYPE_I64, n, (void **)&revenue, err));
    TRY_RETURN(tensor_set_add1(build->set, "metadata_runtime", DTYPE_F32, n, (void **)&runtime, err));
    for (int32_t m = 0; m < build->movie_map.n; m++) {
        const struct metadata_record *record = tmdb[m] < 0 ? NULL : metadata_table_find(&build->metadata, tmdb[m]);
        if (!record) continue;
        int64_t row = build->n_metadata++;
        movies[row] = m;
        genres[row] = record->genres;
        imdb[row] = record->imdb;
        revenue[row] = record->revenue;
        runtime[row] = record->runtime;
    }
    return REEL_OK;
}

/* ---- fingerprint and header ---- */

static reel_status make_fingerprint(const struct dataset_build *build, char out[33], reel_error *err) {
    const struct rating_table *table = &build->ratings;
    const struct ratings view = {.n_users = build->user_map.n,
                                 .n_movies = build->movie_map.n,
                                 .n_ratings = table->n,
                                 .user_offsets = table->user_offsets,
                                 .user_movies = table->user_movies,
                                 .user_ratings = table->user_ratings,
                                 .user_times = table->user_times};
    return dataset_fingerprint(&view, build->user_map.ids, build->movie_map.ids, out, err);
}

static reel_status put_strings(struct builder *builder, const char *fingerprint, reel_error *err) {
    struct tensor_set *set = builder->build->set;
    const struct rating_table *table = &builder->build->ratings;
    unsigned seen = 0; /* bit r = rating r occurs */
    for (int64_t i = 0; i < table->n; i++) seen |= 1u << table->user_ratings[i];
    TRY_RETURN(tensor_set_put(set, "format", "reel-dataset", err));
    TRY_RETURN(tensor_set_put(set, "version", "1", err));
    TRY_RETURN(tensor_set_put(set, "source.format", source_kind_name(builder->kind), err));
    TRY_RETURN(tensor_set_putf(set, "n_placeholders", err, "%" PRId64, builder->build->n_placeholders));
    if (!seen) seen = 1u << 1 | 1u << 10;
    TRY_RETURN(tensor_set_putf(set, "scale.min", err, "%d", __builtin_ctz(seen)));
    TRY_RETURN(tensor_set_putf(set, "scale.max", err, "%d", 31 - __builtin_clz(seen)));
    return tensor_set_put(set, "fingerprint", fingerprint, err);
}

static reel_status fill_set(struct builder *builder, reel_import_report *report, reel_error *err) {
    struct dataset_build *build = builder->build;
    TRY_RETURN(tensor_set_new(&build->set, err));
    TRY_RETURN(add_ratings(builder, err));
    TRY_RETURN(add_movies(builder, err));
    TRY_RETURN(add_genres(builder, err));
    TRY_RETURN(add_tags(builder, err));
    TRY_RETURN(add_genome(builder, err));
    TRY_RETURN(add_metadata(builder, err));
    TRY_RETURN(make_fingerprint(build, report->fingerprint, err));
    return put_strings(builder, report->fingerprint, err);
}

/* ---- all together ---- */

/* A rating that repeats a pair comes before the malformed line that ended the reading: it stands further up. */
static reel_status build_ratings(struct builder *builder, const reel_error *first_bad, reel_error *err) {
    struct dataset_build *build = builder->build;
    TRY_RETURN(rating_table_build(builder->ctx, &build->raw, &build->user_map, &build->movie_map, &builder->bad,
                                  &build->ratings, &builder->n_duplicates, err));
    if (first_bad->status == REEL_OK) return REEL_OK;
    if (err) *err = *first_bad;
    return first_bad->status;
}

static void report_counts(const struct builder *builder, reel_import_report *report) {
    const struct dataset_build *build = builder->build;
    report->format = source_kind_name(builder->kind);
    report->n_users = build->user_map.n;
    report->n_movies = build->movie_map.n;
    report->n_ratings = build->ratings.n;
    report->n_tags = build->tags.n;
    report->n_bad_lines = builder->bad.count;
    report->n_duplicates = builder->n_duplicates;
    report->n_placeholders = build->n_placeholders;
    report->n_metadata = build->n_metadata;
    report->source_bytes = (int64_t)builder->source->files[PART_RATINGS].size;
}

static void log_skipped(const struct builder *builder) {
    int64_t skipped = builder->bad.count + builder->n_duplicates;
    if (skipped > builder->bad.listed)
        context_log(builder->ctx, REEL_LOG_WARNING, "%" PRId64 " bad lines and repeated ratings in all were skipped",
                    skipped);
}

/* *first_bad as from rating_reader_read. A source without a ratings file has movies alone. */
static reel_status read_ratings(struct builder *builder, reel_error *first_bad, reel_error *err) {
    const struct text_file *file = part(builder, PART_RATINGS);
    struct raw_ratings *raw = &builder->build->raw;
    struct rating_format format;
    *first_bad = (reel_error){.status = REEL_OK};
    if (!file) {
        *raw = (struct raw_ratings){.ascending = 1};
        TRY_RETURN(MEM_RAW(&raw->users, 0, err));
        TRY_RETURN(MEM_RAW(&raw->movies, 0, err));
        TRY_RETURN(MEM_RAW(&raw->ratings, 0, err));
        return MEM_RAW(&raw->times, 0, err);
    }
    TRY_RETURN(find_format(builder, &format, err));
    TRY_RETURN(rating_reader_read(builder->ctx, file, &format, &builder->bad, raw, first_bad, err));
    source_forget(builder->source, PART_RATINGS);
    if (raw->n > 0) return REEL_OK;
    if (first_bad->status == REEL_OK) return error_set(err, REEL_BAD_INPUT, "%s: the file has no ratings", file->name);
    if (err) *err = *first_bad;
    return first_bad->status;
}

reel_status dataset_build(reel_context *ctx, const struct source *source, const reel_import_options *options,
                          struct dataset_build *build, reel_import_report *report, reel_error *err) {
    struct builder builder = {.ctx = ctx, .source = source, .options = options, .build = build, .kind = source->kind};
    builder.bad = (struct bad_lines){.ctx = ctx, .skip = options->skip_bad, .max_listed = options->max_listed};
    reel_error first_bad;
    TRY_RETURN(read_ratings(&builder, &first_bad, err));
    if (first_bad.status == REEL_OK) TRY_RETURN(read_small_files(&builder, err));
    TRY_RETURN(map_ids(&builder, err));
    TRY_RETURN(build_ratings(&builder, &first_bad, err));
    TRY_RETURN(fill_set(&builder, report, err));
    log_skipped(&builder);
    report_counts(&builder, report);
    return context_check(ctx, err);
}

void dataset_build_free(struct dataset_build *build) {
    tensor_set_free(build->set);
    raw_ratings_free(&build->raw);
    movie_table_free(&build->movies);
    tag_table_free(&build->tags);
    link_table_free(&build->links);
    genome_table_free(&build->genome);
    metadata_table_free(&build->metadata);
    id_map_free(&build->user_map);
    id_map_free(&build->movie_map);
    rating_table_free(&build->ratings);
    *build = (struct dataset_build){0};
}
