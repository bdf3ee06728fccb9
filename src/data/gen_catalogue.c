/* The movies of a twin: read from a real movies.csv, or made up. */
#include "data/gen.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>

#include "data/gen_tables.h"

void gen_catalogue_free(struct gen_catalogue *catalogue) {
    mem_free(catalogue->ids);
    mem_free(catalogue->years);
    mem_free(catalogue->genres);
    strbuf_free(&catalogue->movies_csv);
    strbuf_free(&catalogue->links_csv);
    *catalogue = (struct gen_catalogue){0};
}

static reel_status catalogue_alloc(struct gen_catalogue *catalogue, int64_t n, reel_error *err) {
    TRY_RETURN(MEM_RAW(&catalogue->ids, n, err));
    TRY_RETURN(MEM_RAW(&catalogue->years, n, err));
    return MEM_RAW(&catalogue->genres, n, err);
}

/* A row of links.csv with made-up numbers; one in a hundred has no TMDB id. */
static void add_link(struct strbuf *out, struct gen_rng *rng, int32_t id) {
    int imdb = 1 + gen_rng_below(rng, 4999999), tmdb = 1 + gen_rng_below(rng, 349999);
    strbuf_printf(out, "%d,%07d,", id, imdb);
    if (gen_rng_below(rng, 100) > 0) strbuf_printf(out, "%d", tmdb);
    strbuf_puts(out, "\n");
}

/* ---- a real catalogue ---- */

struct line {
    const char *text;
    size_t length; /* without the line end */
};

/* Takes the next line off; 0 at the end. */
static int next_line(const char **at, const char *end, struct line *line) {
    if (*at == end) return 0;
    const char *stop = memchr(*at, '\n', (size_t)(end - *at));
    line->text = *at;
    line->length = (size_t)((stop ? stop : end) - *at);
    *at = stop ? stop + 1 : end;
    if (line->length && line->text[line->length - 1] == '\r') line->length--;
    return 1;
}

/* The leading "123," of a line as an id; -1 if it is none. *used = characters taken. */
static int32_t line_id(const struct line *line, size_t *used) {
    int64_t id = 0;
    size_t i = 0;
    for (; i < line->length && i < 10 && isdigit((unsigned char)line->text[i]); i++)
        id = id * 10 + (line->text[i] - '0');
    *used = i + 1;
    return i == 0 || i >= line->length || line->text[i] != ',' || id > INT32_MAX ? -1 : (int32_t)id;
}

/* "(1995)" at the end of a title, quoted or not; 0 if there is none. */
static int16_t title_year(const char *title, size_t length) {
    while (length && (title[length - 1] == '"' || title[length - 1] == ' ')) length--;
    if (length < 6 || title[length - 1] != ')' || title[length - 6] != '(') return 0;
    int year = 0;
    for (size_t i = length - 5; i < length - 1; i++) {
        if (!isdigit((unsigned char)title[i])) return 0;
        year = year * 10 + (title[i] - '0');
    }
    return (int16_t)year;
}

/* Names that are not MovieLens genres carry no planted effect and are left out. */
static uint32_t genre_bits(const char *text, size_t length) {
    uint32_t bits = 0;
    for (size_t begin = 0; begin < length;) {
        size_t end = begin;
        while (end < length && text[end] != '|') end++;
        for (int g = 0; g < GEN_GENRES; g++)
            if (strlen(gen_genres[g].name) == end - begin && memcmp(gen_genres[g].name, text + begin, end - begin) == 0)
                bits |= 1u << g;
        begin = end + 1;
    }
    return bits;
}

static int count_quotes(const char *text, size_t length) {
    int n = 0;
    for (size_t i = 0; i < length; i++) n += text[i] == '"';
    return n;
}

