#include "tests/test.h"

#include "model/model.h"

static const struct param_spec specs[] = {
    {"factors", PARAM_INT, "100", 1, 1024, NULL, "n"},       {"rate", PARAM_REAL, "0.005", 0, 10, NULL, "r"},
    {"rate_pu", PARAM_REAL, "", 0, 10, NULL, "r"},           {"biased", PARAM_BOOL, "true", 0, 1, NULL, "b"},
    {"kind", PARAM_CHOICE, "mean", 0, 0, "mean|median", ""}, {"note", PARAM_TEXT, "none", 0, 0, NULL, ""},
};
enum { N_SPECS = sizeof specs / sizeof specs[0] };

static reel_status parse1(const char *key, const char *value, struct param_values *out, reel_error *err) {
    reel_param param = {key, value};
    return params_parse(specs, N_SPECS, &param, 1, out, err);
}

static void test_defaults(void) {
    struct param_values values;
    reel_error err;
    REQUIRE_OK(params_parse(specs, N_SPECS, NULL, 0, &values, &err), err);
    CHECK_NEAR(params_number(&values, "factors"), 100, 0);
    CHECK_NEAR(params_number(&values, "rate"), 0.005, 0);
    CHECK(isnan(params_number(&values, "rate_pu")));
    CHECK_NEAR(params_number(&values, "biased"), 1, 0);
    CHECK_NEAR(params_number(&values, "kind"), 0, 0);
    CHECK_STR(params_text(&values, "note"), "none");
    CHECK_INT(values.given[0], 0);
}

static void test_given(void) {
    struct param_values values;
    reel_error err;
    REQUIRE_OK(parse1("factors", "1e2", &values, &err), err);
    CHECK_NEAR(params_number(&values, "factors"), 100, 0);
    REQUIRE_OK(parse1("kind", "median", &values, &err), err);
    CHECK_NEAR(params_number(&values, "kind"), 1, 0);
    REQUIRE_OK(parse1("biased", "no", &values, &err), err);
    CHECK_NEAR(params_number(&values, "biased"), 0, 0);
    CHECK_INT(values.given[3], 1);
}

static void test_refused(void) {
    static const char *const bad[][2] = {
        {"factors", "0"}, {"factors", "1025"},     {"factors", "2.5"},  {"factors", ""},     {"factors", "7x"},
        {"rate", "nan"},  {"rate", "inf"},         {"rate", "-0.1"},    {"biased", "maybe"}, {"biased", ""},
        {"kind", "mea"},  {"kind", "mean|median"}, {"factors", "1e999"}};
    struct param_values values;
    reel_error err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_INT(parse1(bad[i][0], bad[i][1], &values, &err), REEL_INVALID_ARGUMENT);
        CHECK(strstr(err.message, bad[i][0]) != NULL);
    }
    CHECK_INT(parse1("facters", "1", &values, &err), REEL_INVALID_ARGUMENT);
    CHECK_STR(err.message, "unknown parameter \"facters\" (known: factors, rate, rate_pu, biased, kind, note)");
}

static void test_round_trip(void) {
    struct param_values values, again;
    struct tensor_set *set;
    reel_error err;
    reel_param params[] = {{"rate", "5.0e-3"}, {"rate_pu", "0.1"}, {"biased", "off"}};
    REQUIRE_OK(params_parse(specs, N_SPECS, params, 3, &values, &err), err);
    REQUIRE_OK(tensor_set_new(&set, &err), err);
    REQUIRE_OK(params_put(&values, set, &err), err);
    CHECK_STR(tensor_set_get(set, "params.rate"), "0.005");
    CHECK_STR(tensor_set_get(set, "params.rate_pu"), "0.1");
    CHECK_STR(tensor_set_get(set, "params.biased"), "false");
    CHECK_STR(tensor_set_get(set, "params.factors"), "100");
    REQUIRE_OK(params_of_set(set, specs, N_SPECS, &again, &err), err);
    for (size_t i = 0; i + 1 < N_SPECS; i++) CHECK(values.number[i] == again.number[i]);
    REQUIRE_OK(tensor_set_put(set, "params.factors", "many", &err), err);
    CHECK_INT(params_of_set(set, specs, N_SPECS, &again, &err), REEL_CORRUPT);
    tensor_set_free(set);
}

static void test_help(void) {
    for (const char *const *name = reel_algorithms(); *name; name++) {
        char *text = reel_algorithm_help(*name);
        CHECK(text && strncmp(text, *name, strlen(*name)) == 0);
        CHECK(algorithm_find(*name) != NULL);
        reel_string_free(text);
        struct param_values values;
        reel_error err;
        const struct algorithm *algorithm = algorithm_find(*name);
        REQUIRE_OK(params_parse(algorithm->params, algorithm->n_params, NULL, 0, &values, &err), err);
    }
    CHECK(reel_algorithm_help("nonsense") == NULL);
    CHECK(algorithm_find("nonsense") == NULL);
}

int main(void) {
    RUN(test_defaults);
    RUN(test_given);
    RUN(test_refused);
    RUN(test_round_trip);
    RUN(test_help);
    TEST_EXIT();
}
