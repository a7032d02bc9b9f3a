/* Copies and fills, in a stream's order or at once. */
#include "emulation.h"

#include <stdlib.h>
#include <string.h>

/* The host's side of a copy: pinned, or pageable, or no address of the host at all. */
static CUresult host_side(const void *host, size_t bytes, const char *call, bool *pageable) {
    const struct allocation *found = memory_at(host);
    *pageable = found == NULL;
    if (host == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (found == NULL || memory_host_is_pinned(host, bytes)) {
        return CUDA_SUCCESS;
    }
    if (found->freed) {
        violation("use after free", call, "%p was freed", host);
    } else if (found->host == NULL) {
        violation("device address on the host", call, "%p is the device's", host);
    } else {
        violation("out of bounds", call, "%zu bytes in an allocation of %zu", bytes, found->bytes);
    }
    return CUDA_ERROR_INVALID_VALUE;
}

static struct operation *copy(void *to, const void *from, size_t bytes, const char *call) {
    struct operation *operation = operation_new(OP_COPY, call, 0);
    operation->copy.to = to;
    operation->copy.from = from;
    operation->copy.bytes = bytes;
    return operation;
}

/* The driver has read pageable memory when an asynchronous copy from it returns. */
static struct operation *staged(void *to, const void *from, size_t bytes, const char *call) {
    struct operation *operation = operation_new(OP_COPY, call, bytes);
    memcpy(operation->data, from, bytes);
    operation->copy.to = to;
    operation->copy.bytes = bytes;
    return operation;
}

static void tell_pageable(const char *call) {
    violation("pageable memory in an asynchronous copy", call, "the copy is not asynchronous");
}

static CUresult to_device(CUdeviceptr to, const void *from, size_t bytes, struct stream *stream, bool wait,
                          const char *call) {
    bool pageable;
    const CUresult result = stream == NULL ? CUDA_ERROR_INVALID_HANDLE : host_side(from, bytes, call, &pageable);
    if (result != CUDA_SUCCESS) {
        return result;
    }
    if (pageable && !wait) {
        tell_pageable(call);
    }
    const bool stage = pageable && !wait && stream->capture == NULL;
    struct operation *operation = (stage ? staged : copy)((void *)to, from, bytes, call);
    operation->copy.to_device = true;
    const CUresult submitted = stream_submit(stream, operation);
    return submitted == CUDA_SUCCESS && wait ? stream_drain(stream) : submitted;
}

static CUresult to_host(void *to, CUdeviceptr from, size_t bytes, struct stream *stream, bool wait, const char *call) {
    bool pageable;
    const CUresult result = stream == NULL ? CUDA_ERROR_INVALID_HANDLE : host_side(to, bytes, call, &pageable);
    if (result != CUDA_SUCCESS) {
        return result;
    }
    if (pageable && !wait) {
        tell_pageable(call);
    }
    struct operation *operation = copy(to, (const void *)from, bytes, call);
    operation->copy.from_device = true;
    const CUresult submitted = stream_submit(stream, operation);
    const bool drain = wait || (pageable && stream->capture == NULL);
    return submitted == CUDA_SUCCESS && drain ? stream_drain(stream) : submitted;
}

static CUresult on_device(CUdeviceptr to, CUdeviceptr from, size_t bytes, struct stream *stream, const char *call) {
    if (stream == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    struct operation *operation = copy((void *)to, (const void *)from, bytes, call);
    operation->copy.to_device = operation->copy.from_device = true;
    return stream_submit(stream, operation);
}

API cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
    ENTER(cuMemcpyHtoD_v2, CONTEXT);
    HOLD_LOCK();
    return to_device(to, from, bytes, context_current()->legacy, true, "cuMemcpyHtoD_v2");
}

API cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
    ENTER(cuMemcpyDtoH_v2, CONTEXT);
    HOLD_LOCK();
    return to_host(to, from, bytes, context_current()->legacy, true, "cuMemcpyDtoH_v2");
}

API cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    ENTER(cuMemcpyDtoD_v2, CONTEXT);
    HOLD_LOCK();
    return on_device(to, from, bytes, context_current()->legacy, "cuMemcpyDtoD_v2");
}

API cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
    ENTER(cuMemcpyHtoDAsync_v2, CONTEXT);
    HOLD_LOCK();
    return to_device(to, from, bytes, stream_of(stream, "cuMemcpyHtoDAsync_v2"), false, "cuMemcpyHtoDAsync_v2");
}

API cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
    ENTER(cuMemcpyDtoHAsync_v2, CONTEXT);
    HOLD_LOCK();
    return to_host(to, from, bytes, stream_of(stream, "cuMemcpyDtoHAsync_v2"), false, "cuMemcpyDtoHAsync_v2");
}

API cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    ENTER(cuMemcpyDtoDAsync_v2, CONTEXT);
    HOLD_LOCK();
    return on_device(to, from, bytes, stream_of(stream, "cuMemcpyDtoDAsync_v2"), "cuMemcpyDtoDAsync_v2");
}

/* Asynchronous even without a stream, as CUDA documents: only work on the legacy stream is ordered after it. */
static CUresult fill(CUdeviceptr to, uint32_t value, unsigned width, size_t elements, struct stream *stream,
                     const char *call) {
    if (stream == NULL || to % width != 0) {
        return stream == NULL ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    }
    struct operation *operation = operation_new(OP_FILL, call, 0);
    operation->fill.to = (void *)to;
    operation->fill.value = value;
    operation->fill.width = width;
    operation->fill.elements = elements;
    return stream_submit(stream, operation);
}

API cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t elements) {
    ENTER(cuMemsetD8_v2, CONTEXT);
    HOLD_LOCK();
    return fill(to, value, 1, elements, context_current()->legacy, "cuMemsetD8_v2");
}

API cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t elements) {
    ENTER(cuMemsetD16_v2, CONTEXT);
    HOLD_LOCK();
    return fill(to, value, 2, elements, context_current()->legacy, "cuMemsetD16_v2");
}

API cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t elements) {
    ENTER(cuMemsetD32_v2, CONTEXT);
    HOLD_LOCK();
    return fill(to, value, 4, elements, context_current()->legacy, "cuMemsetD32_v2");
}

API cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t elements, CUstream stream) {
    ENTER(cuMemsetD8Async, CONTEXT);
    HOLD_LOCK();
    return fill(to, value, 1, elements, stream_of(stream, "cuMemsetD8Async"), "cuMemsetD8Async");
}

API cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t elements, CUstream stream) {
    ENTER(cuMemsetD16Async, CONTEXT);
    HOLD_LOCK();
    return fill(to, value, 2, elements, stream_of(stream, "cuMemsetD16Async"), "cuMemsetD16Async");
}

API cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t elements, CUstream stream) {
    ENTER(cuMemsetD32Async, CONTEXT);
    HOLD_LOCK();
    return fill(to, value, 4, elements, stream_of(stream, "cuMemsetD32Async"), "cuMemsetD32Async");
}