/* One row "id,title,genres" into place i. */
static reel_status parse_row(struct gen_catalogue *catalogue, int32_t i, const char *path, int64_t number,
                             const struct line *line, reel_error *err) {
    size_t used, comma = line->length;
    int32_t id = line_id(line, &used);
    if (id < 0)
        return error_set(err, REEL_BAD_INPUT, "%s:%lld: not a movie id (%.*s)", path, (long long)number,
                         line->length > 60 ? 60 : (int)line->length, line->text);
    while (comma > used && line->text[comma - 1] != ',') comma--;
    size_t title = comma - 1 - used;
    if (comma <= used || title == 0)
        return error_set(err, REEL_BAD_INPUT, "%s:%lld: a row needs movieId,title,genres (found '%.*s')", path,
                         (long long)number, line->length > 60 ? 60 : (int)line->length, line->text);
    if (count_quotes(line->text, line->length) % 2)
        return error_set(err, REEL_BAD_INPUT, "%s:%lld: a quote is not closed (movie %d)", path, (long long)number, id);
    if (i > 0 && id <= catalogue->ids[i - 1])
        return error_set(err, REEL_BAD_INPUT, "%s:%lld: movie ids must ascend (%d after %d)", path, (long long)number,
                         id, catalogue->ids[i - 1]);
    catalogue->ids[i] = id;
    catalogue->years[i] = title_year(line->text + used, title);
    catalogue->genres[i] = genre_bits(line->text + comma, line->length - comma);
    strbuf_add(&catalogue->movies_csv, line->text, line->length);
    strbuf_puts(&catalogue->movies_csv, "\n");
    return REEL_OK;
}

static reel_status read_movies(struct gen *gen, const char *path, const struct file_map *map, reel_error *err) {
    struct gen_catalogue *catalogue = &gen->catalogue;
    const char *at = map->data, *end = map->data ? map->data + map->size : NULL;
    struct line line;
    if (at && end - at >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0) at += 3;
    static const char header[] = "movieId,title,genres";
    if (!map->data || !next_line(&at, end, &line) || line.length != strlen(header) ||
        memcmp(line.text, header, line.length) != 0)
        return error_set(err, REEL_BAD_INPUT, "%s:1: the first line must be %s", path, header);
    int64_t rows = 0, number = 1;
    for (const char *c = at; c < end; c++) rows += *c == '\n' || c + 1 == end;
    if (rows > INT32_MAX - 1) return error_set(err, REEL_BAD_INPUT, "%s: too many movies", path);
    TRY_RETURN(catalogue_alloc(catalogue, rows, err));
    strbuf_puts(&catalogue->movies_csv, "movieId,title,genres\n");
    int32_t n = 0;
    while ((gen->n_movies == 0 || n < gen->n_movies) && next_line(&at, end, &line)) {
        number++;
        if (line.length == 0) continue;
        TRY_RETURN(parse_row(catalogue, n, path, number, &line, err));
        n++;
    }
    if (n == 0) return error_set(err, REEL_BAD_INPUT, "%s:1: no movie follows the header", path);
    if (n < gen->n_movies)
        return error_set(err, REEL_INVALID_ARGUMENT, "%s has %d movies, %d were asked for", path, n, gen->n_movies);
    catalogue->n = gen->n_movies = n;
    return REEL_OK;
}

/* Copies the rows of the links.csv beside the catalogue whose movies are in it. */
static reel_status copy_links(struct gen_catalogue *catalogue, const char *path, reel_error *err) {
    struct file_map map;
    TRY_RETURN(file_map_open(path, &map, err));
    const char *at = map.data, *end = map.data ? map.data + map.size : NULL;
    struct line line;
    int32_t i = 0;
    size_t used;
    while (map.data && next_line(&at, end, &line)) {
        int32_t id = line_id(&line, &used);
        while (i < catalogue->n && catalogue->ids[i] < id) i++;
        if (id < 0 || i == catalogue->n || catalogue->ids[i] != id) continue;
        strbuf_add(&catalogue->links_csv, line.text, line.length);
        strbuf_puts(&catalogue->links_csv, "\n");
    }
    file_map_close(&map);
    return REEL_OK;
}

