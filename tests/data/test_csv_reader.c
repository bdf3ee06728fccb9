/* Fields of separated text: quotes, line ends, marks, faults and line numbers. */
#include "data/csv_reader.h"
#include "tests/test.h"

static struct text_span fields[8];
static int n_fields;

static int field_is(int index, const char *text) {
    return fields[index].length == strlen(text) && memcmp(fields[index].text, text, fields[index].length) == 0;
}

static enum csv_result next(struct csv_reader *reader) {
    return csv_reader_next(reader, fields, 8, &n_fields);
}

static void begin(struct csv_reader *reader, const char *text) {
    csv_reader_init(reader, text, strlen(text), ',', 1);
}

static void plain_rows(void) {
    struct csv_reader reader;
    begin(&reader, "\xef\xbb\xbf"
                   "a,b,c\r\n1,,3\n\n\r\nlast, x ,");
    CHECK(next(&reader) == CSV_ROW && n_fields == 3 && field_is(0, "a") && field_is(2, "c"));
    CHECK(next(&reader) == CSV_ROW && n_fields == 3 && field_is(1, "") && field_is(2, "3"));
    CHECK_INT(reader.row_line, 2);
    CHECK(next(&reader) == CSV_ROW && n_fields == 3 && field_is(0, "last") && field_is(1, " x ") && field_is(2, ""));
    CHECK_INT(reader.row_line, 5);
    CHECK(next(&reader) == CSV_END);
    csv_reader_free(&reader);
}

static void quoted_fields(void) {
    struct csv_reader reader;
    begin(&reader, "1,\"American President, The (1995)\",x\n"
                   "2,\"He said \"\"no\"\"\",\"\"\"both\"\"\"\r\n"
                   "3,\"two\nlines\",\"\"\n"
                   "4,5\" disk,\"end\"");
    CHECK(next(&reader) == CSV_ROW && field_is(1, "American President, The (1995)"));
    CHECK(next(&reader) == CSV_ROW && field_is(1, "He said \"no\"") && field_is(2, "\"both\"") && n_fields == 3);
    CHECK(next(&reader) == CSV_ROW && field_is(1, "two\nlines") && field_is(2, ""));
    CHECK_INT(reader.row_line, 3);
    CHECK(next(&reader) == CSV_ROW && field_is(1, "5\" disk") && field_is(2, "end"));
    CHECK_INT(reader.row_line, 5);
    CHECK(next(&reader) == CSV_END);
    csv_reader_free(&reader);
}

/* After a broken quote reading goes on with the row's next line. */
static void broken_quotes(void) {
    struct csv_reader reader;
    begin(&reader, "1,\"a\"b,c\n2,ok\n3,\"never closed\n4,ok\n");
    CHECK(next(&reader) == CSV_AFTER_QUOTE);
    CHECK_INT(reader.row_line, 1);
    CHECK(next(&reader) == CSV_ROW && field_is(0, "2"));
    CHECK(next(&reader) == CSV_OPEN_QUOTE);
    CHECK_INT(reader.row_line, 3);
    CHECK(next(&reader) == CSV_ROW && field_is(0, "4"));
    CHECK_INT(reader.row_line, 4);
    CHECK(next(&reader) == CSV_END);
    csv_reader_free(&reader);
}

static void more_fields_than_room(void) {
    struct csv_reader reader;
    begin(&reader, "\"a\"\"\",\"b\"\"\",c,d\n\"\"\"e\"\"\",\"f\"\"\"\n");
    CHECK(csv_reader_next(&reader, fields, 1, &n_fields) == CSV_ROW && n_fields == 4 && field_is(0, "a\""));
    CHECK(next(&reader) == CSV_ROW && n_fields == 2 && field_is(0, "\"e\"") && field_is(1, "f\""));
    csv_reader_free(&reader);
}

static void line_ends(void) {
    struct csv_reader reader;
    struct text_span line;
    begin(&reader, "\r");
    CHECK(next(&reader) == CSV_END);
    begin(&reader, "");
    CHECK(next(&reader) == CSV_END);
    begin(&reader, "\xef\xbb\xbf");
    CHECK(next(&reader) == CSV_END);
    begin(&reader, "a\rb,\"c\"\r");
    CHECK(next(&reader) == CSV_ROW && n_fields == 2 && field_is(0, "a\rb") && field_is(1, "c"));
    begin(&reader, "one\r\n\ntwo\"\nthree");
    CHECK(csv_reader_line(&reader, &line) && line.length == 3 && memcmp(line.text, "one", 3) == 0);
    CHECK(csv_reader_line(&reader, &line) && line.length == 4 && memcmp(line.text, "two\"", 4) == 0);
    CHECK_INT(reader.row_line, 3);
    CHECK(csv_reader_line(&reader, &line) && line.length == 5);
    CHECK(!csv_reader_line(&reader, &line));
    CHECK_INT(csv_count_lines("a\nb\n", 4), 3);
    char many[1000];
    memset(many, '\n', sizeof many);
    CHECK_INT(csv_count_lines(many, sizeof many), 1001);
}

static int number(const char *text, uint64_t max, uint64_t *value) {
    return span_to_int((struct text_span){text, strlen(text)}, max, value);
}

static void numbers(void) {
    uint64_t value = 99;
    CHECK(number("0", 10, &value) == 1 && value == 0);
    CHECK(number(" 2147483647\t", INT32_MAX, &value) == 1 && value == INT32_MAX);
    CHECK_INT(number("2147483648", INT32_MAX, &value), -1);
    CHECK_INT(number("99999999999999999999999999", UINT32_MAX, &value), -1);
    CHECK(number("00000000000000000000000007", 7, &value) == 1 && value == 7);
    CHECK(number("18446744073709551615", UINT64_MAX, &value) == 1 && value == UINT64_MAX);
    CHECK_INT(number("18446744073709551616", UINT64_MAX, &value), -1);
    CHECK_INT(number("", 10, &value), 0);
    CHECK_INT(number("-1", 10, &value), 0);
    CHECK_INT(number("1.0", 10, &value), 0);
    CHECK_INT(number("1 2", 100, &value), 0);
}

static void columns(void) {
    struct csv_reader reader;
    begin(&reader, "User_Id,\"movie id\",item,TAG");
    CHECK(next(&reader) == CSV_ROW);
    CHECK_INT(csv_find_column(fields, n_fields, "userid|user"), 0);
    CHECK_INT(csv_find_column(fields, n_fields, "item|movieid"), 2);
    CHECK_INT(csv_find_column(fields, n_fields, "film|movieid"), 1);
    CHECK_INT(csv_find_column(fields, n_fields, "tags"), -1);
    CHECK_INT(csv_find_column(fields, n_fields, "ta"), -1);
    csv_reader_free(&reader);
}

int main(void) {
    RUN(plain_rows);
    RUN(quoted_fields);
    RUN(broken_quotes);
    RUN(more_fields_than_room);
    RUN(line_ends);
    RUN(numbers);
    RUN(columns);
    TEST_EXIT();
}
