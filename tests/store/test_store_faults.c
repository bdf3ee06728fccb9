/* The store when things go wrong: kill -9, a full disk, a read-only one, locks of others, no memory; and many threads
 * at once. Parts that need a file system of their own run in a process with private mounts. */
#define _GNU_SOURCE
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "data/random_ratings.h"
#include "store/scratch.h"

/* ---- kill -9 ---- */

enum { KILLS = 25, PAIRS = 64, ACKS_EACH = 40 };

struct ack {
    int32_t pair;
    uint32_t time;
};

/* On the writer thread of the child: tells the parent that a rating is durable. */
static void acknowledge(void *arg, reel_status status, const char *message) {
    const struct ack ack = {(int32_t)((intptr_t)arg % PAIRS), (uint32_t)((intptr_t)arg)};
    if (status != REEL_OK) {
        fprintf(stderr, "a rating was refused: %s\n", message);
        _exit(1);
    }
    if (write(STDOUT_FILENO, &ack, sizeof ack) != (ssize_t)sizeof ack) _exit(0);
}

/* Rates PAIRS pairs of user and movie over and over, the time counting up, until it is killed. */
static void run_writer(const char *path, uint32_t first) {
    struct store *store = open_store(path);
    alarm(120); /* should the parent be gone */
    for (uint32_t time = first;; time++) {
        const struct store_rating rating = rating_of((int32_t)(time % PAIRS) / 8, 1 + (int)(time % 10), time);
        reel_status status;
        do {
            status = store_rate(store, (int32_t)(time % 8), rating, acknowledge, (void *)(intptr_t)time, NULL);
            if (status == REEL_BUSY) usleep(100);
        } while (status == REEL_BUSY);
    }
}

static pid_t start_self(const char *what, const char *path, uint32_t number, int out) {
    pid_t child = fork();
    if (child != 0) return child;
    char text[16];
    snprintf(text, sizeof text, "%u", number);
    if (out >= 0) dup2(out, STDOUT_FILENO);
    execl("/proc/self/exe", "test_store_faults", what, path, text, (char *)NULL);
    _exit(127);
}

/* Reads acknowledgements until `enough`, then kills the child and reads what it had still written. */
static void collect_acks(int in, pid_t child, int enough, uint32_t newest[PAIRS], uint32_t *last) {
    struct ack ack;
    for (int n = 0; read(in, &ack, sizeof ack) == (ssize_t)sizeof ack; n++) {
        newest[ack.pair] = ack.time;
        if (ack.time > *last) *last = ack.time;
        if (n == enough) kill(child, SIGKILL);
    }
}

static void no_acknowledged_rating_is_lost(void) {
    const char *path = scratch_file("killed.db");
    uint32_t newest[PAIRS] = {0}, last = 0;
    int lost = 0, wrong = 0;
    for (int round = 0; round < KILLS; round++) {
        int ends[2], status;
        if (pipe(ends) != 0) exit(1);
        pid_t child = start_self("writer", path, last + 1, ends[1]);
        close(ends[1]);
        collect_acks(ends[0], child, 1 + (int)(random_word(7, (uint64_t)round) % 2000), newest, &last);
        close(ends[0]);
        waitpid(child, &status, 0);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        struct store *store = open_store(path);
        for (int pair = 0; pair < PAIRS; pair++) {
            struct store_rating ratings[PAIRS];
            int64_t n = store_user_ratings(store, pair % 8, ratings, PAIRS), found = 0;
            for (int64_t i = 0; i < n; i++) {
                if (ratings[i].movie_id != pair / 8) continue;
                found = ratings[i].time;
                wrong += ratings[i].half_stars != 1 + ratings[i].time % 10;
                if (ratings[i].time > last) last = ratings[i].time; /* durable, but not acknowledged in time */
            }
            lost += found < newest[pair];
        }
        store_close(store);
    }
    CHECK_INT(lost, 0);
    CHECK_INT(wrong, 0);
    CHECK(last > KILLS * ACKS_EACH);
}

/* ---- many threads ---- */

enum { WRITERS = 4, READERS = 2, EACH = 2000, USERS = 50 };

struct crowd {
    struct store *store;
    _Atomic int next, done, failed, stop, torn;
};

static void count_done(void *arg, reel_status status, const char *message) {
    struct crowd *crowd = arg;
    (void)message;
    atomic_fetch_add(status == REEL_OK ? &crowd->done : &crowd->failed, 1);
}

