/* Capture: what is submitted to the stream becomes a graph; what CUDA forbids meanwhile is refused. */
#include "emulation.h"

#include <stdlib.h>

struct capture {
    CUstreamCaptureMode mode;
    pthread_t owner;
    struct stream *origin;
    struct graph *graph;
    bool invalid, ended;
    unsigned long id;
    struct capture *next;
};

enum { MAX_FORKS = 32 };

static struct capture *active;
static struct stream *forks[MAX_FORKS]; /* streams that joined a capture by waiting for an event of it */
static size_t fork_count;
static _Thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

void capture_invalidate(struct capture *capture) { capture->invalid = true; }

static bool is_own(const struct capture *capture) {
    return capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && pthread_equal(capture->owner, pthread_self());
}

static bool binds_this_thread(const struct capture *capture) {
    if (thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED) {
        return false;
    }
    const bool everywhere = capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
    return is_own(capture) || (everywhere && thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL);
}

bool capture_forbids(const char *call) {
    bool forbidden = false;
    for (struct capture *capture = active; capture != NULL; capture = capture->next) {
        if (binds_this_thread(capture)) {
            violation("unsafe call during a capture", call, "the capture is no longer valid");
            capture_invalidate(capture);
            forbidden = true;
        }
    }
    return forbidden;
}

bool capture_forbids_legacy(const char *call) {
    bool forbidden = false;
    for (struct capture *capture = active; capture != NULL; capture = capture->next) {
        const bool blocking = (capture->origin->flags & CU_STREAM_NON_BLOCKING) == 0;
        if (blocking || binds_this_thread(capture)) {
            violation("legacy stream during a capture", call, "the capture is no longer valid");
            capture_invalidate(capture);
            forbidden = true;
        }
    }
    return forbidden;
}

CUresult capture_add(struct stream *stream, struct operation *operation) {
    struct capture *capture = stream->capture;
    if (capture->invalid) {
        free(operation);
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    stream->captured++;
    stream->joined = false;
    graph_append(capture->graph, operation);
    return CUDA_SUCCESS;
}

CUresult capture_record(struct stream *stream, struct event *event) {
    event->capture = stream->capture;
    event->stream = stream;
    event->position = stream->captured;
    return CUDA_SUCCESS;
}

static CUresult join(struct stream *stream, struct capture *capture) {
    if (fork_count == MAX_FORKS || stream_is_legacy(stream)) {
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    forks[fork_count++] = stream;
    stream->capture = capture;
    stream->captured = 0;
    return CUDA_SUCCESS;
}

/* A wait inside one capture; the first makes the waiting stream part of it, and one back joins the streams again. */
CUresult capture_wait(struct stream *stream, struct event *event) {
    if (event->capture == NULL || event->capture->ended) {
        violation("event from outside a capture", "cuStreamWaitEvent", "the capture is no longer valid");
        if (stream->capture != NULL) {
            capture_invalidate(stream->capture);
        }
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    if (stream->capture == NULL) {
        const CUresult joined = join(stream, event->capture);
        if (joined != CUDA_SUCCESS) {
            return joined;
        }
    }
    if (stream->capture != event->capture) {
        capture_invalidate(stream->capture);
        return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    stream->joined = false;
    if (event->stream != stream && event->stream->captured == event->position) {
        event->stream->joined = true;
    }
    return CUDA_SUCCESS;
}

/* True when every stream that was drawn in has been waited for; they all leave the capture. */
static bool release_forks(const struct capture *capture) {
    bool joined = true;
    size_t kept = 0;
    for (size_t i = 0; i < fork_count; i++) {
        if (forks[i]->capture != capture) {
            forks[kept++] = forks[i];
            continue;
        }
        joined = joined && forks[i]->joined;
        forks[i]->capture = NULL;
    }
    fork_count = kept;
    return joined;
}

static void leave(struct capture *capture) {
    struct capture **place = &active;
    while (*place != capture) {
        place = &(*place)->next;
    }
    *place = capture->next;
    capture->origin->capture = NULL;
    capture->ended = true; /* the record stays: events may still name it */
}

API cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
    ENTER(cuStreamBeginCapture_v2, CONTEXT);
    HOLD_LOCK();
    static unsigned long ids;
    struct stream *stream = stream_of(handle, "cuStreamBeginCapture_v2");
    if (stream == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (stream_is_legacy(stream)) {
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (stream->capture != NULL) {
        return CUDA_ERROR_ILLEGAL_STATE;
    }
    struct capture *capture = calloc(1, sizeof *capture);
    capture->mode = mode;
    capture->owner = pthread_self();
    capture->origin = stream;
    capture->graph = graph_make();
    capture->id = ++ids;
    capture->next = active;
    active = capture;
    stream->capture = capture;
    stream->captured = 0;
    return CUDA_SUCCESS;
}

static CUresult end(struct capture *capture) {
    const bool joined = release_forks(capture);
    if (capture->invalid) {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    return joined ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
}

API cuStreamEndCapture(CUstream handle, CUgraph *graph) {
    ENTER(cuStreamEndCapture, CONTEXT);
    HOLD_LOCK();
    struct stream *stream = stream_of(handle, "cuStreamEndCapture");
    *graph = NULL;
    if (stream == NULL || stream->capture == NULL) {
        return stream == NULL ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_ILLEGAL_STATE;
    }
    struct capture *capture = stream->capture;
    if (capture->origin != stream) {
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    }
    const bool anywhere = capture->mode == CU_STREAM_CAPTURE_MODE_RELAXED;
    if (!anywhere && !pthread_equal(capture->owner, pthread_self())) {
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    }
    const CUresult result = end(capture);
    leave(capture);
    if (result != CUDA_SUCCESS) {
        graph_delete(capture->graph);
        return result;
    }
    *graph = capture->graph->handle = handle_new(HANDLE_GRAPH, capture->graph);
    return CUDA_SUCCESS;
}

API cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
    ENTER(cuStreamIsCapturing, CONTEXT);
    HOLD_LOCK();
    const struct stream *stream = stream_of(handle, "cuStreamIsCapturing");
    if (stream == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    if (stream->capture != NULL) {
        *status = stream->capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    }
    return CUDA_SUCCESS;
}

API cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
    ENTER(cuThreadExchangeStreamCaptureMode, INITIALIZED);
    HOLD_LOCK();
    const CUstreamCaptureMode previous = thread_mode;
    thread_mode = *mode;
    *mode = previous;
    return CUDA_SUCCESS;
}
