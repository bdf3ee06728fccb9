/* Fibers: a stack of its own and a switch to it, nothing else. */
#ifndef EMULATOR_FIBER_H
#define EMULATOR_FIBER_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define EMULATOR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMULATOR_ASAN 1
#endif
#endif

struct fiber {
    void *place;        /* where it left off; owned by fiber.cc */
    char *stack;        /* lowest byte; NULL: not begun, or the host thread's own stack */
    const void *bottom; /* of the stack, and its size, for the sanitizer */
    size_t size;
};

/* Bytes of a stack; a sanitizer's frames are larger. */
size_t fiber_stack_size(void);
/* Maps `n` stacks side by side; aborts the program when that fails. */
char *fiber_stacks(size_t n);
/* Prepares `fiber` to begin with `entry`, which never returns, on `stack`. */
void fiber_prepare(struct fiber *fiber, char *stack, void (*entry)(void));
/* The first thing that `entry` calls; `host` is the host thread's fiber, which begins the first of all. */
void fiber_entered(struct fiber *host);

/* Leaves `from`, goes on with `to`; comes back when something switches to `from`. `last`: `from` never goes on. */
#if defined(__x86_64__) && !defined(EMULATOR_ASAN)
/* fiber.cc: saves what a call must keep on the stack left, and takes it from the stack entered. */
extern "C" void emulated_switch_stacks(void **from, void *to);

static inline void fiber_switch(struct fiber *from, const struct fiber *to, int) {
    emulated_switch_stacks(&from->place, to->place);
}
#else
void fiber_switch(struct fiber *from, const struct fiber *to, int last);
#endif
/* Ends the program if the fiber used more stack than it has. */
void fiber_check(const struct fiber *fiber);

#endif
