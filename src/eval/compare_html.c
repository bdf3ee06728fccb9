/* A comparison as a page: the ranking, errors as bars, error against time. */
#include <math.h>
#include <stdio.h>

#include "core/mem.h"
#include "data/html_page.h"
#include "data/svg_plot.h"
#include <reel/eval.h>

enum { BARS_MAX = 30, TEXT_MAX = 200 };

/* "gbdt loss=huber" */
static void name_of(const reel_compared *model, char *out) {
    snprintf(out, TEXT_MAX, "%s%s%s", model->cv.algorithm, *model->params ? " " : "", model->params);
}

static int count_good(const reel_compare_report *report) {
    int n = 0;
    while (n < report->n_models && report->models[n].status == REEL_OK) n++;
    return n;
}

static void add_figures(struct strbuf *out, const reel_compare_report *report, int n_good) {
    char models[32], best[32] = "-", name[TEXT_MAX] = "-", seconds[32];
    snprintf(models, sizeof models, "%d", report->n_models);
    if (n_good) {
        snprintf(best, sizeof best, "%.4f", report->models[0].cv.mean.rmse);
        name_of(&report->models[0], name);
    }
    snprintf(seconds, sizeof seconds, "%.1f s", report->seconds);
    const struct html_figure figures[] = {{"models", models}, {"best RMSE", best}, {"by", name}, {"time", seconds}};
    html_figures(out, figures, 4);
}

static void add_bars(struct strbuf *out, const reel_compare_report *report, int n) {
    char names[BARS_MAX][TEXT_MAX], shown[BARS_MAX][16];
    struct svg_bar bars[BARS_MAX];
    if (n > BARS_MAX) n = BARS_MAX;
    for (int i = 0; i < n; i++) {
        const reel_compared *model = &report->models[i];
        name_of(model, names[i]);
        snprintf(shown[i], sizeof shown[i], "%.4f", model->cv.mean.rmse);
        bars[i] = (struct svg_bar){names[i], model->cv.mean.rmse, shown[i]};
    }
    const struct svg_plot plot = {.id = "rmse",
                                  .title = "RMSE by model",
                                  .description = "Bars: the mean RMSE over folds of each model, best first."};
    html_card_begin(out, "RMSE by model", "Mean over folds, in stars; less is better.", HTML_WIDE);
    svg_rows(out, &plot, bars, n);
    html_card_end(out);
}

static int add_times(struct strbuf *out, const reel_compare_report *report, int n) {
    double *seconds, *errors;
    if (mem_zero((void **)&seconds, (size_t)n, sizeof *seconds, NULL) != REEL_OK) return 0;
    if (mem_zero((void **)&errors, (size_t)n, sizeof *errors, NULL) != REEL_OK) {
        mem_free(seconds);
        return 0;
    }
    for (int i = 0; i < n; i++) {
        seconds[i] = report->models[i].cv.fit_seconds;
        errors[i] = report->models[i].cv.mean.rmse;
    }
    const struct svg_plot plot = {.id = "times",
                                  .title = "RMSE against the time of a fit",
                                  .description = "Points: one a model, its fit's seconds across, its RMSE up.",
                                  .x_label = "seconds a fit",
                                  .y_label = "RMSE",
                                  .log_x = 1,
                                  .log_y = 1};
    html_card_begin(out, "RMSE against the time of a fit", NULL, HTML_NARROW);
    svg_scatter(out, &plot, seconds, errors, n);
    html_card_end(out);
    mem_free(seconds);
    mem_free(errors);
    return 1;
}

static void add_row(struct strbuf *out, const reel_compared *model, int rank) {
    const reel_cv_report *cv = &model->cv;
    html_row_begin(out);
    if (model->status != REEL_OK) {
        html_cell(out, "-");
        html_cell(out, cv->algorithm);
        for (int i = 0; i < 6; i++) html_cell(out, "-");
        html_cell(out, model->message);
    } else {
        html_number(out, "%d", rank);
        html_cell(out, cv->algorithm);
        html_number(out, "%.4f", cv->mean.rmse);
        html_number(out, "%.4f", cv->std.rmse);
        html_number(out, "%.4f", cv->mean.mae);
        html_number(out, "%.4f", cv->mean.r2);
        html_number(out, "%.3f", cv->fit_seconds);
        html_number(out, "%.3f", cv->test_seconds);
        html_cell(out, model->params);
    }
    html_row_end(out);
}

static void add_table(struct strbuf *out, const reel_compare_report *report) {
    static const char *const headers[] = {"rank", "model",   "RMSE",        "+-",        "MAE",
                                          "R2",   "fit (s)", "predict (s)", "parameters"};
    html_card_begin(out, "Ranking", "Means over folds; +- is the standard deviation of the RMSE.", HTML_FULL);
    html_table_begin(out, "Models by RMSE", headers, 9, 0xfd);
    for (int i = 0; i < report->n_models; i++) add_row(out, &report->models[i], i + 1);
    html_table_end(out);
    html_card_end(out);
}

char *reel_compare_html(const reel_compare_report *report, const char *about) {
    struct strbuf out = {0};
    int n_good = count_good(report);
    html_page_begin(&out, "Models compared", about);
    add_figures(&out, report, n_good);
    html_section_begin(&out, "ranking", "Ranking");
    add_table(&out, report);
    add_bars(&out, report, n_good);
    if (!add_times(&out, report, n_good)) out.failed = 1;
    html_section_end(&out);
    html_page_end(&out);
    return strbuf_take(&out);
}
