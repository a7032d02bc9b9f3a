/* Events: records in a stream's order, waits of other streams, times between two records. */
#include "emulation.h"

#include <stdlib.h>
#include <time.h>

static const char *const CAPTURED = "the event was recorded in a capture";

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* In the stream's thread. A record asked for later counts, even if this one is done only now. */
void event_recorded(struct event *event, uint64_t generation) {
    event->completed = generation;
    event->time_ns = now_ns();
}

CUresult event_submit(struct event *event, struct stream *stream, const char *call) {
    struct operation *operation = operation_new(OP_RECORD, call, 0);
    operation->record.event = event;
    operation->record.generation = event->generation + 1;
    const CUresult result = stream_submit(stream, operation);
    if (result == CUDA_SUCCESS && stream->capture == NULL) {
        event->generation++;
        event->stream = stream;
        event->position = stream->submitted;
        event->capture = NULL;
    }
    return result;
}

API cuEventCreate(CUevent *handle, unsigned flags) {
    ENTER(cuEventCreate, CONTEXT);
    HOLD_LOCK();
    struct event *event = calloc(1, sizeof *event);
    event->flags = flags;
    *handle = event->handle = handle_new(HANDLE_EVENT, event);
    return CUDA_SUCCESS;
}

/* The record itself stays, since a stream may still have to write it. */
API cuEventDestroy_v2(CUevent handle) {
    ENTER(cuEventDestroy_v2, CONTEXT);
    HOLD_LOCK();
    if (handle_object(HANDLE_EVENT, handle, "cuEventDestroy_v2") == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    handle_drop(handle);
    return CUDA_SUCCESS;
}

static CUresult record(CUevent event_handle, CUstream stream_handle, bool external, const char *call) {
    struct event *event = handle_object(HANDLE_EVENT, event_handle, call);
    struct stream *stream = stream_of(stream_handle, call);
    if (event == NULL || stream == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (stream->capture != NULL && !external) {
        return capture_record(stream, event);
    }
    return event_submit(event, stream, call);
}

API cuEventRecord(CUevent event, CUstream stream) {
    ENTER(cuEventRecord, CONTEXT);
    HOLD_LOCK();
    return record(event, stream, false, "cuEventRecord");
}

/* With CU_EVENT_RECORD_EXTERNAL a capture holds a node that records at each launch, not a dependency. */
API cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags) {
    ENTER(cuEventRecordWithFlags, CONTEXT);
    HOLD_LOCK();
    return record(event, stream, (flags & CU_EVENT_RECORD_EXTERNAL) != 0, "cuEventRecordWithFlags");
}

API cuStreamWaitEvent(CUstream stream_handle, CUevent event_handle, unsigned flags) {
    ENTER(cuStreamWaitEvent, CONTEXT);
    HOLD_LOCK();
    (void)flags;
    struct event *event = handle_object(HANDLE_EVENT, event_handle, "cuStreamWaitEvent");
    struct stream *stream = stream_of(stream_handle, "cuStreamWaitEvent");
    if (event == NULL || stream == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (event->capture != NULL || stream->capture != NULL) {
        return capture_wait(stream, event);
    }
    if (event->stream == NULL) {
        return CUDA_SUCCESS; /* never recorded: nothing to wait for */
    }
    struct operation *operation = operation_new(OP_WAIT, "cuStreamWaitEvent", 0);
    operation->wait.stream = event->stream;
    operation->wait.position = event->position;
    return stream_submit(stream, operation);
}

static bool is_pending(const struct event *event) { return event->completed < event->generation; }

API cuEventQuery(CUevent handle) {
    ENTER(cuEventQuery, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    const struct event *event = handle_object(HANDLE_EVENT, handle, "cuEventQuery");
    if (event == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (event->capture != NULL) {
        violation("captured event", "cuEventQuery", "%s", CAPTURED);
        return CUDA_ERROR_CAPTURED_EVENT;
    }
    return is_pending(event) ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

API cuEventSynchronize(CUevent handle) {
    ENTER(cuEventSynchronize, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    const struct event *event = handle_object(HANDLE_EVENT, handle, "cuEventSynchronize");
    const struct context *context = context_current();
    if (event == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (event->capture != NULL) {
        violation("captured event", "cuEventSynchronize", "%s", CAPTURED);
        return CUDA_ERROR_CAPTURED_EVENT;
    }
    while (is_pending(event) && context->error == CUDA_SUCCESS) {
        driver_wait();
    }
    return context->error;
}

static CUresult elapsed(float *milliseconds, CUevent from, CUevent to, const char *call) {
    const struct event *start = handle_object(HANDLE_EVENT, from, call);
    const struct event *end = handle_object(HANDLE_EVENT, to, call);
    if (start == NULL || end == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING) || !start->generation || !end->generation) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (is_pending(start) || is_pending(end)) {
        return CUDA_ERROR_NOT_READY;
    }
    *milliseconds = (float)((double)(int64_t)(end->time_ns - start->time_ns) / 1e6);
    return CUDA_SUCCESS;
}

API cuEventElapsedTime_v2(float *milliseconds, CUevent from, CUevent to) {
    ENTER(cuEventElapsedTime_v2, CONTEXT);
    HOLD_LOCK();
    return elapsed(milliseconds, from, to, "cuEventElapsedTime_v2");
}

#undef cuEventElapsedTime
CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to);

API cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
    ENTER(cuEventElapsedTime, CONTEXT);
    HOLD_LOCK();
    return elapsed(milliseconds, from, to, "cuEventElapsedTime");
}
