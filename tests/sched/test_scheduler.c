/* The scheduler on real trainings of the embedded data: results, order, memory, cancel, stop, crash and resume. */
#include "test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include <reel/model.h>
#include "sched/scheduler.h"
#include "store/scratch.h"

static const char *dataset_path(void) {
    return scratch_file("ml.reel");
}

static reel_context *new_context(void) {
    reel_context *ctx;
    reel_error err;
    REQUIRE_OK(reel_context_new(NULL, &ctx, &err), err);
    return ctx;
}

static void import_dataset(void) {
    reel_context *ctx = new_context();
    reel_error err;
    REQUIRE_OK(reel_dataset_import(ctx, "data/ml-latest-small", NULL, dataset_path(), NULL, &err), err);
    reel_context_free(ctx);
}

static void nap(void) {
    usleep(2000);
}

/* ---- what the tests need of a scheduler ---- */

struct bench {
    struct store *store;
    struct scheduler *scheduler;
    char models[512];
    pthread_mutex_t gate; /* held: jobs wait in their done callback */
    _Atomic int entered;
    char order[256];
};

static reel_status on_done(void *arg, reel_context *ctx, const char *kind, const char *name, const char *path,
                           reel_error *err) {
    struct bench *bench = arg;
    (void)ctx, (void)path, (void)err;
    atomic_fetch_add(&bench->entered, 1);
    pthread_mutex_lock(&bench->gate);
    size_t used = strlen(bench->order);
    snprintf(bench->order + used, sizeof bench->order - used, "%s:%s ", kind, name);
    pthread_mutex_unlock(&bench->gate);
    return REEL_OK;
}

static void start(struct bench *bench, const char *name, int max_running, int64_t memory_bytes) {
    reel_error err;
    char file[64];
    *bench = (struct bench){.gate = PTHREAD_MUTEX_INITIALIZER};
    snprintf(file, sizeof file, "%s.db", name);
    snprintf(bench->models, sizeof bench->models, "%s/%s-models", scratch_dir(), name);
    bench->store = open_store(scratch_file(file));
    const struct scheduler_options options = {.store = bench->store,
                                              .dataset = dataset_path(),
                                              .models_dir = bench->models,
                                              .device = "cpu",
                                              .threads = 2,
                                              .max_running = max_running,
                                              .memory_bytes = memory_bytes,
                                              .checkpoint_every = 1,
                                              .done = on_done,
                                              .arg = bench};
    REQUIRE_OK(scheduler_new(&options, &bench->scheduler, &err), err);
}

static void stop(struct bench *bench) {
    scheduler_free(bench->scheduler);
    store_close(bench->store);
}

static int64_t submit(struct bench *bench, const char *text) {
    json_t *spec = json_loads(text, 0, NULL);
    reel_error err;
    int64_t id;
    REQUIRE_OK(scheduler_submit(bench->scheduler, spec, &id, &err), err);
    json_decref(spec);
    return id;
}

static void state_of(struct bench *bench, int64_t id, char state[16]) {
    struct store_job job;
    reel_error err;
    REQUIRE_OK(store_job_get(bench->store, id, &job, &err), err);
    memcpy(state, job.state, 16);
    store_job_clear(&job);
}

static void await(struct bench *bench, int64_t id, const char *wanted) {
    char state[16];
    for (state_of(bench, id, state); strcmp(state, wanted) != 0; state_of(bench, id, state)) {
        if (strcmp(state, "failed") == 0 || strcmp(state, "done") == 0 || strcmp(state, "cancelled") == 0) {
            CHECK_STR(state, wanted);
            return;
        }
        nap();
    }
}

static json_t *job_json(struct bench *bench, int64_t id) {
    reel_error err;
    json_t *job = scheduler_job(bench->scheduler, id, &err);
    CHECK(job != NULL);
    return job;
}

static const char *text_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

/* 1 when both files have the same bytes. */
static int same_files(const char *a, const char *b) {
    FILE *files[2] = {fopen(a, "rb"), fopen(b, "rb")};
    int same = files[0] && files[1], left, right;
    do {
        left = same ? fgetc(files[0]) : EOF;
        right = same ? fgetc(files[1]) : EOF;
        same = same && left == right;
    } while (same && left != EOF);
    for (int i = 0; i < 2; i++)
        if (files[i]) fclose(files[i]);
    return same;
}

