/* The JSON header of a safetensors file, read without jansson: version 2.14 loses characters of a string, and says
 * nothing, when an allocation fails on the way; and what this reader allocates is bounded by the header's size. */
#ifndef CORE_SAFETENSORS_HEADER_H
#define CORE_SAFETENSORS_HEADER_H

#include "core/tensor_set.h"

/* Where a tensor lies in the file's data part: bytes begin..end-1. */
struct tensor_extent {
    struct tensor tensor; /* described, without data */
    size_t begin, end;
};

/* Parses `text` (size,), adds the strings of __metadata__ to `set` and returns the tensors, in the header's order, in
 * *extents (*n,), to free with mem_free. Checked: the text is JSON in UTF-8 with exactly the fields that safetensors
 * knows, no key comes twice, dtypes are known, offsets ascend. CORRUPT names the byte of the header, or the tensor. */
reel_status safetensors_header_parse(struct tensor_set *set, const char *text, size_t size,
                                     struct tensor_extent **extents, size_t *n, reel_error *err);

#endif