static reel_status read_catalogue(struct gen *gen, const char *path, reel_error *err) {
    struct gen_catalogue *catalogue = &gen->catalogue;
    struct file_map map;
    TRY_RETURN(file_map_open(path, &map, err));
    reel_status status = read_movies(gen, path, &map, err);
    file_map_close(&map);
    TRY_RETURN(status);
    strbuf_puts(&catalogue->links_csv, "movieId,imdbId,tmdbId\n");
    const char *slash = strrchr(path, '/');
    struct strbuf beside = {0};
    strbuf_add(&beside, path, slash ? (size_t)(slash + 1 - path) : 0);
    strbuf_puts(&beside, "links.csv");
    if (beside.failed) return error_no_memory(err, strlen(path) + 16);
    status = copy_links(catalogue, beside.data, err);
    strbuf_free(&beside);
    if (status != REEL_NOT_FOUND) return status;
    struct gen_rng rng = gen_rng_new(gen->seed, GEN_DRAW_CATALOGUE, 0);
    for (int32_t i = 0; i < catalogue->n; i++) add_link(&catalogue->links_csv, &rng, catalogue->ids[i]);
    return REEL_OK;
}

/* ---- a made-up catalogue ---- */

struct item {
    double key;
    int32_t order;
    uint32_t genres;
    int16_t year;
};