/* The model as reel_train makes it in one go. */
static void train_reference(const char *epochs, const char *path) {
    const reel_param params[] = {{"factors", "32"}, {"epochs", epochs}};
    reel_context *ctx = new_context();
    reel_train_options options;
    reel_dataset *dataset;
    reel_model *model;
    reel_error err;
    reel_train_options_default(&options);
    options.params = params;
    options.n_params = 2;
    options.seed = 3;
    REQUIRE_OK(reel_dataset_open(ctx, dataset_path(), &dataset, &err), err);
    REQUIRE_OK(reel_train(ctx, dataset, &options, &model, NULL, &err), err);
    REQUIRE_OK(reel_model_save(ctx, model, path, &err), err);
    reel_model_free(model);
    reel_dataset_free(dataset);
    reel_context_free(ctx);
}

#define SVD(epochs, more) \
    "{\"kind\":\"train\",\"algorithm\":\"svd\",\"seed\":3,\"params\":{\"factors\":32,\"epochs\":" epochs "}" more "}"

static const char *model_file(const struct bench *bench, const char *name) {
    static char path[600];
    snprintf(path, sizeof path, "%s/%s.reel", bench->models, name);
    return path;
}

/* ---- tests ---- */

static void every_kind_of_job_runs(void) {
    struct bench bench;
    start(&bench, "kinds", 1, 0);
    int64_t train = submit(&bench, SVD("3", ",\"holdout\":0.1"));
    int64_t cv = submit(&bench, "{\"kind\":\"cv\",\"algorithm\":\"bias\",\"folds\":3}");
    int64_t cluster = submit(&bench, "{\"kind\":\"cluster\",\"k\":3}");
    int64_t precompute = submit(&bench, "{\"kind\":\"precompute\",\"model\":\"svd\"}");
    await(&bench, precompute, "done");
    json_t *job = job_json(&bench, train), *result = json_object_get(job, "result");
    CHECK_STR(text_of(job, "state"), "done");
    CHECK_STR(text_of(json_object_get(job, "spec"), "algorithm"), "svd");
    double rmse = json_number_value(json_object_get(json_object_get(result, "test"), "rmse"));
    CHECK(rmse > 0.8 && rmse < 1.1);
    CHECK(json_integer_value(json_object_get(json_object_get(job, "progress"), "total")) > 0);
    CHECK(json_is_null(json_object_get(job, "error")));
    json_decref(job);
    job = job_json(&bench, cv), result = json_object_get(job, "result");
    CHECK_INT(json_array_size(json_object_get(result, "folds")), 3);
    json_decref(job);
    job = job_json(&bench, cluster), result = json_object_get(job, "result");
    CHECK_INT(json_integer_value(json_object_get(result, "k")), 3);
    json_decref(job);
    CHECK_STR(bench.order, "train:svd cluster:clusters precompute:svd ");
    CHECK(access(model_file(&bench, "svd"), R_OK) == 0);
    CHECK(access(model_file(&bench, "clusters"), R_OK) == 0);
    json_t *jobs = scheduler_jobs(bench.scheduler, 2, NULL);
    CHECK_INT(json_array_size(jobs), 2);
    CHECK_INT(json_integer_value(json_object_get(json_array_get(jobs, 0), "id")), precompute);
    json_decref(jobs);
    reel_error err;
    CHECK(scheduler_job(bench.scheduler, 99, &err) == NULL);
    CHECK_INT(err.status, REEL_NOT_FOUND);
    json_t *bad = json_loads("{\"kind\":\"nap\"}", 0, NULL);
    int64_t id;
    CHECK_INT(scheduler_submit(bench.scheduler, bad, &id, &err), REEL_BAD_INPUT);
    json_decref(bad);
    stop(&bench);
}

