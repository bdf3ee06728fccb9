/* Writing JSON straight into a text buffer, for bodies that are asked for often or are long. */
#ifndef SERVE_JSON_WRITE_H
#define SERVE_JSON_WRITE_H

#include <stdint.h>
#include "core/mem.h"

/* A string with its quotes; valid UTF-8 in, RFC 8259 out. */
void json_write_string(struct strbuf *out, const char *text);
void json_write_int(struct strbuf *out, int64_t value);
/* `value` (|value| < 10^9) rounded to 1..6 decimals, half to even on its exact value, as Python's round does it;
 * without the zeros at its end but for the first one: 4.125, 4.5, 5.0. NaN and infinities become null. */
void json_write_decimal(struct strbuf *out, double value, int decimals);
/* The shortest text that reads back as the same number; NaN and infinities become null. */
void json_write_real(struct strbuf *out, double value);
/* Half stars as stars: 7 as 3.5. */
void json_write_stars(struct strbuf *out, int half_stars);

/* The number that json_write_decimal shows, times 10^decimals. */
int64_t json_decimal_units(double value, int decimals);

#endif
