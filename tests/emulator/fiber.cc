#include "fiber.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

static const uint64_t CANARY = 0x5ca1ab1e0ddba11u; /* at the low end of every stack */

size_t fiber_stack_size(void) {
#ifdef EMULATOR_ASAN
    return (size_t)256 << 10;
#else
    return (size_t)64 << 10;
#endif
}

char *fiber_stacks(size_t n) {
    const size_t size = fiber_stack_size();
    char *stacks =
        (char *)mmap(NULL, n * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED) {
        fprintf(stderr, "emulated CUDA: no memory for %zu stacks\n", n);
        abort();
    }
    for (size_t i = 0; i < n; i++) memcpy(stacks + i * size, &CANARY, sizeof CANARY);
    return stacks;
}

/* What an earlier fiber left on the stack means nothing. */
static void clean_stack(char *stack) {
#ifdef EMULATOR_ASAN
    __asan_unpoison_memory_region(stack, fiber_stack_size());
#else
    (void)stack;
#endif
}

void fiber_check(const struct fiber *fiber) {
    if (!fiber->stack || memcmp(fiber->stack, &CANARY, sizeof CANARY) == 0) return;
    fprintf(stderr, "emulated CUDA: a thread's stack overflowed (%zu bytes)\n", fiber->size);
    abort();
}

#if defined(__x86_64__)

/* What a call must keep: System V ABI. The control words of floating point stay as they are. */
extern "C" void emulated_switch_stacks(void **from, void *to);
__asm__(".text\n"
        ".hidden emulated_switch_stacks\n"
        ".globl emulated_switch_stacks\n"
        ".type emulated_switch_stacks, @function\n"
        "emulated_switch_stacks:\n"
        "pushq %rbp\n"
        "pushq %rbx\n"
        "pushq %r12\n"
        "pushq %r13\n"
        "pushq %r14\n"
        "pushq %r15\n"
        "movq %rsp, (%rdi)\n"
        "movq %rsi, %rsp\n"
        "popq %r15\n"
        "popq %r14\n"
        "popq %r13\n"
        "popq %r12\n"
        "popq %rbx\n"
        "popq %rbp\n"
        "ret\n"
        ".size emulated_switch_stacks, .-emulated_switch_stacks\n");

void fiber_prepare(struct fiber *fiber, char *stack, void (*entry)(void)) {
    enum { SAVED = 6 };
    clean_stack(stack);
    /* Stacks begin in different sets of the caches: fibers take turns all the time. */
    const size_t colour = (uintptr_t)stack / fiber_stack_size() % 31 * 192;
    uint64_t *top = (uint64_t *)(stack + fiber_stack_size() - 64 - colour);
    top[1] = 0; /* where `entry` would return to: a function begins 8 bytes off a multiple of 16 */
    top[0] = (uint64_t)(uintptr_t)entry;
    for (int i = 0; i < SAVED; i++) top[-1 - i] = 0;
    fiber->place = top - SAVED;
    fiber->stack = stack;
    fiber->bottom = stack;
    fiber->size = fiber_stack_size();
}

#ifdef EMULATOR_ASAN
static void switch_stacks(struct fiber *from, const struct fiber *to) {
    emulated_switch_stacks(&from->place, to->place);
}
#endif

#else

#include <ucontext.h>

/* Slower: each switch asks the kernel for the signal mask. The context lies at the low end of the stack. */
static ucontext_t *context_of(const struct fiber *fiber) {
    return (ucontext_t *)fiber->place;
}

void fiber_prepare(struct fiber *fiber, char *stack, void (*entry)(void)) {
    clean_stack(stack);
    fiber->stack = stack;
    fiber->bottom = stack;
    fiber->size = fiber_stack_size();
    fiber->place = stack + 64;
    getcontext(context_of(fiber));
    context_of(fiber)->uc_stack.ss_sp = stack + 64 + sizeof(ucontext_t);
    context_of(fiber)->uc_stack.ss_size = fiber->size - 64 - sizeof(ucontext_t);
    context_of(fiber)->uc_link = NULL;
    makecontext(context_of(fiber), entry, 0);
}

static void switch_stacks(struct fiber *from, const struct fiber *to) {
    ucontext_t here;
    if (!from->stack) from->place = &here;
    swapcontext(context_of(from), context_of(to));
}

#endif

#if !defined(__x86_64__) || defined(EMULATOR_ASAN)
void fiber_switch(struct fiber *from, const struct fiber *to, int last) {
#ifdef EMULATOR_ASAN
    void *fake = NULL;
    __sanitizer_start_switch_fiber(last ? NULL : &fake, to->bottom, to->size);
    switch_stacks(from, to);
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#else
    (void)last;
    switch_stacks(from, to);
#endif
}
#endif

void fiber_entered(struct fiber *host) {
#ifdef EMULATOR_ASAN
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(NULL, &bottom, &size);
    if (host->bottom) return;
    host->bottom = bottom;
    host->size = size;
#else
    (void)host;
#endif
}
