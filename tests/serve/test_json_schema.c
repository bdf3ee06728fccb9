/* The schema checker, keyword by keyword, and every schema of the service. */
#include "test.h"

#include "serve/json_schema.h"
#include "serve/routes.h"

static char reason[300];

static enum schema_verdict check(const char *schema, const char *value) {
    json_t *parsed = json_loads(value, JSON_DECODE_ANY, NULL);
    CHECK(parsed != NULL);
    reason[0] = '\0';
    enum schema_verdict verdict = json_schema_check(schema, parsed, reason, sizeof reason);
    json_decref(parsed);
    return verdict;
}

struct row {
    const char *schema, *value;
    enum schema_verdict verdict;
};

static const struct row rows[] = {
    {"{\"type\":\"integer\"}", "3", SCHEMA_OK},
    {"{\"type\":\"integer\"}", "3.0", SCHEMA_OK},
    {"{\"type\":\"integer\"}", "3.5", SCHEMA_BAD_SHAPE},
    {"{\"type\":\"integer\"}", "\"3\"", SCHEMA_BAD_SHAPE},
    {"{\"type\":\"number\"}", "3", SCHEMA_OK},
    {"{\"type\":\"number\"}", "true", SCHEMA_BAD_SHAPE},
    {"{\"type\":\"boolean\"}", "false", SCHEMA_OK},
    {"{\"type\":[\"string\",\"null\"]}", "null", SCHEMA_OK},
    {"{\"type\":[\"string\",\"null\"]}", "1", SCHEMA_BAD_SHAPE},
    {"{\"type\":\"number\",\"minimum\":0.5,\"maximum\":5,\"multipleOf\":0.5}", "4.5", SCHEMA_OK},
    {"{\"type\":\"number\",\"minimum\":0.5,\"maximum\":5,\"multipleOf\":0.5}", "5.5", SCHEMA_OUT_OF_RANGE},
    {"{\"type\":\"number\",\"minimum\":0.5,\"maximum\":5,\"multipleOf\":0.5}", "0", SCHEMA_OUT_OF_RANGE},
    {"{\"type\":\"number\",\"minimum\":0.5,\"maximum\":5,\"multipleOf\":0.5}", "0.7", SCHEMA_OUT_OF_RANGE},
    {"{\"type\":\"string\",\"maxLength\":2}", "\"\xc3\xa9\xc3\xa9\"", SCHEMA_OK},
    {"{\"type\":\"string\",\"maxLength\":2}", "\"abc\"", SCHEMA_BAD_SHAPE},
    {"{\"type\":\"string\",\"minLength\":1}", "\"\"", SCHEMA_BAD_SHAPE},
    {"{\"type\":\"string\",\"pattern\":\"^[a-z0-9_-]{1,32}$\"}", "\"svd-2_x\"", SCHEMA_OK},
    {"{\"type\":\"string\",\"pattern\":\"^[a-z0-9_-]{1,32}$\"}", "\"\"", SCHEMA_BAD_SHAPE},
    {"{\"type\":\"string\",\"pattern\":\"^[a-z0-9_-]{1,32}$\"}", "\"a/b\"", SCHEMA_BAD_SHAPE},
    {"{\"type\":\"string\",\"pattern\":\"^[a-z0-9_-]{1,32}$\"}", "\"abcdefghijklmnopqrstuvwxyz0123456\"",
     SCHEMA_BAD_SHAPE},
    {"{\"enum\":[\"a\",1]}", "1.0", SCHEMA_OK},
    {"{\"enum\":[\"a\",1]}", "\"b\"", SCHEMA_BAD_SHAPE},
    {"{\"const\":\"x\"}", "\"x\"", SCHEMA_OK},
    {"{\"const\":\"x\"}", "\"y\"", SCHEMA_BAD_SHAPE},
    {"{\"type\":\"array\",\"minItems\":1,\"maxItems\":2,\"items\":{\"type\":\"integer\"}}", "[1,2]", SCHEMA_OK},
    {"{\"type\":\"array\",\"minItems\":1,\"maxItems\":2,\"items\":{\"type\":\"integer\"}}", "[]", SCHEMA_BAD_SHAPE},
    {"{\"type\":\"array\",\"minItems\":1,\"maxItems\":2,\"items\":{\"type\":\"integer\"}}", "[1,2,3]",
     SCHEMA_BAD_SHAPE},
    {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", "[1,\"2\"]", SCHEMA_BAD_SHAPE},
    {"{\"type\":\"object\",\"required\":[\"a\"]}", "{\"b\":1}", SCHEMA_BAD_SHAPE},
    {"{\"type\":\"object\",\"properties\":{\"a\":{}},\"additionalProperties\":false}", "{\"a\":1}", SCHEMA_OK},
    {"{\"type\":\"object\",\"properties\":{\"a\":{}},\"additionalProperties\":false}", "{\"b\":1}", SCHEMA_BAD_SHAPE},
    {"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}", "{\"b\":1}", SCHEMA_BAD_SHAPE},
    {"{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}", "\"x\"", SCHEMA_OK},
    {"{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}", "null", SCHEMA_BAD_SHAPE},
    {"{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", "1", SCHEMA_BAD_SHAPE},
};

static void keywords(void) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum schema_verdict verdict = check(rows[i].schema, rows[i].value);
        if (verdict != rows[i].verdict)
            fprintf(stderr, "%s of %s: %d, not %d\n", rows[i].value, rows[i].schema, verdict, rows[i].verdict);
        CHECK(verdict == rows[i].verdict);
        CHECK(verdict == SCHEMA_OK || strlen(reason) > 10);
    }
}

