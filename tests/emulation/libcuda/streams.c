/* Streams: each has its own thread, which does what was submitted in order, after the delay that was set. */
#include "emulation.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

static struct stream *streams;
static unsigned running;

unsigned operations_running(void) { return running; }

bool stream_is_legacy(const struct stream *stream) { return stream == stream->context->legacy; }

static bool is_blocking(const struct stream *stream) { return (stream->flags & CU_STREAM_NON_BLOCKING) == 0; }

/* ---- the worker */

static void sleep_us(unsigned microseconds) {
    const struct timespec pause = {microseconds / 1000000, (long)(microseconds % 1000000) * 1000};
    if (microseconds > 0) {
        nanosleep(&pause, NULL);
    }
}

/* What was freed before the operation, or while it ran, is told as the device tells it: by a broken context. */
static void execute(struct context *context, const struct operation *operation) {
    CUresult result = fault_for(operation_name(operation->kind));
    if (result == CUDA_SUCCESS && operation_check(operation) != CUDA_SUCCESS) {
        result = CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    if (result == CUDA_SUCCESS) {
        running++;
        driver_unlock(NULL);
        sleep_us(delay_us(operation_name(operation->kind)));
        result = operation_run(operation);
        driver_lock();
        running--;
        if (result != CUDA_SUCCESS) {
            violation("illegal address", operation->call, "%s", operation->launch.kernel.name);
        } else if (operation_check(operation) != CUDA_SUCCESS) {
            result = CUDA_ERROR_ILLEGAL_ADDRESS;
        }
    }
    if (result != CUDA_SUCCESS) {
        context_fail(context, result);
    }
    if (running == 0) {
        memory_collect();
    }
}

static void step(struct stream *stream) {
    struct operation *operation = stream->first;
    if (operation->kind == OP_WAIT) {
        while (operation->wait.stream->completed < operation->wait.position) {
            driver_wait();
        }
    } else if (operation->kind == OP_RECORD) {
        event_recorded(operation->record.event, operation->record.generation);
    } else if (stream->context->error == CUDA_SUCCESS) {
        execute(stream->context, operation);
    }
    stream->first = operation->next;
    stream->completed++;
    free(operation);
    driver_changed();
}

/* The record stays: events and waits of other streams may name it. */
static void leave(const struct stream *stream) {
    struct stream **place = &streams;
    while (*place != stream) {
        place = &(*place)->next;
    }
    *place = stream->next;
}

static void *work(void *argument) {
    struct stream *stream = argument;
    HOLD_LOCK();
    while (stream->first != NULL || !stream->stopping) {
        if (stream->first == NULL) {
            driver_wait();
        } else {
            step(stream);
        }
    }
    leave(stream);
    return NULL;
}

/* Signals are for the program's own threads, but for those that an operation raises itself. */
static void start(struct stream *stream) {
    sigset_t blocked, previous;
    pthread_t thread;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &blocked, &previous);
    stream->started = pthread_create(&thread, NULL, work, stream) == 0;
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    if (stream->started) {
        pthread_detach(thread);
    }
}

/* ---- submitting */

struct stream *stream_make(struct context *context, unsigned flags, int priority) {
    struct stream *stream = calloc(1, sizeof *stream);
    stream->context = context;
    stream->flags = flags;
    stream->priority = priority;
    stream->next = streams;
    streams = stream;
    return stream;
}

void stream_stop(struct stream *stream) {
    stream->stopping = true;
    if (!stream->started) {
        leave(stream);
    }
    driver_changed();
}

struct stream *stream_of(CUstream handle, const char *call) {
    if (handle == NULL || handle == CU_STREAM_LEGACY) {
        return context_current()->legacy;
    }
    return handle_object(HANDLE_STREAM, handle, call);
}

static void append(struct stream *stream, struct operation *operation) {
    if (!stream->started) {
        start(stream);
    }
    operation->next = NULL;
    if (stream->first == NULL) {
        stream->first = operation;
    } else {
        stream->last->next = operation;
    }
    stream->last = operation;
    stream->submitted++;
    driver_changed();
}

static void wait_for(struct stream *stream, struct stream *other, const char *call) {
    if (other->completed == other->submitted) {
        return;
    }
    struct operation *operation = operation_new(OP_WAIT, call, 0);
    operation->wait.stream = other;
    operation->wait.position = other->submitted;
    append(stream, operation);
}

/* The legacy stream waits for all blocking streams, and they for it; non-blocking streams are left alone. */
static void order_with_legacy(struct stream *stream, const char *call) {
    if (!stream_is_legacy(stream)) {
        if (is_blocking(stream)) {
            wait_for(stream, stream->context->legacy, call);
        }
        return;
    }
    for (struct stream *other = streams; other != NULL; other = other->next) {
        if (other != stream && other->context == stream->context && is_blocking(other)) {
            wait_for(stream, other, call);
        }
    }
}

static CUresult may_submit(struct stream *stream, const struct operation *operation) {
    if (stream->context->destroyed) {
        violation("destroyed context", operation->call, "the stream's context was destroyed");
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    }
    if (stream_is_legacy(stream) && capture_forbids_legacy(operation->call)) {
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    /* A driver knows the addresses of a copy; those of a kernel and of a graph show when they are used. */
    const bool known = operation->kind != OP_KERNEL && !operation->replayed;
    return known ? operation_check(operation) : CUDA_SUCCESS;
}

CUresult stream_submit(struct stream *stream, struct operation *operation) {
    const CUresult result = may_submit(stream, operation);
    if (result != CUDA_SUCCESS) {
        free(operation);
        return result;
    }
    if (stream->capture != NULL) {
        return capture_add(stream, operation);
    }
    order_with_legacy(stream, operation->call);
    append(stream, operation);
    return CUDA_SUCCESS;
}

CUresult stream_drain(struct stream *stream) {
    const uint64_t position = stream->submitted;
    while (stream->completed < position && stream->context->error == CUDA_SUCCESS) {
        driver_wait();
    }
    return stream->context->error;
}

CUresult context_drain(struct context *context) {
    bool busy = true;
    while (busy && context->error == CUDA_SUCCESS) {
        busy = false;
        for (const struct stream *stream = streams; stream != NULL; stream = stream->next) {
            busy = busy || (stream->context == context && stream->completed < stream->submitted);
        }
        if (busy) {
            driver_wait();
        }
    }
    return context->error;
}

size_t streams_pending(void) {
    size_t pending = 0;
    for (const struct stream *stream = streams; stream != NULL; stream = stream->next) {
        pending += stream->submitted - stream->completed;
    }
    return pending;
}
