/* Copies that come late (cp.async): half of a thread's are made at once, the others as late as its waits allow. */
#include <stdlib.h>
#include <string.h>

#include "races.h"

struct late_copy {
    void *to;
    const void *from; /* NULL: zeros */
    size_t bytes;
    uint64_t group;
    const void *pc;
    int made; /* already: what is left is that it might have come as late as this */
};

struct late_copies {
    struct late_copy *copies;
    size_t n, room;
    uint64_t group; /* the open one */
    uint64_t asked; /* copies so far, for the choice between now and later */
};

static struct late_copies *copies_of(struct lane *lane) {
    if (!lane->copies) lane->copies = (struct late_copies *)calloc(1, sizeof *lane->copies);
    if (!lane->copies) abort();
    return lane->copies;
}

static void make_copy(const struct lane *lane, const struct late_copy *copy) {
    races_note(lane, copy->to, copy->bytes, 1, copy->pc);
    if (copy->made) return;
    if (copy->from)
        memcpy(copy->to, copy->from, copy->bytes);
    else
        memset(copy->to, 0, copy->bytes);
}

/* Makes the copies of groups below `end`, in order. */
static void make_until(struct lane *lane, uint64_t end) {
    struct late_copies *late = copies_of(lane);
    size_t n = 0;
    while (n < late->n && late->copies[n].group < end) make_copy(lane, &late->copies[n++]);
    if (n == 0) return;
    late->n -= n;
    memmove(late->copies, late->copies + n, late->n * sizeof *late->copies);
}

void emulated_copy(void *to, const void *from, size_t bytes) {
    struct lane *lane = machine_self();
    struct late_copies *late = copies_of(lane);
    struct late_copy copy = {to, from, bytes, late->group, __builtin_return_address(0), 0};
    const uint64_t choice = (++late->asked + (uint64_t)lane->number) * 0x9e3779b97f4a7c15u;
    if (choice >> 63) {
        make_copy(lane, &copy);
        copy.made = 1;
        if (!races_watched) return;
    } else
        races_note(lane, to, bytes, 1, copy.pc);
    if (late->n == late->room) {
        late->room = 2 * late->room + 16;
        late->copies = (struct late_copy *)realloc(late->copies, late->room * sizeof *late->copies);
        if (!late->copies) abort();
    }
    late->copies[late->n++] = copy;
}

void emulated_copy_commit(void) {
    copies_of(machine_self())->group++;
}

void emulated_copy_wait(int latest) {
    struct lane *lane = machine_self();
    const uint64_t group = copies_of(lane)->group;
    if (group >= (uint64_t)latest) make_until(lane, group - (uint64_t)latest);
}

void emulated_copy_wait_all(void) {
    make_until(machine_self(), UINT64_MAX);
}

void copies_end(struct lane *lane) {
    if (!lane->copies) return;
    make_until(lane, UINT64_MAX);
    free(lane->copies->copies);
    free(lane->copies);
    lane->copies = NULL;
}
