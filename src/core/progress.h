/* The progress display: a live bar on a terminal, a plain line a stage elsewhere. */
#ifndef CORE_PROGRESS_H
#define CORE_PROGRESS_H

#include <reel/context.h>

struct progress_display;

/* NULL for REEL_PROGRESS_NONE or when memory is out (a display is not worth a failure). Writes to stderr. */
struct progress_display *progress_display_new(reel_progress_mode mode);
void progress_display_free(struct progress_display *display); /* takes NULL */
/* Redraws at most some ten times a second; `finished` always draws. */
void progress_display_update(struct progress_display *display, const reel_progress *progress);
/* Takes the bar off the terminal before another line is printed to stderr. Takes NULL. */
void progress_display_clear(struct progress_display *display);

#endif
