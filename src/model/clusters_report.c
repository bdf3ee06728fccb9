/* What the clusters are like, as text, JSON and HTML. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/display_text.h"
#include "data/html_page.h"
#include "data/svg_plot.h"
#include "model/clusters.h"

enum { TOP_MOVIES = 5, TOP_GENRES = 5, CLUSTERS_MAX = 64, GENRES_MAX = 64 };

struct cluster_facts {
    int64_t n_users, n_ratings;
    double mean_rating;             /* stars */
    double genre_share[GENRES_MAX]; /* share of the genre among its members' genre marks */
    int32_t top_movies[TOP_MOVIES]; /* most rated by members, ties by id; -1 = none */
    int64_t top_counts[TOP_MOVIES];
};

struct facts {
    int k, n_genres;
    int64_t n_isolated;
    double average_share[GENRES_MAX]; /* over all clustered users */
    struct cluster_facts *clusters;   /* (k,) */
};

/* ---- facts ---- */

static void add_user(const struct reel_dataset *dataset, int32_t user, struct cluster_facts *facts, int64_t *counts,
                     int64_t *half_stars) {
    const struct ratings *r = &dataset->ratings;
    const int64_t begin = r->user_offsets[user], end = r->user_offsets[user + 1];
    int64_t sum = 0;
    for (int64_t i = begin; i < end; i++) counts[r->user_movies[i]]++;
    for (int64_t i = begin; i < end; i++) sum += r->user_ratings[i];
    *half_stars += sum;
    facts->n_users++;
    facts->n_ratings += end - begin;
}

/* Genre marks of counts (n_movies,) ratings. They are whole numbers, so no order changes their sums. */
static void add_genres(const struct reel_dataset *dataset, const int64_t *counts, double *marks, double *average) {
    for (int32_t m = 0; m < dataset->n_movies; m++)
        for (uint64_t bits = dataset->movie_genres[m]; bits; bits &= bits - 1) {
            marks[__builtin_ctzll(bits)] += (double)counts[m];
            average[__builtin_ctzll(bits)] += (double)counts[m];
        }
}

static void find_top(const int64_t *counts, int32_t n_movies, struct cluster_facts *facts) {
    int n = 0;
    for (int32_t m = 0; m < n_movies; m++) {
        if (counts[m] == 0 || (n == TOP_MOVIES && counts[m] <= facts->top_counts[n - 1])) continue;
        int at = n < TOP_MOVIES ? n++ : n - 1;
        for (; at > 0 && facts->top_counts[at - 1] < counts[m]; at--) {
            facts->top_counts[at] = facts->top_counts[at - 1];
            facts->top_movies[at] = facts->top_movies[at - 1];
        }
        facts->top_counts[at] = counts[m];
        facts->top_movies[at] = m;
    }
    for (; n < TOP_MOVIES; n++) facts->top_movies[n] = -1;
}

static void normalise(double *shares, int n) {
    double sum = 0;
    for (int g = 0; g < n; g++) sum += shares[g];
    for (int g = 0; g < n && sum > 0; g++) shares[g] /= sum;
}

static int facts_new(const reel_clusters *clusters, const struct reel_dataset *dataset, struct facts *out) {
    int64_t *counts = NULL;
    *out = (struct facts){.k = clusters->k, .n_genres = dataset->n_genres};
    if (MEM_NEW(&out->clusters, clusters->k, NULL) != REEL_OK || MEM_RAW(&counts, dataset->n_movies, NULL) != REEL_OK) {
        mem_free(out->clusters);
        out->clusters = NULL;
        return 0;
    }
    for (int32_t i = 0; i < clusters->n; i++) out->n_isolated += clusters->labels[i] < 0;
    for (int c = 0; c < clusters->k; c++) {
        struct cluster_facts *facts = &out->clusters[c];
        int64_t half_stars = 0;
        memset(counts, 0, sizeof *counts * (size_t)dataset->n_movies);
        for (int32_t i = 0; i < clusters->n; i++) {
            int32_t user = clusters->labels[i] == c ? reel_dataset_user_index(dataset, clusters->user_ids[i]) : -1;
            if (user >= 0) add_user(dataset, user, facts, counts, &half_stars);
        }
        add_genres(dataset, counts, facts->genre_share, out->average_share);
        facts->mean_rating = facts->n_ratings ? 0.5 * (double)half_stars / (double)facts->n_ratings : 0;
        normalise(facts->genre_share, dataset->n_genres);
        find_top(counts, dataset->n_movies, facts);
    }
    normalise(out->average_share, dataset->n_genres);
    mem_free(counts);
    return 1;
}

