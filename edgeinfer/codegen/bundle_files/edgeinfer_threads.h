/* Worker threads for a bundle, by POSIX threads. An app that has threads of its own needs none of this: each of them
 * calls MODEL_work(block, worker), for the workers from 1 to threads - 1. */
#ifndef EDGEINFER_THREADS_H
#define EDGEINFER_THREADS_H

#include <pthread.h>

#define EDGEINFER_MAX_THREADS 256

typedef struct {
    int (*work)(void *block, int worker);
    void *block;
    int worker;
    pthread_t thread;
} edgeinfer_worker;

typedef struct {
    int running;
    edgeinfer_worker workers[EDGEINFER_MAX_THREADS];
} edgeinfer_threads;

static void *edgeinfer_worker_main(void *argument) {
    edgeinfer_worker *worker = (edgeinfer_worker *)argument;
    worker->work(worker->block, worker->worker);
    return 0;
}

/* Call `stop`, which is MODEL_stop, and wait until all threads have ended; the block may be freed then. */
static void edgeinfer_threads_stop(edgeinfer_threads *threads, int (*stop)(void *block), void *block) {
    stop(block);
    for (int index = 0; index < threads->running; index++)
        pthread_join(threads->workers[index].thread, 0);
    threads->running = 0;
}

/* Start the workers 1 to `count` - 1 of an instance that was initialised for `count` threads. Returns 0, or the error
 * number of pthread_create: no thread runs then, and the instance is stopped. */
static int edgeinfer_threads_start(edgeinfer_threads *threads, int (*work)(void *block, int worker),
                                   int (*stop)(void *block), void *block, int count) {
    threads->running = 0;
    for (int index = 1; index < count && index < EDGEINFER_MAX_THREADS; index++) {
        edgeinfer_worker *worker = &threads->workers[threads->running];
        worker->work = work;
        worker->block = block;
        worker->worker = index;
        int error = pthread_create(&worker->thread, 0, edgeinfer_worker_main, worker);
        if (error) {
            edgeinfer_threads_stop(threads, stop, block);
            return error;
        }
        threads->running++;
    }
    return 0;
}

#endif
