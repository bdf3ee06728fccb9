/* Job specs: what is taken, and the sentence for each thing that is not. */
#include "test.h"

#include "sched/job_cost.h"
#include "sched/job_spec.h"

static reel_status parse(const char *text, struct job_spec *spec, reel_error *err) {
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    CHECK(json != NULL);
    reel_status status = job_spec_parse(json, spec, err);
    json_decref(json);
    return status;
}

static void good_specs_are_read(void) {
    struct job_spec spec;
    reel_error err;
    REQUIRE_OK(parse("{\"kind\":\"train\",\"algorithm\":\"svd\",\"params\":{\"factors\":50,\"learning_rate\":0.01,"
                     "\"biased\":false,\"epochs\":\"7\"},\"seed\":9007199254740992,\"holdout\":0.1,\"split\":\"time\","
                     "\"model\":\"my_svd-2\",\"priority\":-3}",
                     &spec, &err),
               err);
    CHECK_INT(spec.kind, JOB_TRAIN);
    CHECK_STR(spec.model, "my_svd-2");
    CHECK_INT(spec.priority, -3);
    CHECK(spec.seed == (uint64_t)1 << 53);
    CHECK_INT(spec.split, REEL_SPLIT_TIME);
    CHECK_NEAR(spec.holdout, 0.1, 0);
    CHECK_INT(spec.n_params, 4);
    CHECK_STR(spec.params[0].value, "50");
    CHECK_NEAR(strtod(spec.params[1].value, NULL), 0.01, 0);
    CHECK_STR(spec.params[2].value, "false");
    CHECK_STR(spec.params[3].value, "7");
    job_spec_free(&spec);
    REQUIRE_OK(parse("{\"kind\":\"train\",\"algorithm\":\"bias\"}", &spec, &err), err);
    CHECK_STR(spec.model, "bias");
    job_spec_free(&spec);
    REQUIRE_OK(parse("{\"kind\":\"cv\",\"algorithm\":\"mean\",\"folds\":3}", &spec, &err), err);
    CHECK_INT(spec.folds, 3);
    job_spec_free(&spec);
    REQUIRE_OK(parse("{\"kind\":\"cluster\",\"k\":5,\"affinity\":\"cosine\",\"seed\":4}", &spec, &err), err);
    CHECK_INT(spec.cluster.k, 5);
    CHECK_INT(spec.cluster.affinity, REEL_AFFINITY_COSINE);
    CHECK_INT(spec.cluster.seed, 4);
    job_spec_free(&spec);
    REQUIRE_OK(parse("{\"kind\":\"precompute\",\"model\":\"gbdt\"}", &spec, &err), err);
    CHECK_STR(spec.model, "gbdt");
    job_spec_free(&spec);
    REQUIRE_OK(parse("{\"kind\":\"train\",\"algorithm\":\"als\",\"params\":{\"init\":\"old\"},\"model\":\"new\"}",
                     &spec, &err),
               err);
    job_spec_free(&spec);
}

static void bad_specs_are_explained(void) {
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"[]", "must be a JSON object"},
        {"{}", "\"kind\" is missing"},
        {"{\"kind\":\"fly\"}", "\"kind\" must be one of train, cv, cluster, precompute"},
        {"{\"kind\":7}", "\"kind\" must be one of"},
        {"{\"kind\":\"train\"}", "\"algorithm\" is missing"},
        {"{\"kind\":\"train\",\"algorithm\":\"SVD\"}", "\"algorithm\" must be 1 to 32"},
        {"{\"kind\":\"train\",\"algorithm\":\"nope\"}", "there is no algorithm \"nope\" (known: mean, bias"},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\",\"fold\":1}", "unknown field \"fold\" (known: kind"},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\",\"params\":[]}", "\"params\" must be an object"},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\",\"params\":{\"factors\":null}}", "parameter \"factors\" must be"},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\",\"params\":{\"factors\":0}}", "from 1 to 1024 (found \"0\")"},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\",\"params\":{\"factor\":1}}",
         "unknown parameter \"factor\" (known:"},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\",\"holdout\":1}", "\"holdout\" must be a number from 0"},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\",\"holdout\":\"x\"}", "\"holdout\" must be a number from 0"},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\",\"model\":\"../x\"}", "\"model\" must be 1 to 32"},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\",\"model\":\"clusters\"}", "\"model\" cannot be clusters"},
        {"{\"kind\":\"train\",\"algorithm\":\"als\",\"params\":{\"init\":\"/etc/passwd\"}}", "not a path"},
        {"{\"kind\":\"train\",\"algorithm\":\"als\",\"params\":{\"init\":\"als\"}}", "cannot start from itself"},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\",\"seed\":-1}", "\"seed\" must be a whole number from 0"},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\",\"seed\":1.5}", "\"seed\" must be a whole number"},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\",\"priority\":101}", "from -100 to 100"},
        {"{\"kind\":\"cv\",\"algorithm\":\"svd\",\"folds\":1}", "\"folds\" must be a whole number from 2 to 250"},
        {"{\"kind\":\"cv\",\"algorithm\":\"svd\",\"split\":\"none\"}", "\"split\" must be one of random, time"},
        {"{\"kind\":\"cluster\",\"k\":1}", "\"k\" must be a whole number from 2 to 64"},
        {"{\"kind\":\"precompute\"}", "\"model\" is missing"},
        {"{\"kind\":\"precompute\",\"model\":\"m\",\"n\":9}", "unknown field \"n\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct job_spec spec;
        reel_error err = {0};
        CHECK_INT(parse(cases[i].text, &spec, &err), REEL_BAD_INPUT);
        if (!strstr(err.message, cases[i].reason)) CHECK_STR(err.message, cases[i].reason);
        job_spec_free(&spec);
    }
}

/* Peaks of `reel train` and `reel cluster` on 138,493 users, 26,744 movies, 20,000,263 ratings (file 282.5 MiB), in
 * MiB: the estimate lies above each, by less than four fifths. */
static void costs_cover_what_was_measured(void) {
    static const struct {
        const char *text;
        double mib;
    } cases[] = {
        {"{\"kind\":\"train\",\"algorithm\":\"mean\"}", 293},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\"}", 507},
        {"{\"kind\":\"train\",\"algorithm\":\"svd\",\"holdout\":0.1}", 609},
        {"{\"kind\":\"train\",\"algorithm\":\"als\",\"params\":{\"factors\":16}}", 358},
        {"{\"kind\":\"train\",\"algorithm\":\"gbdt\"}", 431},
        {"{\"kind\":\"train\",\"algorithm\":\"forest\"}", 484},
        {"{\"kind\":\"train\",\"algorithm\":\"adaboost\"}", 664},
        {"{\"kind\":\"cluster\"}", 533},
    };
    const struct dataset_size size = {138493, 26744, 20000263, 296232095};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct job_spec spec;
        reel_error err;
        REQUIRE_OK(parse(cases[i].text, &spec, &err), err);
        double mib = (double)job_cost_bytes(&spec, &size) / (1 << 20);
        if (mib < cases[i].mib || mib > 1.8 * cases[i].mib) CHECK_NEAR(mib, 1.4 * cases[i].mib, 0.4 * cases[i].mib);
        job_spec_free(&spec);
    }
    CHECK(memory_available_bytes() > 0);
}

int main(void) {
    RUN(good_specs_are_read);
    RUN(bad_specs_are_explained);
    RUN(costs_cover_what_was_measured);
    TEST_EXIT();
}