/* How much more often than the average user's: 1.25 = a quarter more. 1 where nobody rates the genre. */
static double lift(const struct facts *facts, int cluster, int genre) {
    return facts->average_share[genre] > 0 ? facts->clusters[cluster].genre_share[genre] / facts->average_share[genre]
                                           : 1;
}

/* Genres of a cluster by lift, highest first; at most TOP_GENRES. */
static int top_genres(const struct facts *facts, int cluster, int *genres) {
    int n = 0;
    for (int g = 0; g < facts->n_genres; g++) {
        if (!(facts->average_share[g] > 0) ||
            (n == TOP_GENRES && lift(facts, cluster, g) <= lift(facts, cluster, genres[n - 1])))
            continue;
        int at = n < TOP_GENRES ? n++ : n - 1;
        for (; at > 0 && lift(facts, cluster, genres[at - 1]) < lift(facts, cluster, g); at--)
            genres[at] = genres[at - 1];
        genres[at] = g;
    }
    return n;
}

static double per_user(const struct cluster_facts *facts) {
    return facts->n_users ? (double)facts->n_ratings / (double)facts->n_users : 0;
}

/* ---- text ---- */

static void add_run_text(struct strbuf *out, const reel_clusters *clusters, const reel_cluster_report *report) {
    strbuf_printf(out, "%d users in %d clusters, affinity %s", clusters->n, clusters->k,
                  clusters_affinity_names[clusters->affinity]);
    if (!report) {
        strbuf_puts(out, "\n");
        return;
    }
    if (report->approximation_error > 0)
        strbuf_printf(out, " (APPROXIMATE: Nystroem, relative error %.2g on a sample)", report->approximation_error);
    strbuf_printf(out, "; %d left out by number of ratings, %d without any affinity\n", report->n_filtered,
                  report->n_isolated);
    double worst = 0;
    strbuf_puts(out, "eigenvalues");
    for (int j = 0; j < report->n_eigenvalues; j++) {
        strbuf_printf(out, " %.6f", report->eigenvalues[j]);
        worst = fmax(worst, report->residuals[j]);
    }
    strbuf_printf(out,
                  "\nresiduals <= %.1e after %d products; profiles %.2f s, eigenvectors %.2f s, assignment %.2f s\n",
                  worst, report->iterations, report->profile_seconds, report->eigen_seconds, report->assign_seconds);
}

char *reel_clusters_text(const reel_clusters *clusters, const reel_dataset *dataset,
                         const reel_cluster_report *report) {
    struct facts facts;
    struct strbuf out = {0};
    struct arena arena = {0};
    if (!facts_new(clusters, dataset, &facts)) return NULL;
    add_run_text(&out, clusters, report);
    for (int c = 0; c < facts.k; c++) {
        const struct cluster_facts *cluster = &facts.clusters[c];
        int genres[TOP_GENRES], n = top_genres(&facts, c, genres);
        strbuf_printf(&out, "\ncluster %d: %s users, mean rating %.2f, %.0f ratings a user\n", c,
                      text_thousands(cluster->n_users).text, cluster->mean_rating, per_user(cluster));
        for (int i = 0; i < n; i++) {
            strbuf_puts(&out, "  ");
            text_fit(&out, reel_dataset_genre(dataset, genres[i]), 14, 1);
            strbuf_printf(&out, " %5.2fx ", lift(&facts, c, genres[i]));
            text_bar(&out, fmin(lift(&facts, c, genres[i]) / 3, 1), 30);
            strbuf_puts(&out, "\n");
        }
        strbuf_puts(&out, "  most rated:");
        for (int i = 0; i < TOP_MOVIES && cluster->top_movies[i] >= 0; i++) {
            char *title = text_clean(&arena, text_at(&dataset->titles, cluster->top_movies[i]));
            strbuf_printf(&out, "%s %s", i ? ";" : "", title ? title : "");
        }
        strbuf_puts(&out, "\n");
    }
    if (facts.n_isolated)
        strbuf_printf(&out, "\nno cluster: %s users without any affinity to others\n",
                      text_thousands(facts.n_isolated).text);
    arena_free(&arena);
    mem_free(facts.clusters);
    return strbuf_take(&out);
}