static void *write_many(void *arg) {
    struct crowd *crowd = arg;
    int writer = atomic_fetch_add(&crowd->next, 1);
    for (int i = 0; i < EACH; i++) {
        const struct store_rating rating = rating_of(writer * EACH + i, 1 + i % 10, (uint32_t)i % 10);
        while (store_rate(crowd->store, i % USERS, rating, count_done, crowd, NULL) == REEL_BUSY) usleep(100);
    }
    return NULL;
}

static void *read_many(void *arg) {
    struct crowd *crowd = arg;
    struct store_rating *ratings = calloc((size_t)WRITERS * EACH, sizeof *ratings);
    for (int32_t user = 0; ratings && !atomic_load(&crowd->stop); user = (user + 1) % USERS) {
        uint64_t version = store_user_version(crowd->store, user);
        int64_t n = store_user_ratings(crowd->store, user, ratings, WRITERS * EACH);
        if (version == 0 && n == 0) continue;
        for (int64_t i = 0; i < n; i++)
            if (ratings[i].half_stars != ratings[i].time + 1 || (i && ratings[i].movie_id <= ratings[i - 1].movie_id))
                atomic_fetch_add(&crowd->torn, 1);
    }
    free(ratings);
    return NULL;
}

static void many_threads_write_and_read(void) {
    struct crowd crowd = {.store = open_store(scratch_file("crowd.db"))};
    pthread_t threads[WRITERS + READERS];
    reel_error err;
    struct store_job *jobs;
    int64_t id;
    int n;
    for (int i = 0; i < WRITERS + READERS; i++)
        pthread_create(&threads[i], NULL, i < WRITERS ? write_many : read_many, &crowd);
    while (atomic_load(&crowd.done) + atomic_load(&crowd.failed) < WRITERS * EACH) {
        CHECK_INT(store_job_insert(crowd.store, "cv", 0, "{}", &id, &err), REEL_OK);
        CHECK_INT(store_jobs(crowd.store, 3, &jobs, &n, &err), REEL_OK);
        store_jobs_free(jobs, n);
        usleep(2000);
    }
    atomic_store(&crowd.stop, 1);
    for (int i = 0; i < WRITERS + READERS; i++) pthread_join(threads[i], NULL);
    CHECK_INT(crowd.failed, 0);
    CHECK_INT(crowd.torn, 0);
    struct store_rating none;
    int64_t sum = 0;
    for (int32_t user = 0; user < USERS; user++) sum += store_user_ratings(crowd.store, user, &none, 1);
    CHECK_INT(sum, WRITERS * EACH);
    store_close(crowd.store);
}

/* ---- locks of others ---- */

static sqlite3 *lock_file(const char *path, const char *how) {
    sqlite3 *db;
    if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, how, NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", how, sqlite3_errmsg(db));
        exit(1);
    }
    return db;
}

