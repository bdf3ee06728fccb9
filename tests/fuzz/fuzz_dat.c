/* ratings.dat, movies.dat, tags.dat. Switches: 1 = skip bad lines, 2 = ml-1m (whole stars). */
#include "tests/fuzz/fuzz_import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum source_part parts[] = {PART_RATINGS, PART_MOVIES, PART_TAGS};
    int whole = size && (data[0] & 2);
    import_parts(whole ? SOURCE_ML_1M : SOURCE_ML_10M, parts, whole ? 2 : 3, NULL, data, size);
    return 0;
}
