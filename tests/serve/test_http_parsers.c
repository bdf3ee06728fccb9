/* Request targets, routes and tokens, as functions. */
#include "tests/test.h"

#include "serve/auth.h"
#include "serve/router.h"
#include "serve/target.h"

static const char *parse(const char *text, struct target *target) {
    static char buffer[1024];
    snprintf(buffer, sizeof buffer, "%s", text);
    return target_parse(buffer, target);
}

static void targets_are_split_and_decoded(void) {
    struct target target;
    CHECK(parse("/a%20b/c%2Fd/?x=1+2&y=%C3%A9&z&w=", &target) == NULL);
    CHECK_INT(target.n_segments, 2);
    CHECK_STR(target.segments[0], "a b");
    CHECK_STR(target.segments[1], "c/d");
    CHECK_INT(target.n_query, 4);
    CHECK_STR(target.query[0].value, "1 2");
    CHECK_STR(target.query[1].value, "\xc3\xa9");
    CHECK_STR(target.query[2].value, "");
    CHECK(parse("/", &target) == NULL);
    CHECK_INT(target.n_segments, 0);
    CHECK(parse("//x", &target) == NULL);
    CHECK_INT(target.n_segments, 2);
}

static void bad_targets_are_refused(void) {
    static const char *const bad[] = {"",
                                      "a",
                                      "*",
                                      "http://x/",
                                      "/a#b",
                                      "/a b",
                                      "/\t",
                                      "/\xc3\xa9",
                                      "/%",
                                      "/%4",
                                      "/%4g",
                                      "/%00",
                                      "/%c0%af",
                                      "/%ff",
                                      "/%ed%a0%80",
                                      "/%f4%90%80%80",
                                      "/?a=1&a=2",
                                      "/?a=%",
                                      "/?%zz=1",
                                      "/%e0%80%af",
                                      "/%f8%88%80%80%80"};
    struct target target;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (!parse(bad[i], &target)) fprintf(stderr, "accepted: %s\n", bad[i]);
        CHECK(parse(bad[i], &target) != NULL);
    }
    char many[600] = "/?";
    for (int i = 0; i <= TARGET_QUERY_MAX; i++) snprintf(many + strlen(many), 16, "a%d=&", i);
    CHECK(parse(many, &target) != NULL);
}

static void integers(void) {
    long long value = 0;
    CHECK(target_integer("0", &value) && value == 0);
    CHECK(target_integer("-7", &value) && value == -7);
    CHECK(target_integer("7.0", &value) && value == 7);
    CHECK(target_integer("9007199254740992", &value) && value == 1LL << 53);
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1x",
                                      "1e3",
                                      "0x1",
                                      "9007199254740993",
                                      "1.",
                                      ".0",
                                      "1.5",
                                      "1.0x",
                                      "99999999999999999999",
                                      "--1",
                                      "1.00.0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) CHECK(!target_integer(bad[i], &value));
}

static enum request_outcome nothing(struct request *request) {
    (void)request;
    return REQUEST_DONE;
}

static void routes_are_found(void) {
    static const struct route list[] = {
        {HTTP_GET, "/", nothing, ACCESS_PUBLIC, "", NULL, NULL, NULL, ""},
        {HTTP_GET, "/user/{id}/rated", nothing, ACCESS_PUBLIC, "", NULL, NULL, NULL, ""},
        {HTTP_GET, "/user/list/{cluster}", nothing, ACCESS_PUBLIC, "", NULL, NULL, NULL, ""},
        {HTTP_POST, "/user/{id}/rated", nothing, ACCESS_PUBLIC, "", NULL, NULL, NULL, ""}};
    static const struct route *const table[] = {&list[0], &list[1], &list[2], &list[3], NULL};
    static const struct route *const *const tables[] = {table};
    struct router *router;
    reel_error err;
    struct target target;
    struct router_match match;
    REQUIRE_OK(router_new(tables, 1, &router, &err), err);
    CHECK_INT(router_count(router), 4);
    parse("/user/list/rated", &target); /* both patterns fit: the literal further left wins */
    router_find(router, &target, HTTP_GET, &match);
    CHECK(match.route == &list[2] && match.allowed == 1u << HTTP_GET);
    CHECK_INT(router_capture(router, match.index, "cluster"), 0);
    CHECK_INT(router_capture(router, match.index, "id"), -1);
    CHECK_STR(target.segments[match.captures[0]], "rated");
    parse("/user/7/rated/", &target);
    router_find(router, &target, HTTP_POST, &match);
    CHECK(match.route == &list[3] && match.allowed == (1u << HTTP_GET | 1u << HTTP_POST));
    router_find(router, &target, HTTP_DELETE, &match);
    CHECK(!match.route && match.allowed == (1u << HTTP_GET | 1u << HTTP_POST));
    router_find(router, &target, -1, &match);
    CHECK(!match.route && match.allowed);
    static const char *const unknown[] = {"/user", "/user//rated", "/user/7/rated/x", "/User/7/rated",
                                          "/a/b/c/d/e/f/g/h/i/j/k/l/m"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        parse(unknown[i], &target);
        router_find(router, &target, HTTP_GET, &match);
        CHECK(!match.allowed);
    }
    router_free(router);
}

/* The example of RFC 7515, A.1: HS256 with a binary key; its claims expire at 1300819380. */
static void token_of_the_standard(void) {
    static const unsigned char key[] = {3,   35,  53, 75,  43,  15, 165, 188, 131, 126, 6,   101, 119, 123, 166, 143,
                                        90,  179, 40, 230, 240, 84, 201, 40,  169, 15,  132, 178, 210, 80,  46,  191,
                                        211, 251, 90, 146, 210, 6,  71,  239, 150, 138, 180, 195, 119, 98,  61,  34,
                                        61,  46,  33, 114, 5,   46, 79,  8,   192, 205, 154, 245, 103, 208, 128, 163};
    static const char token[] =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    CHECK_INT(token_check(token, key, sizeof key, 1300819379), TOKEN_READ);
    CHECK_INT(token_check(token, key, sizeof key, 1300819380), TOKEN_BAD);
    CHECK_INT(token_check(token, key, sizeof key - 1, 1300819379), TOKEN_BAD);
    char changed[sizeof token];
    for (size_t i = 0; i + 1 < sizeof token; i++) {
        memcpy(changed, token, sizeof token);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        CHECK_INT(token_check(changed, key, sizeof key, 1300819379), TOKEN_BAD);
    }
}

int main(void) {
    RUN(targets_are_split_and_decoded);
    RUN(bad_targets_are_refused);
    RUN(integers);
    RUN(routes_are_found);
    RUN(token_of_the_standard);
    TEST_EXIT();
}