static int compare_items(const void *a, const void *b) {
    const struct item *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Sorts by key; `order`, the place before, breaks ties. */
static void sort_items(struct item *items, int32_t n) {
    for (int32_t i = 0; i < n; i++) items[i].order = i;
    qsort(items, (size_t)n, sizeof *items, compare_items);
}

/* Genre sets in their frequencies, keyed by the year they are usually from. */
static void draw_genres(struct item *items, int32_t n, struct gen_rng *rng) {
    int set = 0;
    int64_t upto = gen_genre_sets[0].count;
    for (int32_t i = 0; i < n; i++) {
        double at = ((double)i + 0.5) / n * GEN_TABLE_MOVIES;
        while (at > (double)upto) upto += gen_genre_sets[++set].count;
        items[i].genres = gen_genre_sets[set].genres;
        items[i].key = gen_genre_sets[set].year + 20 * gen_rng_normal(rng);
    }
}

/* Years in their frequencies up to `last_year`, dealt to the items in the order of their keys. */
static void draw_years(struct item *items, int32_t n, int last_year, struct gen_rng *rng) {
    int32_t undated = (int32_t)((int64_t)n * GEN_TABLE_UNDATED / GEN_TABLE_MOVIES), dated = n - undated;
    int years = last_year - GEN_TABLE_FIRST_YEAR + 1, year = 0;
    if (years > GEN_TABLE_YEARS) years = GEN_TABLE_YEARS;
    int64_t total = 0, upto = gen_year_counts[0];
    for (int y = 0; y < years; y++) total += gen_year_counts[y];
    int32_t seen = 0, left = undated;
    for (int32_t i = 0; i < n; i++) {
        if (gen_rng_below(rng, n - i) < left) {
            items[i].year = 0;
            left--;
            continue;
        }
        double at = ((double)seen++ + 0.5) / dated * (double)total;
        while (at > (double)upto) upto += gen_year_counts[++year];
        items[i].year = (int16_t)(GEN_TABLE_FIRST_YEAR + year);
    }
}

static const char *const adjectives[] = {"Silent",   "Golden", "Broken",  "Last",   "Hidden",  "Crimson",
                                         "Electric", "Lonely", "Distant", "Secret", "Burning", "Gentle",
                                         "Midnight", "Frozen", "Savage",  "Paper",  "Wild",    "Second"};
static const char *const nouns[] = {"River",   "Garden",    "Stranger", "Harbor",   "Kingdom", "Letter",
                                    "Summer",  "Detective", "Mirror",   "Orchard",  "Highway", "Promise",
                                    "Soldier", "Circus",    "Island",   "Daughter", "Engine",  "Planet",
                                    "Witness", "Horizon",   "Café",     "Señor",    "Winter",  "Machine"};
#define N_WORDS(list) ((int32_t)(sizeof(list) / sizeof *(list)))

/* A title in one of the shapes that readers must cope with: plain, with a comma, with quotes, accented. */
static void add_title(struct strbuf *out, struct gen_rng *rng, int year) {
    const char *adjective = adjectives[gen_rng_below(rng, N_WORDS(adjectives))];
    const char *noun = nouns[gen_rng_below(rng, N_WORDS(nouns))], *other = nouns[gen_rng_below(rng, N_WORDS(nouns))];
    int shape = gen_rng_below(rng, 100);
    char date[16] = "";
    if (year) snprintf(date, sizeof date, " (%d)", year);
    if (shape < 22)
        strbuf_printf(out, "\"%s %s, The%s\"", adjective, noun, date);
    else if (shape < 24)
        strbuf_printf(out, "\"\"\"%s %s\"\"%s\"", adjective, noun, date);
    else if (shape < 50)
        strbuf_printf(out, "%s of the %s%s", noun, other, date);
    else if (shape < 60)
        strbuf_printf(out, "%s %s %d%s", adjective, noun, 2 + gen_rng_below(rng, 4), date);
    else
        strbuf_printf(out, "%s %s%s", adjective, noun, date);
}

static void add_genres(struct strbuf *out, uint32_t genres) {
    if (!genres) strbuf_puts(out, "(no genres listed)");
    for (int g = 0, n = 0; g < GEN_GENRES; g++)
        if (genres >> g & 1) strbuf_printf(out, "%s%s", n++ ? "|" : "", gen_genres[g].name);
}

/* The step to the next id: close to 1 for the movies the service began with, wider later, as in the real sets. */
static int32_t id_gap(struct gen_rng *rng, double share) {
    double extra = share < 0.3 ? 0.1 : share < 0.5 ? 10 : 4;
    return 1 + (int32_t)(extra * gen_rng_exponential(rng));
}

static void add_movies(struct gen_catalogue *catalogue, const struct item *items, struct gen_rng *rng) {
    int32_t id = 0;
    strbuf_puts(&catalogue->movies_csv, "movieId,title,genres\n");
    strbuf_puts(&catalogue->links_csv, "movieId,imdbId,tmdbId\n");
    for (int32_t i = 0; i < catalogue->n; i++) {
        id += i ? id_gap(rng, (double)i / catalogue->n) : 1;
        catalogue->ids[i] = id;
        catalogue->years[i] = items[i].year;
        catalogue->genres[i] = items[i].genres;
        strbuf_printf(&catalogue->movies_csv, "%d,", id);
        add_title(&catalogue->movies_csv, rng, items[i].year);
        strbuf_puts(&catalogue->movies_csv, ",");
        add_genres(&catalogue->movies_csv, items[i].genres);
        strbuf_puts(&catalogue->movies_csv, "\n");
        add_link(&catalogue->links_csv, rng, id);
    }
}

static reel_status make_catalogue(struct gen *gen, reel_error *err) {
    int32_t n = gen->n_movies;
    struct item *items;
    TRY_RETURN(MEM_RAW(&items, n, err));
    reel_status status = REEL_OK;
    TRY(catalogue_alloc(&gen->catalogue, n, err));
    gen->catalogue.n = n;
    struct gen_rng rng = gen_rng_new(gen->seed, GEN_DRAW_CATALOGUE, 1);
    draw_genres(items, n, &rng);
    sort_items(items, n);
    draw_years(items, n, gen->profile->first_year + gen->profile->n_years - 1, &rng);
    /* Ids grow with the time a movie was added: the year it came out, or the first years of the service. */
    for (int32_t i = 0; i < n; i++) {
        int added = items[i].year > gen->profile->first_year ? items[i].year : gen->profile->first_year;
        items[i].key = added + 6 * gen_rng_exponential(&rng);
    }
    sort_items(items, n);
    add_movies(&gen->catalogue, items, &rng);
cleanup:
    mem_free(items);
    return status;
}

reel_status gen_catalogue_load(struct gen *gen, const char *path, reel_error *err) {
    TRY_RETURN(path ? read_catalogue(gen, path, err) : make_catalogue(gen, err));
    if (gen->catalogue.movies_csv.failed || gen->catalogue.links_csv.failed)
        return error_no_memory(err, (size_t)gen->n_movies * 64);
    return REEL_OK;
}
