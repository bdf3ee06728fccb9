/* Searching and paging through the movies. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/error.h"
#include "model/similar.h"
#include "serve/deferred.h"
#include "serve/json_write.h"
#include "serve/recommend_json.h"
#include "serve/routes.h"
#include "serve/schemas.h"
#include "serve/title_search.h"

enum { QUERY_MAX = 200 };

/* Movies are listed by number of ratings, most first; a cursor is a place in that order. */
struct search_work {
    struct deferred deferred;
    struct title_words words;
    uint64_t genre_any;
    int64_t limit, cursor;
};

static void write_found(struct strbuf *out, const struct snapshot *snapshot, int32_t movie) {
    const struct reel_dataset *dataset = snapshot->dataset;
    const int64_t *offsets = dataset->ratings.movie_offsets;
    size_t size;
    const char *fragment = snapshot_fragment(snapshot, movie, &size);
    strbuf_add(out, fragment, size);
    strbuf_puts(out, ",\"year\":");
    if (dataset->movie_years[movie])
        json_write_int(out, dataset->movie_years[movie]);
    else
        strbuf_puts(out, "null");
    strbuf_puts(out, ",\"n_ratings\":");
    json_write_int(out, offsets[movie + 1] - offsets[movie]);
    strbuf_puts(out, ",\"mean_rating\":");
    json_write_decimal(out, snapshot->movie_means[movie], 3);
}

static reel_status make_search(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    (void)err;
    const struct search_work *work = (const struct search_work *)deferred;
    const struct snapshot *snapshot = request_snapshot(deferred->work.request);
    const struct reel_dataset *dataset = snapshot->dataset;
    int64_t found = 0, at = work->cursor;
    strbuf_puts(out, "{\"movies\":[");
    for (; at < dataset->n_movies && found <= work->limit; at++) {
        int32_t movie = snapshot->genre_index->popular[at];
        if ((work->genre_any && !(dataset->movie_genres[movie] & work->genre_any)) ||
            !title_matches(&work->words, text_at(&dataset->titles, movie)))
            continue;
        if (found++ == work->limit) break;
        strbuf_puts(out, found > 1 ? ",{" : "{");
        write_found(out, snapshot, movie);
        strbuf_add(out, "}", 1);
    }
    strbuf_puts(out, "],\"next_cursor\":");
    if (found > work->limit)
        json_write_int(out, at);
    else
        strbuf_puts(out, "null");
    strbuf_add(out, "}", 1);
    return REEL_OK;
}

/* 1 for at most QUERY_MAX characters; else a problem has been set. */
static int short_enough(struct request *request, const char *text) {
    int n = 0;
    for (const char *at = text; *at; at++) n += (*at & 0xc0) != 0x80;
    if (n <= QUERY_MAX) return 1;
    request_problem(request, 400, "query must have at most %d characters (found %d)", QUERY_MAX, n);
    return 0;
}

static enum request_outcome get_movies(struct request *request) {
    const struct snapshot *snapshot = request_snapshot(request);
    const char *query = request_query_text(request, "query"), *genre = request_query_text(request, "genre");
    int64_t limit = 20, cursor = 0;
    if ((query && !short_enough(request, query)) || request_query_int(request, "limit", 1, 200, &limit) < 0 ||
        request_query_int(request, "cursor", 0, INT32_MAX, &cursor) < 0)
        return REQUEST_DONE;
    int g = genre && genre[0] ? genre_find(snapshot->dataset, genre) : 64;
    if (g < 0) {
        request_problem(request, 404, "the data set has no such genre");
        return REQUEST_DONE;
    }
    struct answer_key key = {.route = &route_movies, .snapshot = snapshot->generation, .numbers = {limit, cursor, g}};
    XXH128_hash_t text = query ? XXH3_128bits(query, strlen(query)) : (XXH128_hash_t){0, 0};
    key.numbers[3] = (int64_t)text.low64;
    key.numbers[4] = (int64_t)text.high64;
    if (answer_from_cache(request, &key)) return REQUEST_DONE;
    struct search_work *work = deferred_new(request, sizeof *work, &key, make_search);
    if (!work) return REQUEST_DONE;
    title_words_parse(query ? query : "", &work->words);
    work->genre_any = g < 64 ? UINT64_C(1) << g : 0;
    work->limit = limit;
    work->cursor = cursor;
    return deferred_submit(work);
}

/* clang-format off */
const struct route route_movies = {
    .method = HTTP_GET,
    .pattern = "/api/v1/movies",
    .handle = get_movies,
    .summary = "Movies whose titles have all words of the query (case and accents do not count), most rated first",
    .parameters = (const struct parameter[]){
        {"query", "query", JSON({"type":"string","maxLength":200}), "words or parts of words; a year works too"},
        {"genre", "query", SCHEMA_TEXT, "only movies of this genre"},
        {"limit", "query", JSON({"type":"integer","minimum":1,"maximum":200,"default":20}), "how many"},
        {"cursor", "query", JSON({"type":"integer","minimum":0,"maximum":2147483647,"default":0}),
            "where to go on: next_cursor of the page before"},
        {0}},
    .answer = SCHEMA_OBJECT(JSON("movies","next_cursor"), JSON("movies":)
        SCHEMA_LIST(SCHEMA_OBJECT(MOVIE_KEYS JSON(,"year","n_ratings","mean_rating"),
            MOVIE_PROPERTIES JSON(,"year":) SCHEMA_INT_OR_NULL JSON(,"n_ratings":) SCHEMA_COUNT
            JSON(,"mean_rating":) SCHEMA_NUMBER_OR_NULL))
        JSON(,"next_cursor":) SCHEMA_INT_OR_NULL),
    .problems = "400 404",
};
/* clang-format on */
