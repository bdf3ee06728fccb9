/* Status names and one-line messages. */
#include <errno.h>

#include "core/error.h"
#include "test.h"

static void test_names(void) {
    CHECK_STR(reel_status_name(REEL_OK), "ok");
    CHECK_STR(reel_status_name(REEL_NO_MEMORY), "no_memory");
    for (int status = REEL_OK; status <= REEL_INTERNAL; status++) {
        CHECK(*reel_status_name((reel_status)status) && *reel_status_sentence((reel_status)status));
        for (int other = REEL_OK; other < status; other++)
            CHECK(strcmp(reel_status_name((reel_status)status), reel_status_name((reel_status)other)) != 0);
    }
    CHECK_STR(reel_status_name((reel_status)-1), "internal");
    CHECK_STR(reel_status_name((reel_status)1000), "internal");
}

static void test_message_is_one_line(void) {
    reel_error err;
    CHECK_INT(error_set(&err, REEL_BAD_INPUT, "%s:%d: bad (%s)", "f.csv", 3, "a\nb\033[2Jc\x7f"), REEL_BAD_INPUT);
    CHECK_INT(err.status, REEL_BAD_INPUT);
    CHECK_STR(err.message, "f.csv:3: bad (a?b?[2Jc?)");
    CHECK_INT(error_set(NULL, REEL_IO, "nobody listens"), REEL_IO);
}

static void test_long_messages_are_cut(void) {
    reel_error err;
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    error_set(&err, REEL_IO, "%s", text);
    CHECK_INT(strlen(err.message), sizeof err.message - 1);
    errno = ENOENT;
    error_errno(&err, REEL_IO, "%s", text);
    CHECK_INT(strlen(err.message), sizeof err.message - 1);
}

static void test_errno_text(void) {
    reel_error err;
    errno = ENOSPC;
    CHECK_INT(error_errno(&err, REEL_IO, "%s: cannot be written", "out"), REEL_IO);
    CHECK_STR(err.message, "out: cannot be written: No space left on device");
    CHECK_INT(error_no_memory(&err, 123), REEL_NO_MEMORY);
    CHECK(strstr(err.message, "123 bytes") != NULL);
}

static reel_status forward(reel_status inner) {
    TRY_RETURN(inner);
    return REEL_BUSY;
}
static reel_status forward_cleaning(reel_status inner, int *cleaned) {
    reel_status status = REEL_OK;
    TRY(inner);
cleanup:
    *cleaned = 1;
    return status;
}

static void test_forwarding(void) {
    int cleaned = 0;
    CHECK_INT(forward(REEL_IO), REEL_IO);
    CHECK_INT(forward(REEL_OK), REEL_BUSY);
    CHECK_INT(forward_cleaning(REEL_NUMERIC, &cleaned), REEL_NUMERIC);
    CHECK_INT(cleaned, 1);
}

int main(void) {
    RUN(test_names);
    RUN(test_message_is_one_line);
    RUN(test_long_messages_are_cut);
    RUN(test_errno_text);
    RUN(test_forwarding);
    TEST_EXIT();
}