/* ---- JSON ---- */

static json_t *run_json(const reel_cluster_report *report) {
    json_t *values = json_array(), *residuals = json_array();
    for (int j = 0; j < report->n_eigenvalues; j++) {
        json_array_append_new(values, json_real(report->eigenvalues[j]));
        json_array_append_new(residuals, json_real(report->residuals[j]));
    }
    return json_pack("{s:o,s:o,s:i,s:i,s:i,s:i,s:f,s:f,s:f,s:f,s:I}", "eigenvalues", values, "residuals", residuals,
                     "products", report->iterations, "n_clustered", report->n_clustered, "n_filtered",
                     report->n_filtered, "n_isolated", report->n_isolated, "approximation_error",
                     report->approximation_error, "profile_seconds", report->profile_seconds, "eigen_seconds",
                     report->eigen_seconds, "assign_seconds", report->assign_seconds, "peak_rss_bytes",
                     (json_int_t)report->peak_rss_bytes);
}

static json_t *cluster_json(const struct facts *facts, int c, const struct reel_dataset *dataset) {
    const struct cluster_facts *cluster = &facts->clusters[c];
    json_t *genres = json_object(), *movies = json_array();
    for (int g = 0; g < facts->n_genres; g++)
        json_object_set_new(genres, reel_dataset_genre(dataset, g),
                            json_pack("{s:f,s:f}", "share", cluster->genre_share[g], "lift", lift(facts, c, g)));
    for (int i = 0; i < TOP_MOVIES && cluster->top_movies[i] >= 0; i++)
        json_array_append_new(movies, json_pack("{s:i,s:s,s:I}", "id", dataset->movie_ids[cluster->top_movies[i]],
                                                "title", text_at(&dataset->titles, cluster->top_movies[i]), "n_ratings",
                                                (json_int_t)cluster->top_counts[i]));
    return json_pack("{s:i,s:I,s:f,s:f,s:o,s:o}", "cluster", c, "n_users", (json_int_t)cluster->n_users, "mean_rating",
                     cluster->mean_rating, "ratings_per_user", per_user(cluster), "genres", genres, "top_movies",
                     movies);
}

char *reel_clusters_json(const reel_clusters *clusters, const reel_dataset *dataset,
                         const reel_cluster_report *report) {
    struct facts facts;
    if (!facts_new(clusters, dataset, &facts)) return NULL;
    json_t *sizes = json_array(), *profile = json_array();
    for (int c = 0; c < facts.k; c++) {
        json_array_append_new(sizes, json_integer(facts.clusters[c].n_users));
        json_array_append_new(profile, cluster_json(&facts, c, dataset));
    }
    json_t *root =
        json_pack("{s:i,s:s,s:o,s:I,s:o}", "k", clusters->k, "affinity", clusters_affinity_names[clusters->affinity],
                  "sizes", sizes, "n_isolated", (json_int_t)facts.n_isolated, "profile", profile);
    if (root && report) {
        json_t *run = run_json(report);
        json_object_update(root, run);
        json_decref(run);
    }
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(root);
    mem_free(facts.clusters);
    return text;
}

/* ---- HTML ---- */