static void a_locked_store_says_so(void) {
    const char *path = scratch_file("locked.db");
    struct store *store = open_store(path), *second;
    struct store_rating rating;
    reel_error err;
    CHECK_INT(store_rate_wait(store, 1, rating_of(2, 3, 4), &err), REEL_OK);
    sqlite3 *other = lock_file(path, "BEGIN IMMEDIATE; INSERT INTO meta VALUES('other', 'x')");
    CHECK_INT(store_rate_wait(store, 1, rating_of(2, 5, 6), &err), REEL_BUSY);
    CHECK(strstr(err.message, "locked.db: another program holds the store locked") != NULL);
    CHECK_INT(store_user_ratings(store, 1, &rating, 1), 1);
    CHECK_INT(rating.half_stars, 3);
    sqlite3_close(other); /* rolls back */
    CHECK_INT(store_rate_wait(store, 1, rating_of(2, 5, 6), &err), REEL_OK);
    store_close(store);
    other = lock_file(path, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; INSERT INTO meta VALUES('other', 'x')");
    CHECK_INT(store_open(path, 0, &second, &err), REEL_BUSY);
    CHECK(strstr(err.message, "locked.db") != NULL);
    sqlite3_close(other);
}

/* ---- disks ---- */

/* Rates until a write fails; returns how many were acknowledged. */
static int rate_until_full(struct store *store, int32_t user, reel_error *err) {
    int n = 0;
    while (n < 1000000 && store_rate_wait(store, user, rating_of(n, 1 + n % 10, (uint32_t)n), err) == REEL_OK) n++;
    return n;
}

static int64_t count_ratings(const struct store *store, int32_t user) {
    return store_user_ratings(store, user, NULL, 0);
}

/* A limit on the size of files stands in for a disk that fills up; needs no privileges. */
static void run_limited(const char *path) {
    struct store *store = open_store(path);
    struct store_job job;
    reel_error err = {0};
    int64_t id;
    const struct rlimit limit = {400000, 400000};
    CHECK_INT(store_job_insert(store, "cv", 0, "{}", &id, &err), REEL_OK);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    int n = rate_until_full(store, 1, &err);
    CHECK(n > 10 && n < 1000000);
    CHECK_INT(err.status, REEL_IO);
    CHECK(strstr(err.message, path) != NULL);
    for (int i = 0; i < 3; i++) CHECK_INT(store_rate_wait(store, 2, rating_of(i, 1, 1), &err), REEL_IO);
    CHECK_INT(count_ratings(store, 1), n);
    CHECK_INT(count_ratings(store, 2), 0);
    CHECK_INT(store_job_get(store, id, &job, &err), REEL_OK);
    store_job_clear(&job);
    store_close(store);
    exit(test_failures ? 1 : n > 250 ? 250 : n);
}

static void a_file_that_cannot_grow_keeps_what_it_has(void) {
    const char *path = scratch_file("limited.db");
    int status;
    waitpid(start_self("limited", path, 0, -1), &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) > 10);
    struct store *store = open_store(path);
    CHECK(count_ratings(store, 1) >= WEXITSTATUS(status));
    CHECK_INT(count_ratings(store, 2), 0);
    CHECK_INT(store_rate_wait(store, 2, rating_of(1, 1, 1), NULL), REEL_OK);
    store_close(store);
}

/* Fills the disk with a file of zeros. */
static void fill_disk(const char *path) {
    static const char zeros[4096];
    FILE *file = fopen(path, "wb");
    while (file && fwrite(zeros, 1, sizeof zeros, file) == sizeof zeros && fflush(file) == 0) continue;
    if (file) fclose(file);
}

static void check_full_disk(const char *path, const char *filler) {
    struct store *store = open_store(path);
    reel_error err = {0};
    int64_t id;
    CHECK_INT(store_rate_wait(store, 5, rating_of(1, 1, 1), &err), REEL_OK);
    fill_disk(filler);
    int n = rate_until_full(store, 1, &err);
    CHECK_INT(err.status, REEL_IO);
    CHECK(strstr(err.message, "the disk is full; nothing was stored") != NULL);
    CHECK_INT(store_job_insert(store, "cv", 0, "{}", &id, &err), REEL_IO);
    CHECK_INT(count_ratings(store, 1), n);
    CHECK_INT(count_ratings(store, 5), 1);
    unlink(filler);
    CHECK_INT(store_rate_wait(store, 5, rating_of(2, 2, 2), &err), REEL_OK); /* room again: it goes on */
    CHECK_INT(store_job_insert(store, "cv", 0, "{}", &id, &err), REEL_OK);
    store_close(store);
    store = open_store(path);
    CHECK_INT(count_ratings(store, 1), n);
    CHECK_INT(count_ratings(store, 5), 2);
    store_close(store);
}

static void check_read_only_disk(const char *path) {
    struct store *store;
    struct store_job *jobs;
    reel_error err = {0};
    int n;
    for (int read_only = 0; read_only < 2; read_only++) {
        REQUIRE_OK(store_open(path, read_only, &store, &err), err);
        CHECK(!store_writable(store));
        CHECK_INT(count_ratings(store, 5), 2);
        CHECK_INT(store_jobs(store, 0, &jobs, &n, &err), REEL_OK);
        CHECK_INT(n, 1);
        store_jobs_free(jobs, n);
        reel_status refusal = read_only ? REEL_UNSUPPORTED : REEL_IO;
        CHECK_INT(store_rate_wait(store, 5, rating_of(3, 3, 3), &err), refusal);
        CHECK(strstr(err.message, read_only ? "opened for reading only" : "read-only") != NULL);
        CHECK_INT(store_claim(store, &err), refusal);
        CHECK_INT(store_job_progress(store, 1, "{}", &err), refusal);
        store_close(store);
    }
    CHECK_INT(store_open(scratch_file("disk/new.db"), 0, &store, &err), REEL_IO);
    CHECK(strstr(err.message, "disk/new.db") != NULL);
}