static void reasons_name_the_place(void) {
    CHECK(check(route_rate.body, "{\"movieId\":1,\"rating\":0.7}") == SCHEMA_OUT_OF_RANGE);
    CHECK_STR(reason, "rating must be a multiple of 0.5 (found 0.7)");
    CHECK(check(route_recommend_many.body, "{\"ratings\":[{\"movieId\":1,\"rating\":6}]}") == SCHEMA_OUT_OF_RANGE);
    CHECK_STR(reason, "ratings/0/rating must be 0.5..5 (found 6)");
    CHECK(check(route_recommend_many.body, "{\"users\":[1],\"ratings\":[]}") == SCHEMA_BAD_SHAPE);
    CHECK(check(route_recommend_many.body, "{}") == SCHEMA_BAD_SHAPE);
    CHECK(check(route_job_submit.body,
                "{\"kind\":\"train\",\"algorithm\":\"svd\",\"model\":\"m\",\"params\":{\"fa\":1}}") ==
          SCHEMA_BAD_SHAPE);
    CHECK_STR(reason, "params has an unknown key \"fa\"");
    CHECK(check(route_job_submit.body, "{\"kind\":\"cluster\",\"k\":4}") == SCHEMA_OK);
}

/* A long or binary key of a stranger may not leave the buffer or break the text. */
static void hostile_keys(void) {
    char value[700] = "{\"";
    memset(value + 2, 'k', 500);
    strcpy(value + 502, "\":1}");
    CHECK(check("{\"type\":\"object\",\"additionalProperties\":false}", value) == SCHEMA_BAD_SHAPE);
    CHECK(strlen(reason) < 120);
    CHECK(check("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}", value) == SCHEMA_BAD_SHAPE);
    CHECK(strlen(reason) < 200);
    CHECK(check("{\"type\":\"object\",\"additionalProperties\":false}", "{\"a\\nb\\u0007\":1}") == SCHEMA_BAD_SHAPE);
    CHECK(!strchr(reason, '\n') && !strchr(reason, 7));
}

/* Every schema of the route table is JSON, and routes are told apart by method and pattern. */
static void route_table(void) {
    for (int i = 0; service_routes[i]; i++) {
        const struct route *route = service_routes[i];
        CHECK(route->handle && route->summary && route->pattern[0] == '/');
        const char *const schemas[] = {route->body, route->answer};
        for (int s = 0; s < 2; s++) {
            json_t *schema = schemas[s] ? json_loads(schemas[s], 0, NULL) : json_object();
            if (!schema) fprintf(stderr, "%s: %s\n", route->pattern, schemas[s]);
            CHECK(schema != NULL);
            json_decref(schema);
        }
        for (const struct parameter *p = route->parameters; p && p->name; p++) {
            json_t *schema = json_loads(p->schema, 0, NULL);
            CHECK(schema && p->about && (!strcmp(p->in, "path") || !strcmp(p->in, "query")));
            json_decref(schema);
        }
        for (int j = 0; j < i; j++)
            CHECK(service_routes[j]->method != route->method ||
                  strcmp(service_routes[j]->pattern, route->pattern) != 0);
    }
}

int main(void) {
    RUN(keywords);
    RUN(reasons_name_the_place);
    RUN(hostile_keys);
    RUN(route_table);
    TEST_EXIT();
}
