/* The progress display, read back from a pipe (plain lines) and from a pseudo-terminal (the bar). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "core/progress.h"
#include "test.h"

static char output[16384];

/* Runs `body` with stderr going to `in`, and fills `output` with what comes out of `out`. */
static void capture(int in, int out, void (*body)(void)) {
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    dup2(in, STDERR_FILENO);
    body();
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    fcntl(out, F_SETFL, O_NONBLOCK);
    size_t length = 0;
    for (ssize_t n; (n = read(out, output + length, sizeof output - 1 - length)) > 0;) length += (size_t)n;
    output[length] = '\0';
}

static void capture_pipe(void (*body)(void)) {
    int ends[2];
    if (pipe(ends) != 0) exit(1);
    capture(ends[1], ends[0], body);
    close(ends[0]);
    close(ends[1]);
}

/* 0 if this machine gives no pseudo-terminal. */
static int capture_terminal(unsigned short columns, void (*body)(void)) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) return 0;
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    struct winsize size = {.ws_row = 24, .ws_col = columns};
    if (slave < 0 || ioctl(slave, TIOCSWINSZ, &size) != 0) return 0;
    capture(slave, master, body);
    close(slave);
    close(master);
    return 1;
}

static void report(struct progress_display *display, const char *stage, int64_t done, int64_t total, int finished) {
    progress_display_update(
        display, &(reel_progress){stage, "ratings", done, total, done > 500 ? "rmse" : NULL, 0.875, finished});
}

static void run_stages(reel_progress_mode mode) {
    struct progress_display *display = progress_display_new(mode);
    for (int64_t done = 0; done <= 1000; done += 10) report(display, "parse", done, 1000, done == 1000);
    report(display, "sort", 0, 0, 0);
    report(display, "sort", 12345678, 0, 1);
    report(display, "never finished", 1, 100, 0);
    progress_display_clear(display);
    progress_display_free(display);
}
static void run_auto(void) {
    run_stages(REEL_PROGRESS_AUTO);
}
static void run_plain(void) {
    run_stages(REEL_PROGRESS_PLAIN);
}

static int count(const char *needle) {
    int n = 0;
    for (const char *at = output; (at = strstr(at, needle)); at += strlen(needle)) n++;
    return n;
}

static void test_none(void) {
    CHECK(progress_display_new(REEL_PROGRESS_NONE) == NULL);
    progress_display_clear(NULL);
    progress_display_free(NULL);
}

static void check_plain_output(void) {
    CHECK_INT(count("\n"), 2);
    CHECK_INT(count("\r"), 0);
    CHECK_INT(count("\033"), 0);
    CHECK(strncmp(output, "parse: 1.00 k ratings in ", 25) == 0);
    CHECK(strstr(output, "  rmse 0.8750\n") != NULL);
    CHECK(strstr(output, "\nsort: 12.3 M ratings in ") != NULL);
}

static void test_a_line_a_stage(void) {
    capture_pipe(run_plain);
    check_plain_output();
    capture_pipe(run_auto); /* a pipe is no terminal */
    check_plain_output();
}

/* No line, stripped of colours, may be wider than the terminal. */
static int widest_line(void) {
    int widest = 0, columns = 0;
    for (const char *at = output; *at; at++) {
        if (*at == '\033') {
            while (*at && *at != 'm' && *at != 'K') at++;
            if (!*at) break;
        } else if (*at == '\r' || *at == '\n') {
            columns = 0;
        } else if (((unsigned char)*at & 0xc0) != 0x80 && ++columns > widest) {
            widest = columns;
        }
    }
    return widest;
}

static void test_bar_on_a_terminal(void) {
    setenv("TERM", "xterm", 1);
    setenv("LC_ALL", "C", 1);
    setenv("NO_COLOR", "1", 1);
    if (!capture_terminal(80, run_auto)) {
        printf("skipped: no pseudo-terminal\n");
        return;
    }
    CHECK(strncmp(output, "\rparse  [----", 13) == 0);
    CHECK(strstr(output, "\r\033[Kparse: 1.00 k ratings") != NULL);
    CHECK_INT(count("\n"), 2);
    CHECK_INT(count("\033[36m"), 0);
    CHECK(widest_line() < 80);
    /* The unfinished bar is taken away at the end. */
    CHECK(strcmp(output + strlen(output) - 4, "\r\033[K") == 0);
    setenv("LC_ALL", "C.UTF-8", 1);
    unsetenv("NO_COLOR");
    CHECK(capture_terminal(80, run_auto));
    CHECK(strstr(output, "\u2500") != NULL);
    CHECK(count("\033[36m") > 0);
    setenv("TERM", "dumb", 1);
    CHECK(capture_terminal(80, run_auto));
    CHECK_INT(count("\033"), 0);
}

static void run_narrow(void) {
    struct progress_display *display = progress_display_new(REEL_PROGRESS_AUTO);
    report(display, "a stage with quite a long name", 600, 1000, 0);
    progress_display_free(display);
}

static void test_narrow_terminals(void) {
    setenv("TERM", "xterm", 1);
    for (unsigned short columns = 1; columns < 120; columns++)
        if (capture_terminal(columns, run_narrow)) CHECK(widest_line() < columns || columns == 1);
}

int main(void) {
    RUN(test_none);
    RUN(test_a_line_a_stage);
    RUN(test_bar_on_a_terminal);
    RUN(test_narrow_terminals);
    TEST_EXIT();
}
