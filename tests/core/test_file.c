/* Files: mappings, and replacement that a crash cannot tear. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "kernels/common/philox.h"
#include "test.h"

static char folder[64], target[96];

static int entries_in_folder(void) {
    DIR *dir = opendir(folder);
    if (!dir) return -1;
    int n = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return n;
}

static void check_content(const char *expected) {
    struct file_map map;
    reel_error err;
    REQUIRE_OK(file_map_open(target, &map, &err), err);
    CHECK_INT(map.size, strlen(expected));
    CHECK(memcmp(map.data, expected, strlen(expected)) == 0);
    file_map_close(&map);
}

static void test_mapping(void) {
    struct file_map map;
    reel_error err;
    CHECK_INT(file_map_open("/nonexistent", &map, &err), REEL_NOT_FOUND);
    CHECK_STR(err.message, "/nonexistent: cannot be opened: No such file or directory");
    CHECK_INT(file_map_open(folder, &map, &err), REEL_BAD_INPUT);
    CHECK_INT(file_map_open("/dev/null", &map, &err), REEL_BAD_INPUT);
    CHECK(map.data == NULL && map.size == 0);
    REQUIRE_OK(file_replace(target, "", 0, &err), err);
    REQUIRE_OK(file_map_open(target, &map, &err), err);
    CHECK(map.data == NULL && map.size == 0);
    file_map_close(&map);
    char pipe_path[128];
    snprintf(pipe_path, sizeof pipe_path, "%s/pipe", folder);
    CHECK(mkfifo(pipe_path, 0600) == 0);
    CHECK_INT(file_map_open(pipe_path, &map, &err), REEL_BAD_INPUT);
    CHECK_INT(file_replace(pipe_path, "x", 1, &err), REEL_IO);
    unlink(pipe_path);
    unlink(target);
}

static void test_replace(void) {
    reel_error err;
    REQUIRE_OK(file_replace(target, "first", 5, &err), err);
    check_content("first");
    REQUIRE_OK(file_replace(target, "the second", 10, &err), err);
    check_content("the second");
    CHECK_INT(entries_in_folder(), 1);
    struct stat info;
    mode_t mask = umask(0);
    umask(mask);
    CHECK(stat(target, &info) == 0);
    CHECK_INT(info.st_mode & 0777, 0666 & ~mask);
}

/* Replacing through a link changes the file behind it. */
static void test_link(void) {
    reel_error err;
    char link[128];
    snprintf(link, sizeof link, "%s/link", folder);
    CHECK(symlink(target, link) == 0);
    REQUIRE_OK(file_replace(link, "through a link", 14, &err), err);
    check_content("through a link");
    struct stat info;
    CHECK(lstat(link, &info) == 0 && S_ISLNK(info.st_mode));
    unlink(link);
}

static void test_refused_targets(void) {
    reel_error err;
    CHECK_INT(file_replace("/dev/null", "x", 1, &err), REEL_IO);
    CHECK_STR(err.message, "/dev/null: cannot be written: is not a regular file");
    CHECK_INT(file_replace(folder, "x", 1, &err), REEL_IO);
    CHECK_INT(file_replace("/nonexistent/file", "x", 1, &err), REEL_IO);
    CHECK_STR(err.message, "/nonexistent/file: cannot be written: No such file or directory");
}

static void test_abort_leaves_nothing(void) {
    reel_error err;
    struct atomic_file file;
    REQUIRE_OK(file_replace(target, "old", 3, &err), err);
    REQUIRE_OK(atomic_file_begin(target, &file, &err), err);
    REQUIRE_OK(file_write_all(file.fd, "new", 3, target, &err), err);
    atomic_file_abort(&file);
    atomic_file_abort(&file);
    check_content("old");
    CHECK_INT(entries_in_folder(), 1);
    atomic_file_abort(&(struct atomic_file){0});
    REQUIRE_OK(atomic_file_begin(target, &file, &err), err);
    REQUIRE_OK(file_pwrite_all(file.fd, "cd", 2, 2, target, &err), err);
    REQUIRE_OK(file_pwrite_all(file.fd, "ab", 2, 0, target, &err), err);
    REQUIRE_OK(atomic_file_commit(&file, &err), err);
    check_content("abcd");
}

