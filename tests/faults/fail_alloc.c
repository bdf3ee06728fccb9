/* Preloaded into a program (LD_PRELOAD): lets chosen allocations fail, counted from the start of main, so that
 * neither the loader nor the constructors of libraries are hit.
 *   FAIL_ALLOC_AT=N       the N-th allocation (from 1) fails
 *   FAIL_ALLOC_STICKY=1   and so does every later one
 *   FAIL_ALLOC_COUNT=FILE at exit, the number of allocations goes there
 * malloc, calloc, realloc, reallocarray, posix_memalign and aligned_alloc count, whoever calls them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* glibc's own entry points: asking dlsym for malloc would allocate. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *pointer, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static atomic_int in_main;
static atomic_long count;
static long fail_at;
static int sticky;
static const char *count_path;

static int shall_fail(void) {
    if (!atomic_load_explicit(&in_main, memory_order_relaxed)) return 0;
    long number = atomic_fetch_add(&count, 1) + 1;
    int fail = fail_at > 0 && (number == fail_at || (sticky && number > fail_at));
    if (fail) errno = ENOMEM;
    return fail;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): glibc names them __size */
__attribute__((visibility("default"))) void *malloc(size_t size) {
    return shall_fail() ? NULL : __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size) {
    return shall_fail() ? NULL : __libc_calloc(n, size);
}

__attribute__((visibility("default"))) void *realloc(void *pointer, size_t size) {
    return shall_fail() ? NULL : __libc_realloc(pointer, size);
}

__attribute__((visibility("default"))) void *reallocarray(void *pointer, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(pointer, bytes);
}

__attribute__((visibility("default"))) int posix_memalign(void **out, size_t alignment, size_t size) {
    void *pointer = shall_fail() ? NULL : __libc_memalign(alignment, size);
    if (!pointer) return ENOMEM;
    *out = pointer;
    return 0;
}

__attribute__((visibility("default"))) void *aligned_alloc(size_t alignment, size_t size) {
    return shall_fail() ? NULL : __libc_memalign(alignment, size);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

static void write_count(void) {
    atomic_store(&in_main, 0);
    int fd = open(count_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return;
    char text[32];
    int length = snprintf(text, sizeof text, "%ld\n", atomic_load(&count));
    if (write(fd, text, (size_t)length) != length) _exit(99);
    close(fd);
}

static int (*program_main)(int, char **, char **);

static int counting_main(int argc, char **argv, char **environment) {
    atomic_store(&in_main, 1);
    return program_main(argc, argv, environment);
}

typedef int (*start_fn)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void),
                        void *);
int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end);

__attribute__((visibility("default"))) int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv,
                                                             void (*init)(void), void (*fini)(void),
                                                             void (*rtld_fini)(void), void *stack_end) {
    const char *at = getenv("FAIL_ALLOC_AT"), *keep_on = getenv("FAIL_ALLOC_STICKY");
    fail_at = at ? strtol(at, NULL, 10) : 0;
    sticky = keep_on && *keep_on == '1';
    count_path = getenv("FAIL_ALLOC_COUNT");
    if (count_path) atexit(write_count);
    program_main = main;
    union {
        void *object;
        start_fn function;
    } real = {dlsym(RTLD_NEXT, "__libc_start_main")};
    return real.function(counting_main, argc, argv, init, fini, rtld_fini, stack_end);
}
