/* Runs one launch: every CUDA thread a fiber of the calling host thread, blocks one after the other, those of a
 * cooperative launch in turn. */
#ifndef EMULATOR_SCHEDULER_H
#define EMULATOR_SCHEDULER_H

#include <cuda_runtime.h>

/* Shared memory in bytes (H200: CUDA C++ Programming Guide, "Compute Capabilities"). */
enum {
    SHARED_STATIC_MAX = 48 << 10,
    SHARED_BLOCK_MAX = 227 << 10,
    SHARED_PROCESSOR = 228 << 10,
    SHARED_RESERVED = 1 << 10, /* of every block, for the system */
    PROCESSORS = 132,
    PROCESSOR_THREADS = 2048,
    PROCESSOR_BLOCKS = 32,
    BLOCK_THREADS_MAX = 1024
};

/* Returns when all threads have ended. What cannot go on (a barrier that not all reach, lanes that disagree, memory
 * past its end) ends the program with a message that names kernel, block, thread and line. */
void scheduler_run(const struct emulated_config *config, emulated_body body, const void *arguments);
/* Blocks of that shape that one processor holds; registers are not counted, the emulator does not know them. */
int scheduler_blocks_per_processor(int threads, size_t shared);

#endif
