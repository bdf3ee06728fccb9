/* Jobs of the scheduler. All of them touch the store's file, so all are done by workers. */
#include <stdint.h>
#include <string.h>

#include "core/error.h"
#include "serve/deferred.h"
#include "serve/job_schema.h"
#include "serve/json_schema.h"
#include "serve/routes.h"
#include "serve/schemas.h"

struct job_work {
    struct deferred deferred;
    int64_t id, limit;
};

static struct scheduler *scheduler_of(const struct deferred *deferred) {
    return request_service(deferred->work.request)->scheduler;
}

/* Queues `make`; NULL = a problem has been set. */
static struct job_work *job_work_new(struct request *request,
                                     reel_status (*make)(struct deferred *, struct strbuf *, reel_error *)) {
    if (request_service(request)->scheduler) return deferred_new(request, sizeof(struct job_work), NULL, make);
    request_problem(request, 403, "the service was started without a store: it runs no jobs");
    return NULL;
}

/* ---- GET /api/v1/jobs ---- */

static reel_status make_jobs(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    json_t *jobs = scheduler_jobs(scheduler_of(deferred), (int)((struct job_work *)deferred)->limit, err);
    if (!jobs) return err->status;
    return json_into(out, json_pack("{s:o}", "jobs", jobs), err);
}

static enum request_outcome get_jobs(struct request *request) {
    int64_t limit = 100;
    if (request_query_int(request, "limit", 1, 1000, &limit) < 0) return REQUEST_DONE;
    struct job_work *work = job_work_new(request, make_jobs);
    if (!work) return REQUEST_DONE;
    work->limit = limit;
    return deferred_submit(work);
}

/* ---- GET, DELETE /api/v1/jobs/{number} ---- */

static reel_status make_job(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    json_t *job = scheduler_job(scheduler_of(deferred), ((struct job_work *)deferred)->id, err);
    return job ? json_into(out, job, err) : err->status;
}

static reel_status make_cancel(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    reel_status status = scheduler_cancel(scheduler_of(deferred), ((struct job_work *)deferred)->id, err);
    if (status == REEL_INVALID_ARGUMENT) request_problem(deferred->work.request, 409, "the job has ended already");
    return status == REEL_OK ? make_job(deferred, out, err) : status;
}

static enum request_outcome for_job(struct request *request,
                                    reel_status (*make)(struct deferred *, struct strbuf *, reel_error *)) {
    int64_t id;
    if (request_path_int(request, "number", &id) < 1) return REQUEST_DONE;
    struct job_work *work = job_work_new(request, make);
    if (!work) return REQUEST_DONE;
    work->id = id;
    return deferred_submit(work);
}

static enum request_outcome get_job(struct request *request) {
    return for_job(request, make_job);
}

static enum request_outcome delete_job(struct request *request) {
    return for_job(request, make_cancel);
}

/* ---- POST /api/v1/jobs ---- */

/* A copy of the body as the scheduler wants it: integers without a point. */
static json_t *job_spec_of(const json_t *body) {
    static const char *const integers[] = {"seed", "priority", "folds", "k", "n", "min_ratings", "max_ratings"};
    json_t *spec = json_copy((json_t *)(uintptr_t)body);
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
        const json_t *value = json_object_get(body, integers[i]);
        if (json_is_real(value)) json_object_set_new(spec, integers[i], json_integer(json_as_int(value)));
    }
    return spec;
}

static reel_status make_submit(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    struct job_work *work = (struct job_work *)deferred;
    json_t *spec = job_spec_of(request_json(deferred->work.request));
    if (!spec) return error_no_memory(err, 0);
    reel_status status = scheduler_submit(scheduler_of(deferred), spec, &work->id, err);
    json_decref(spec);
    /* The schema lets nothing else through: what is left are combinations that the trainer refuses. */
    if (status == REEL_BAD_INPUT || status == REEL_INVALID_ARGUMENT)
        request_problem(deferred->work.request, 409, "%s", err->message);
    return status == REEL_OK ? make_job(deferred, out, err) : status;
}

/* clang-format off */
/* Longer than what a C99 compiler must take; both that this is built with do. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverlength-strings"
static const char job_body[] = JOB_SCHEMA;
#pragma GCC diagnostic pop
#define JOB_ANSWER                                                                                               \
    JSON({"type":"object","required":["id","kind","state","priority","spec","created","attempts"],"properties":{ \
    "id":{"type":"integer","minimum":0},"kind":{"type":"string","enum":["train","cv","cluster","precompute"]},   \
    "state":{"type":"string","enum":["queued","running","done","failed","cancelled"]},"priority":{"type":"integer"}, \
    "spec":{"type":"object"},"progress":{"type":["object","null"]},"result":{"type":["object","null"]},          \
    "error":{"type":["string","null"]},"created":{"type":"integer"},"started":{"type":["integer","null"]},       \
    "finished":{"type":["integer","null"]},"attempts":{"type":"integer"}}})
/* clang-format on */

static enum request_outcome post_job(struct request *request) {
    if (!request_body_fits(request, job_body)) return REQUEST_DONE;
    const json_t *body = request_json(request);
    const char *kind = json_string_value(json_object_get(body, "kind"));
    const char *model = json_string_value(json_object_get(body, "model"));
    if (strcmp(kind, "precompute") == 0 && !request_model(request, model)) return REQUEST_DONE;
    struct job_work *work = job_work_new(request, make_submit);
    return work ? deferred_submit(work) : REQUEST_DONE;
}

/* clang-format off */
const struct route route_jobs = {
    .method = HTTP_GET,
    .pattern = "/api/v1/jobs",
    .handle = get_jobs,
    .summary = "Jobs, newest first, with state, progress and result",
    .parameters = (const struct parameter[]){
        {"limit", "query", JSON({"type":"integer","minimum":1,"maximum":1000,"default":100}), "how many"}, {0}},
    .answer = SCHEMA_OBJECT(JSON("jobs"), JSON("jobs":) SCHEMA_LIST(JOB_ANSWER)),
    .problems = "400 403",
};

const struct route route_job_submit = {
    .method = HTTP_POST,
    .pattern = "/api/v1/jobs",
    .handle = post_job,
    .access = ACCESS_ADMIN,
    .summary = "Queues a job: train a model (loaded when done), cross-validate, cluster, or precompute suggestions",
    .body = job_body,
    .answer = JOB_ANSWER,
    .problems = "400 404 409 413 415",
};

const struct route route_job = {
    .method = HTTP_GET,
    .pattern = "/api/v1/jobs/{number}",
    .handle = get_job,
    .summary = "One job",
    .parameters = (const struct parameter[]){{"number", "path", SCHEMA_PATH_ID, "the job's id"}, {0}},
    .answer = JOB_ANSWER,
    .problems = "400 403 404",
};

const struct route route_job_cancel = {
    .method = HTTP_DELETE,
    .pattern = "/api/v1/jobs/{number}",
    .handle = delete_job,
    .access = ACCESS_ADMIN,
    .summary = "Cancels a queued or running job; a running one stops at its next safe point",
    .parameters = (const struct parameter[]){{"number", "path", SCHEMA_PATH_ID, "the job's id"}, {0}},
    .answer = JOB_ANSWER,
    .problems = "400 404 409",
};
/* clang-format on */
