/* Checks a JSON value against the JSON Schema text that /openapi.json publishes for it, so that what is accepted and
 * what is documented cannot part.
 *
 * Of JSON Schema it knows what the routes use: type (one or a list), properties, required, additionalProperties
 * (false or a schema), items, minItems, maxItems, minimum, maximum, multipleOf, minLength, maxLength, pattern
 * (anchored character classes only: ^[a-z0-9_-]{1,32}$), enum, const, oneOf. An integer may be written 3.0, as the
 * standard says. */
#ifndef SERVE_JSON_SCHEMA_H
#define SERVE_JSON_SCHEMA_H

#include <jansson.h>
#include <reel/status.h>

/* What a value broke: a number out of its range or off its grid is told apart from a wrong shape. */
enum schema_verdict { SCHEMA_OK, SCHEMA_BAD_SHAPE, SCHEMA_OUT_OF_RANGE, SCHEMA_NO_MEMORY };

/* `reason`: one sentence with the place ("ratings/0/rating must be a multiple of 0.5 (found 0.7)"). */
enum schema_verdict json_schema_check(const char *schema, const json_t *value, char *reason, size_t size);

/* The integer that a checked value stands for: 3 and 3.0 alike. */
json_int_t json_as_int(const json_t *value);

#endif