static void jobs_wait_by_priority(void) {
    struct bench bench;
    start(&bench, "order", 1, 0);
    pthread_mutex_lock(&bench.gate);
    int64_t first = submit(&bench, "{\"kind\":\"train\",\"algorithm\":\"mean\",\"model\":\"first\"}");
    while (!atomic_load(&bench.entered)) nap();
    submit(&bench, "{\"kind\":\"train\",\"algorithm\":\"mean\",\"model\":\"low\",\"priority\":-1}");
    submit(&bench, "{\"kind\":\"train\",\"algorithm\":\"mean\",\"model\":\"b\"}");
    submit(&bench, "{\"kind\":\"train\",\"algorithm\":\"mean\",\"model\":\"c\"}");
    submit(&bench, "{\"kind\":\"train\",\"algorithm\":\"mean\",\"model\":\"high\",\"priority\":1}");
    int64_t dropped = submit(&bench, "{\"kind\":\"train\",\"algorithm\":\"mean\",\"model\":\"dropped\"}");
    CHECK_INT(scheduler_queued(bench.scheduler), 5);
    CHECK_INT(scheduler_cancel(bench.scheduler, dropped, NULL), REEL_OK);
    pthread_mutex_unlock(&bench.gate);
    while (scheduler_queued(bench.scheduler) || atomic_load(&bench.entered) < 5) nap();
    await(&bench, first, "done");
    stop(&bench);
    CHECK_STR(bench.order, "train:first train:high train:b train:c train:low ");
}

static void failures_say_why(void) {
    struct bench bench;
    start(&bench, "small", 1, (int64_t)8 << 20);
    int64_t id = submit(&bench, SVD("3", ""));
    await(&bench, id, "failed");
    json_t *job = job_json(&bench, id);
    const char *error = text_of(job, "error");
    CHECK(error && strstr(error, "the job needs about ") && strstr(error, "but the limit is 8 MiB"));
    json_decref(job);
    stop(&bench);
    start(&bench, "missing", 1, 0);
    id = submit(&bench, "{\"kind\":\"train\",\"algorithm\":\"als\",\"params\":{\"init\":\"ghost\"}}");
    await(&bench, id, "failed");
    job = job_json(&bench, id);
    error = text_of(job, "error");
    CHECK(error && strstr(error, "ghost.reel"));
    json_decref(job);
    stop(&bench);
}

/* Two workers, but memory for one job: the second one starts when the first has ended. */
static void memory_holds_jobs_back(void) {
    struct bench bench;
    char state[16];
    start(&bench, "memory", 2, (int64_t)100 << 20);
    pthread_mutex_lock(&bench.gate);
    int64_t first = submit(&bench, SVD("1", ",\"model\":\"m1\""));
    while (!atomic_load(&bench.entered)) nap();
    int64_t second = submit(&bench, SVD("1", ",\"model\":\"m2\""));
    for (int i = 0; i < 400; i++) nap(); /* longer than the watcher's interval: the job was looked at */
    state_of(&bench, second, state);
    CHECK_STR(state, "queued");
    pthread_mutex_unlock(&bench.gate);
    await(&bench, second, "done");
    await(&bench, first, "done");
    stop(&bench);
    start(&bench, "memory", 2, 0); /* with room for both they run side by side */
    pthread_mutex_lock(&bench.gate);
    first = submit(&bench, SVD("1", ",\"model\":\"m1\""));
    second = submit(&bench, SVD("1", ",\"model\":\"m2\""));
    while (atomic_load(&bench.entered) < 2) nap();
    pthread_mutex_unlock(&bench.gate);
    await(&bench, first, "done");
    await(&bench, second, "done");
    stop(&bench);
}

static void running_jobs_can_be_cancelled(void) {
    struct bench bench;
    char dir[600];
    reel_error err;
    start(&bench, "cancel", 1, 0);
    for (int by_store = 0; by_store < 2; by_store++) {
        int64_t id = submit(&bench, SVD("100000", ""));
        await(&bench, id, "running");
        if (by_store) { /* as another process does */
            struct store *other = open_store(scratch_file("cancel.db"));
            CHECK_INT(store_job_cancel(other, id, &err), REEL_OK);
            store_close(other);
        } else {
            CHECK_INT(scheduler_cancel(bench.scheduler, id, &err), REEL_OK);
        }
        await(&bench, id, "cancelled");
        CHECK_INT(scheduler_cancel(bench.scheduler, id, &err), REEL_INVALID_ARGUMENT);
        snprintf(dir, sizeof dir, "%s/job-%d", bench.models, (int)id);
        for (int i = 0; i < 1000 && access(dir, F_OK) == 0; i++) nap();
        CHECK(access(dir, F_OK) != 0);
    }
    CHECK(access(model_file(&bench, "svd"), F_OK) != 0);
    CHECK_INT(scheduler_cancel(bench.scheduler, 99, &err), REEL_NOT_FOUND);
    stop(&bench);
}

