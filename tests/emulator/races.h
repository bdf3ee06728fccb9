/* Who came to which bytes of shared memory, and what orders them (races.cc). */
#ifndef EMULATOR_RACES_H
#define EMULATOR_RACES_H

#include "machine.h"

/* Whether kernels are compiled so that they tell of their accesses (cmake/ReelEmulator.cmake) and REEL_EMULATED_RACES
 * is not "off". */
extern const int races_watched;

/* Zeroed, for a piece of shared memory of so many bytes; freed by free. */
struct race_cell *races_cells(size_t bytes);
/* The lane reads or writes; ends the program where another thread came there and nothing orders the two. `pc`: where in
 * the program. */
void races_note(const struct lane *lane, const void *at, size_t bytes, int writes, const void *pc);

#endif