static void test_make_dir(void) {
    reel_error err;
    char path[128], deep[160];
    snprintf(path, sizeof path, "%s/a/b//c/", folder);
    REQUIRE_OK(file_make_dir(path, &err), err);
    REQUIRE_OK(file_make_dir(path, &err), err);
    REQUIRE_OK(file_make_dir("/", &err), err);
    REQUIRE_OK(file_make_dir(".", &err), err);
    REQUIRE_OK(file_replace(target, "x", 1, &err), err);
    snprintf(deep, sizeof deep, "%s/below", target);
    CHECK_INT(file_make_dir(deep, &err), REEL_IO);
    CHECK_INT(file_make_dir("", &err), REEL_IO);
    for (const char *const *part = (const char *const[]){"a/b/c", "a/b", "a", NULL}; *part; part++) {
        snprintf(path, sizeof path, "%s/%s", folder, *part);
        CHECK(rmdir(path) == 0);
    }
}

/* ---- kill -9 ---- */

enum { CONTENT_BYTES = 1 << 20 };

/* A file is `round` over and over: a torn one shows. */
static void replace_for_ever(uint32_t round) {
    static uint32_t content[CONTENT_BYTES / 4];
    for (;; round++) {
        for (size_t i = 0; i < CONTENT_BYTES / 4; i++) content[i] = round;
        if (file_replace(target, content, sizeof content, NULL) != REEL_OK) _exit(1);
    }
}

/* The round the file is of; UINT32_MAX if it is torn. */
static uint32_t round_of_file(void) {
    struct file_map map;
    reel_error err;
    REQUIRE_OK(file_map_open(target, &map, &err), err);
    uint32_t round = UINT32_MAX, word;
    if (map.size == CONTENT_BYTES) memcpy(&round, map.data, 4);
    for (size_t at = 0; at < map.size && round != UINT32_MAX; at += 4) {
        memcpy(&word, map.data + at, 4);
        if (word != round) round = UINT32_MAX;
    }
    file_map_close(&map);
    return round;
}

static void test_kill_at_random_moments(void) {
    enum { KILLS = 50 };
    reel_error err;
    static const char zeros[CONTENT_BYTES];
    REQUIRE_OK(file_replace(target, zeros, sizeof zeros, &err), err);
    uint32_t newest = 0;
    /* More of them where the child seldom gets as far as a file: on a busy machine. */
    for (uint64_t kill_number = 0; kill_number < KILLS || (newest == 0 && kill_number < 40 * KILLS); kill_number++) {
        fflush(stdout);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) replace_for_ever(newest + 1);
        struct philox4 random = philox_block(7, philox_stream(PHILOX_TEST, 0), kill_number);
        usleep(random.v[0] % 20000);
        kill(child, SIGKILL);
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status));
        uint32_t round = round_of_file();
        CHECK(round != UINT32_MAX && round >= newest);
        newest = round;
    }
    /* Between linkat and rename a name of its own is there for some microseconds (more under a sanitizer, so that a
     * few kills may hit them); all else leaves none. */
    CHECK(entries_in_folder() <= 1 + KILLS / 5);
    CHECK(newest > 0);
}

static void empty_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK(system(command) == 0);
}

int main(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.40s/test_file.XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(folder)) return 1;
    snprintf(target, sizeof target, "%s/target", folder);
    RUN(test_mapping);
    RUN(test_replace);
    RUN(test_link);
    RUN(test_refused_targets);
    RUN(test_abort_leaves_nothing);
    RUN(test_make_dir);
    RUN(test_kill_at_random_moments);
    empty_folder();
    TEST_EXIT();
}
