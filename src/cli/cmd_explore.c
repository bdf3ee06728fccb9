/* reel explore: what is in a dataset, as text, JSON or an HTML page. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

/* Writes the page under a temporary name beside `path` and renames it: the old page or the complete new one. */
static int write_page(const struct cli *cli, const char *path, const char *page) {
    reel_error err = {.status = REEL_IO};
    size_t size = strlen(path) + sizeof ".XXXXXX";
    char *temporary = malloc(size);
    if (!temporary) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    snprintf(temporary, size, "%s.XXXXXX", path);
    int fd = mkstemp(temporary), failed = 1;
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file) {
        mode_t mask = umask(0);
        umask(mask);
        failed = fchmod(fd, 0666 & ~mask) != 0 || fputs(page, file) < 0 || fflush(file) != 0 || fsync(fd) != 0;
        failed |= fclose(file) != 0;
        failed = failed || rename(temporary, path) != 0;
    }
    if (!file && fd >= 0) close(fd);
    if (failed) snprintf(err.message, sizeof err.message, "%.500s: cannot be written: %s", path, strerror(errno));
    if (failed && fd >= 0) unlink(temporary);
    free(temporary);
    return failed ? cli_fail(cli, &err) : CLI_OK;
}

static int show(const struct cli *cli, const reel_explore_report *report, const char *html) {
    char *text = cli->json ? reel_explore_json(report) : reel_explore_text(report);
    char *page = html ? reel_explore_html(report) : NULL;
    int status = CLI_OK;
    if (!text || (html && !page))
        status = cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    else if (html)
        status = write_page(cli, html, page);
    if (status == CLI_OK) {
        printf("%s%s", text, cli->json ? "\n" : "");
        if (fflush(stdout) != 0) {
            fprintf(stderr, "reel: writing the report failed\n");
            status = CLI_FAILED;
        }
    }
    if (status == CLI_OK && html && !cli->quiet) fprintf(stderr, "reel: wrote %s\n", html);
    reel_string_free(text);
    reel_string_free(page);
    return status;
}

int cmd_explore(struct cli *cli, int argc, char **argv) {
    const char *path, *html = NULL;
    const struct cli_option options[] = {
        {"--html", NULL, CLI_TEXT, &html, "FILE", "also write one HTML page with plots"},
        {0},
    };
    int status =
        cli_parse(cli, "DATASET|FOLDER|movies.csv|ratings.csv",
                  "Reports what is in a dataset: movies, genres, years, votes a user and a movie, ratings and\n"
                  "their course over time. A folder, a ZIP or a bare movies.csv or ratings.csv need no import.",
                  "reel explore ml20m.reel --html ml20m.html", options, argc, argv, &path, 1, 1);
    if (status >= 0) return status;
    status = cli_context(cli);
    if (status >= 0) return status;
    reel_explore_report *report;
    reel_error err;
    if (reel_explore(cli->ctx, path, &report, &err) != REEL_OK) return cli_fail(cli, &err);
    status = show(cli, report, html);
    reel_explore_free(report);
    return status;
}
