/* JSON values to text. */
#ifndef CORE_JSON_TEXT_H
#define CORE_JSON_TEXT_H

#include <jansson.h>

/* json_dumps, but reliable when memory runs out: jansson 2.14 may then return a text with holes, this returns
 * NULL. NULL too for a NULL value. To free with free or reel_string_free. */
char *json_text(const json_t *value, size_t flags);

#endif
