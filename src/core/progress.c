#include "core/progress.h"

#include <stddef.h>

struct progress_display *progress_display_new(reel_progress_mode mode) {
    (void)mode;
    return NULL;
}
void progress_display_free(struct progress_display *display) {
    (void)display;
}
void progress_display_update(struct progress_display *display, const reel_progress *progress) {
    (void)display, (void)progress;
}
void progress_display_clear(struct progress_display *display) {
    (void)display;
}