/* The embedding's second and third columns (the first is nearly constant) by cluster. */
static void add_scatter(struct strbuf *out, const reel_clusters *clusters) {
    double *x = NULL, *y = NULL;
    const int across = 1, up = clusters->k > 2 ? 2 : 0;
    if (MEM_RAW(&x, clusters->n, NULL) == REEL_OK && MEM_RAW(&y, clusters->n, NULL) == REEL_OK) {
        for (int32_t i = 0; i < clusters->n; i++) {
            x[i] = clusters->eigenvectors[(int64_t)i * clusters->k + across] * clusters->row_scale[i];
            y[i] = clusters->eigenvectors[(int64_t)i * clusters->k + up] * clusters->row_scale[i];
        }
        struct svg_plot plot = {.id = "embedding",
                                .title = "Users in the embedding",
                                .description = "Each point is a user, coloured by cluster.",
                                .x_label = "second eigenvector / sqrt(degree)",
                                .y_label = up == 2 ? "third" : "first"};
        svg_scatter_groups(out, &plot, x, y, clusters->labels, clusters->k, clusters->n);
    }
    mem_free(y);
    mem_free(x);
}

static void add_spectrum(struct strbuf *out, const reel_clusters *clusters, const reel_cluster_report *report) {
    double order[80];
    int n = report ? report->n_eigenvalues : clusters->k;
    const double *values = report ? report->eigenvalues : clusters->eigenvalues;
    for (int j = 0; j < n; j++) order[j] = j + 1;
    struct svg_plot plot = {
        .id = "spectrum",
        .title = "Eigenvalues",
        .description =
            "Leading eigenvalues of the normalised affinity; a wide gap after the k-th speaks for k clusters.",
        .x_label = "rank",
        .y_label = "eigenvalue",
        .plain_x = 1};
    svg_scatter(out, &plot, order, values, n);
}

static void add_cluster_card(struct strbuf *out, const struct facts *facts, int c, const struct reel_dataset *dataset) {
    const struct cluster_facts *cluster = &facts->clusters[c];
    struct svg_bar bars[GENRES_MAX];
    char shown[GENRES_MAX][16], title[64], id[24], note[160];
    for (int g = 0; g < facts->n_genres; g++) {
        snprintf(shown[g], sizeof shown[g], "%.2fx", lift(facts, c, g));
        bars[g] = (struct svg_bar){reel_dataset_genre(dataset, g), lift(facts, c, g), shown[g]};
    }
    snprintf(title, sizeof title, "Cluster %d: %s users", c, text_thousands(cluster->n_users).text);
    snprintf(id, sizeof id, "cluster-%d", c);
    snprintf(note, sizeof note, "mean rating %.2f, %.0f ratings a user", cluster->mean_rating, per_user(cluster));
    html_card_begin(out, title, note, HTML_WIDE);
    struct svg_plot plot = {.id = id,
                            .title = "Genre preference",
                            .description =
                                "How often members rate each genre, against the average clustered user (1.00x)."};
    svg_rows(out, &plot, bars, facts->n_genres);
    static const char *const headers[] = {"Most rated movies", "Ratings"};
    html_table_begin(out, "Most rated movies of the cluster", headers, 2, 2);
    for (int i = 0; i < TOP_MOVIES && cluster->top_movies[i] >= 0; i++) {
        html_row_begin(out);
        html_cell(out, text_at(&dataset->titles, cluster->top_movies[i]));
        html_number(out, "%s", text_thousands(cluster->top_counts[i]).text);
        html_row_end(out);
    }
    html_table_end(out);
    html_card_end(out);
}

char *reel_clusters_html(const reel_clusters *clusters, const reel_dataset *dataset,
                         const reel_cluster_report *report) {
    struct facts facts;
    struct strbuf out = {0}, about = {0};
    if (!facts_new(clusters, dataset, &facts)) return NULL;
    add_run_text(&about, clusters, report);
    html_page_begin(&out, "Clusters of users", about.data ? about.data : "");
    strbuf_free(&about);
    html_section_begin(&out, "overview", "Embedding and spectrum");
    html_card_begin(&out, "Embedding", "one point a user", HTML_WIDE);
    add_scatter(&out, clusters);
    html_card_end(&out);
    html_card_begin(&out, "Eigenvalues", NULL, HTML_NARROW);
    add_spectrum(&out, clusters, report);
    html_card_end(&out);
    html_section_end(&out);
    html_section_begin(&out, "clusters", "Profiles");
    for (int c = 0; c < facts.k; c++) add_cluster_card(&out, &facts, c, dataset);
    html_section_end(&out);
    html_page_end(&out);
    mem_free(facts.clusters);
    return strbuf_take(&out);
}