/* Jobs that another process put into the store are found. */
static void jobs_from_outside_are_run(void) {
    struct bench bench;
    reel_error err;
    int64_t id;
    start(&bench, "outside", 1, 0);
    struct store *other = open_store(scratch_file("outside.db"));
    json_t *spec = json_loads("{\"kind\":\"train\",\"algorithm\":\"mean\"}", 0, NULL);
    REQUIRE_OK(scheduler_store_job(other, spec, &id, &err), err);
    json_decref(spec);
    await(&bench, id, "done");
    struct scheduler *second;
    const struct scheduler_options options = {.store = other, .dataset = dataset_path(), .models_dir = bench.models};
    CHECK_INT(scheduler_new(&options, &second, &err), REEL_BUSY);
    store_close(other);
    stop(&bench);
}

static void await_checkpoint(const struct bench *bench, int generation) {
    char path[600];
    snprintf(path, sizeof path, "%s/job-1/checkpoint-%d.reel", bench->models, generation);
    while (access(path, F_OK) != 0) nap();
}

static void a_stopped_job_goes_on_later(void) {
    struct bench bench;
    struct store_job job;
    start(&bench, "stop", 1, 0);
    submit(&bench, SVD("60", ""));
    await_checkpoint(&bench, 0);
    stop(&bench);
    start(&bench, "stop", 1, 0);
    await(&bench, 1, "done");
    CHECK_INT(store_job_get(bench.store, 1, &job, NULL), REEL_OK);
    CHECK_INT(job.attempts, 1); /* being stopped is no failure */
    store_job_clear(&job);
    train_reference("60", scratch_file("stop-reference.reel"));
    CHECK(same_files(model_file(&bench, "svd"), scratch_file("stop-reference.reel")));
    stop(&bench);
}

/* The child process of the next test: trains until it is killed. */
static void run_child(const char *dir) {
    struct bench bench;
    alarm(250); /* should the parent be gone */
    setenv("REEL_TEST_DIR", dir, 1);
    start(&bench, "crash", 1, 0);
    submit(&bench, SVD("60", ""));
    for (;;) pause();
}

static void a_killed_job_ends_with_the_same_bits(void) {
    struct bench bench = {0};
    struct store_job job;
    snprintf(bench.models, sizeof bench.models, "%s/crash-models", scratch_dir());
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "test_scheduler", scratch_dir(), (char *)NULL);
        _exit(127);
    }
    await_checkpoint(&bench, 1);
    kill(child, SIGKILL);
    int status;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status));
    CHECK(access(model_file(&bench, "svd"), F_OK) != 0);
    struct store *store = open_store(scratch_file("crash.db"));
    CHECK_INT(store_job_get(store, 1, &job, NULL), REEL_OK);
    CHECK_STR(job.state, "running");
    store_job_clear(&job);
    store_close(store);
    start(&bench, "crash", 1, 0);
    await(&bench, 1, "done");
    CHECK_INT(store_job_get(bench.store, 1, &job, NULL), REEL_OK);
    CHECK_INT(job.attempts, 2);
    store_job_clear(&job);
    train_reference("60", scratch_file("reference.reel"));
    CHECK(same_files(model_file(&bench, "svd"), scratch_file("reference.reel")));
    stop(&bench);
}

int main(int argc, char **argv) {
    if (argc == 2) run_child(argv[1]);
    import_dataset();
    RUN(every_kind_of_job_runs);
    RUN(jobs_wait_by_priority);
    RUN(failures_say_why);
    RUN(memory_holds_jobs_back);
    RUN(running_jobs_can_be_cancelled);
    RUN(jobs_from_outside_are_run);
    RUN(a_stopped_job_goes_on_later);
    RUN(a_killed_job_ends_with_the_same_bits);
    remove_tree(scratch_dir());
    TEST_EXIT();
}
