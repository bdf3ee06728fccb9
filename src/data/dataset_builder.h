/* From source files in memory to the tensors of a dataset file (see data/dataset.h). */
#ifndef DATA_DATASET_BUILDER_H
#define DATA_DATASET_BUILDER_H

#include <reel/dataset.h>
#include "core/tensor_file.h"
#include "data/genome_reader.h"
#include "data/id_map.h"
#include "data/link_reader.h"
#include "data/metadata_reader.h"
#include "data/movie_reader.h"
#include "data/rating_table.h"
#include "data/source_layout.h"
#include "data/tag_reader.h"

/* The tensor set and what it borrows from. Zero-initialise. */
struct dataset_build {
    struct tensor_set *set;
    struct raw_ratings raw;
    struct movie_table movies;
    struct tag_table tags;
    struct link_table links;
    struct genome_table genome;
    struct metadata_table metadata;
    struct id_map user_map, movie_map;
    struct rating_table ratings;
    int64_t n_placeholders, n_metadata;
};

/* Reads every file of the source and fills build->set (without a ratings file: movies and no ratings); the counts and
 * the fingerprint go to *report (not its seconds and bytes). The source may be closed afterwards. Free the build,
 * whatever the result. BAD_INPUT with file and line, NO_MEMORY, CANCELLED. */
reel_status dataset_build(reel_context *ctx, const struct source *source, const reel_import_options *options,
                          struct dataset_build *build, reel_import_report *report, reel_error *err);
void dataset_build_free(struct dataset_build *build);

#endif
