/* JSON values to text and back, also when memory runs out in between. */
#ifndef CORE_JSON_TEXT_H
#define CORE_JSON_TEXT_H

#include <jansson.h>

/* json_dumps, but reliable when memory runs out: jansson 2.14 may then return a text with holes, this returns
 * NULL. NULL too for a NULL value. To free with free or reel_string_free. */
char *json_text(const json_t *value, size_t flags);
/* json_loadb, but reliable when memory runs out: jansson 2.14 may then return strings with holes or call good text
 * bad; this sets *no_memory and returns NULL. Else NULL means bad text, described in *problem. */
json_t *json_parse(const char *text, size_t size, size_t flags, json_error_t *problem, int *no_memory);

#endif
