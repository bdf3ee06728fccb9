/* Any bytes as a file of pairs to predict, users, or a visitor's ratings (the first byte says which): no crash, no
 * read outside, no leak; an error is one line with the file's name; values that come out are in range. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/id_table.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static reel_context *ctx;

static void demand(int condition) {
    if (!condition) abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = 1;
    demand(reel_context_new(&options, &ctx, NULL) == REEL_OK);
    return 0;
}

static void check_values(const struct id_column *column, int64_t n_rows) {
    demand((column->values != NULL) == (column->field >= 0));
    for (int64_t i = 0; column->values && i < n_rows; i++) {
        if (column->kind == ID_COLUMN_ID) demand(column->values[i] >= 0);
        if (column->kind == ID_COLUMN_RATING) demand(column->values[i] >= 1 && column->values[i] <= 10);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct id_column pairs[] = {
        {.names = "userId|user_id|user", .kind = ID_COLUMN_ID, .required = 1},
        {.names = "movieId|movie_id|movie", .kind = ID_COLUMN_ID, .required = 1},
        {.names = "timestamp|time", .kind = ID_COLUMN_TIME},
    };
    static const struct id_column rated[] = {
        {.names = "movieId|movie_id|movie", .kind = ID_COLUMN_ID, .required = 1},
        {.names = "rating", .kind = ID_COLUMN_RATING, .required = 1},
    };
    if (size == 0) return 0;
    struct id_column columns[3];
    int n_columns = data[0] % 3 == 2 ? 2 : data[0] % 3 ? 1 : 3, first_line;
    for (int c = 0; c < n_columns; c++) columns[c] = n_columns == 2 ? rated[c] : pairs[c];
    /* memory of the exact size, so that a read past the end is seen */
    char *text = malloc(size - 1);
    if (!text) return 0;
    memcpy(text, data + 1, size - 1);
    reel_error err = {0};
    int64_t n_rows;
    reel_status status = id_table_parse(ctx, "file", text, size - 1, columns, n_columns, &n_rows, &first_line, &err);
    free(text);
    if (status != REEL_OK) {
        demand(status == err.status && strncmp(err.message, "file:", 5) == 0 && !strchr(err.message, '\n'));
        for (int c = 0; c < n_columns; c++) demand(columns[c].values == NULL);
        return 0;
    }
    for (int c = 0; c < n_columns; c++) {
        check_values(&columns[c], n_rows);
        mem_free(columns[c].values);
    }
    return 0;
}
