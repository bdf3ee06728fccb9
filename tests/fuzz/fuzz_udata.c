/* u.data, u.item, u.genre. Switches: 1 = skip bad lines. */
#include "tests/fuzz/fuzz_import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum source_part parts[] = {PART_RATINGS, PART_MOVIES, PART_GENRES};
    import_parts(SOURCE_ML_100K, parts, 3, NULL, data, size);
    return 0;
}
