/* ratings.csv, movies.csv, tags.csv, links.csv, genome-scores.csv, genome-tags.csv. Switches: 1 = skip bad lines,
 * 2 = named columns. */
#include "tests/fuzz/fuzz_import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum source_part parts[] = {PART_RATINGS, PART_MOVIES,        PART_TAGS,
                                             PART_LINKS,   PART_GENOME_SCORES, PART_GENOME_TAGS};
    import_parts(SOURCE_ML_CSV, parts, 6, size && (data[0] & 2) ? "u,m,r,t" : NULL, data, size);
    return 0;
}