/* In a process with mounts of its own. */
static void run_disks(const char *dir) {
    char path[512], filler[512];
    snprintf(path, sizeof path, "%s/store.db", dir);
    snprintf(filler, sizeof filler, "%s/filler", dir);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", dir, "tmpfs", 0, "size=2m") != 0)
        exit(77);
    check_full_disk(path, filler);
    if (mount("tmpfs", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=2m") != 0) {
        fprintf(stderr, "remounting: %s\n", strerror(errno));
        exit(1);
    }
    check_read_only_disk(path);
    exit(test_failures ? 1 : 0);
}

static void full_and_read_only_disks(void) {
    int status;
    mkdir(scratch_file("disk"), 0700);
    waitpid(start_self("disks", scratch_file("disk"), 0, -1), &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        SKIP("full_and_read_only_disks", "mounting a file system is not allowed here");
        return;
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- no memory ---- */

static sqlite3_mem_methods plain;
static atomic_long allocations, fail_at;

static int shall_fail(void) {
    long number = atomic_fetch_add(&allocations, 1) + 1, at = atomic_load(&fail_at);
    return at > 0 && number >= at;
}
static void *failing_malloc(int size) {
    return shall_fail() ? NULL : plain.xMalloc(size);
}
static void *failing_realloc(void *pointer, int size) {
    return shall_fail() ? NULL : plain.xRealloc(pointer, size);
}

static void use_failing_memory(void) {
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain);
    sqlite3_mem_methods methods = plain;
    methods.xMalloc = failing_malloc;
    methods.xRealloc = failing_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
    /* Its allocations shall come one by one. */
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
}

/* Opens, writes, lists; the first failure is the result. */
static reel_status use_store(const char *path, int *acknowledged, reel_error *err) {
    struct store *store;
    struct store_job *jobs = NULL;
    int64_t id;
    int n = 0, started;
    *acknowledged = 0;
    reel_status status = store_open(path, 0, &store, err);
    if (status != REEL_OK) return status;
    status = store_rate_wait(store, 1, rating_of(1, 1, 1), err);
    *acknowledged = status == REEL_OK;
    if (status == REEL_OK) status = store_job_insert(store, "cv", 0, "{}", &id, err);
    if (status == REEL_OK) status = store_job_start(store, id, &started, err);
    if (status == REEL_OK) status = store_job_progress(store, id, "{}", err);
    if (status == REEL_OK) status = store_job_finish(store, id, "done", "{}", NULL, err);
    if (status == REEL_OK) status = store_jobs(store, 0, &jobs, &n, err);
    store_jobs_free(jobs, n);
    store_close(store);
    return status;
}

static void sqlite_without_memory_is_a_clean_error(void) {
    int acknowledged, sweeps = 0, other = 0, lost = 0;
    reel_error err = {0};
    for (long at = 1;; at += 1 + at / 15, sweeps++) {
        char name[32];
        snprintf(name, sizeof name, "memory-%ld.db", at);
        atomic_store(&allocations, 0);
        atomic_store(&fail_at, at);
        reel_status status = use_store(scratch_file(name), &acknowledged, &err);
        atomic_store(&fail_at, 0);
        if (status == REEL_OK) break;
        /* SQLite may call a failed allocation an I/O error while it opens files. */
        other += status != REEL_NO_MEMORY && status != REEL_IO;
        if (status != REEL_NO_MEMORY && status != REEL_IO) CHECK_STR(err.message, "out of memory");
        struct store *store = open_store(scratch_file(name));
        lost += acknowledged && count_ratings(store, 1) != 1;
        store_close(store);
    }
    CHECK(sweeps > 50);
    CHECK_INT(other, 0);
    CHECK_INT(lost, 0);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "writer") == 0) run_writer(argv[2], (uint32_t)strtoul(argv[3], NULL, 10));
    if (argc == 4 && strcmp(argv[1], "limited") == 0) run_limited(argv[2]);
    setenv("REEL_TEST_DIR", scratch_dir(), 1);
    if (argc == 4 && strcmp(argv[1], "disks") == 0) run_disks(argv[2]);
    use_failing_memory();
    RUN(no_acknowledged_rating_is_lost);
    RUN(many_threads_write_and_read);
    RUN(a_locked_store_says_so);
    RUN(a_file_that_cannot_grow_keeps_what_it_has);
    RUN(full_and_read_only_disks);
    RUN(sqlite_without_memory_is_a_clean_error);
    remove_tree(scratch_dir());
    TEST_EXIT();
}
