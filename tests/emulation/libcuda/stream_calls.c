/* The calls on streams. */
#include "emulation.h"

static CUresult create(CUstream *handle, unsigned flags, int priority) {
    if ((flags & ~(unsigned)CU_STREAM_NON_BLOCKING) != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct stream *stream = stream_make(context_current(), flags, priority);
    *handle = stream->handle = handle_new(HANDLE_STREAM, stream);
    return CUDA_SUCCESS;
}

API cuStreamCreate(CUstream *handle, unsigned flags) {
    ENTER(cuStreamCreate, CONTEXT);
    HOLD_LOCK();
    return create(handle, flags, 0);
}

API cuStreamCreateWithPriority(CUstream *handle, unsigned flags, int priority) {
    ENTER(cuStreamCreateWithPriority, CONTEXT);
    HOLD_LOCK();
    return create(handle, flags, priority);
}

API cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    ENTER(cuCtxGetStreamPriorityRange, CONTEXT);
    HOLD_LOCK();
    *least = 0;
    *greatest = -5;
    return CUDA_SUCCESS;
}

/* As CUDA does, returns at once; what was submitted is still done. */
API cuStreamDestroy_v2(CUstream handle) {
    ENTER(cuStreamDestroy_v2, CONTEXT);
    HOLD_LOCK();
    struct stream *stream = handle_object(HANDLE_STREAM, handle, "cuStreamDestroy_v2");
    if (stream == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (stream->capture != NULL) {
        violation("stream destroyed during its capture", "cuStreamDestroy_v2", "%p", (void *)handle);
        capture_invalidate(stream->capture);
    }
    handle_drop(handle);
    stream_stop(stream);
    return CUDA_SUCCESS;
}

static bool is_captured(const struct stream *stream) {
    if (stream->capture != NULL) {
        capture_invalidate(stream->capture);
    }
    return stream->capture != NULL;
}

API cuStreamSynchronize(CUstream handle) {
    ENTER(cuStreamSynchronize, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    struct stream *stream = stream_of(handle, "cuStreamSynchronize");
    if (stream == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    return is_captured(stream) ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : stream_drain(stream);
}

API cuStreamQuery(CUstream handle) {
    ENTER(cuStreamQuery, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    const struct stream *stream = stream_of(handle, "cuStreamQuery");
    if (stream == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (is_captured(stream)) {
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return stream->completed < stream->submitted ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

API cuStreamGetFlags(CUstream handle, unsigned *flags) {
    ENTER(cuStreamGetFlags, CONTEXT);
    HOLD_LOCK();
    const struct stream *stream = stream_of(handle, "cuStreamGetFlags");
    if (stream == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *flags = stream->flags;
    return CUDA_SUCCESS;
}

API cuStreamGetPriority(CUstream handle, int *priority) {
    ENTER(cuStreamGetPriority, CONTEXT);
    HOLD_LOCK();
    const struct stream *stream = stream_of(handle, "cuStreamGetPriority");
    if (stream == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *priority = stream->priority;
    return CUDA_SUCCESS;
}

API cuLaunchHostFunc(CUstream handle, CUhostFn function, void *user) {
    ENTER(cuLaunchHostFunc, CONTEXT);
    HOLD_LOCK();
    struct stream *stream = stream_of(handle, "cuLaunchHostFunc");
    if (stream == NULL || function == NULL) {
        return stream == NULL ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    }
    struct operation *operation = operation_new(OP_HOST, "cuLaunchHostFunc", 0);
    operation->host.function = function;
    operation->host.user = user;
    return stream_submit(stream, operation);
}
