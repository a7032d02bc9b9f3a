/* Contexts: the device's primary one, others, and each thread's stack of them. */
#include "emulation.h"

#include <stdlib.h>

enum { MAX_DEPTH = 64 };

static _Thread_local struct context *stack[MAX_DEPTH];
static _Thread_local int depth;

static struct context *primary;
static long pushed; /* over all threads, those that have ended included */

struct context *context_current(void) { return depth > 0 ? stack[depth - 1] : NULL; }

struct context *context_primary(void) { return primary; }

long contexts_pushed(void) { return pushed; }

unsigned primary_references(void) { return primary == NULL ? 0 : primary->references; }

/* The errors after which CUDA's documentation says that the process must be ended to use the device again. */
bool error_is_sticky(CUresult code) {
    switch ((int)code) {
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_UNKNOWN:
        return true;
    default:
        return false;
    }
}

void context_fail(struct context *context, CUresult code) {
    if (context != NULL && context->error == CUDA_SUCCESS) {
        context->error = code;
        driver_changed();
    }
}

static struct context *make(bool is_primary, unsigned flags) {
    struct context *context = calloc(1, sizeof *context);
    context->primary = is_primary;
    context->references = 1;
    context->flags = flags;
    context->handle = handle_new(HANDLE_CONTEXT, context);
    context->legacy = stream_make(context, CU_STREAM_DEFAULT, 0);
    return context;
}

static void destroy(struct context *context, const char *call) {
    const size_t live = memory_live_count(context);
    if (live > 0) {
        violation("memory left in a context", call, "%zu allocations were live", live);
    }
    context->destroyed = true;
    stream_stop(context->legacy);
    memory_drop(context);
    handle_drop(context->handle);
    if (context == primary) {
        primary = NULL;
    }
    driver_changed();
}

static struct context *context_of(CUcontext handle, const char *call) {
    return handle_object(HANDLE_CONTEXT, handle, call);
}

static CUresult push(struct context *context) {
    if (depth == MAX_DEPTH) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    stack[depth++] = context;
    pushed++;
    return CUDA_SUCCESS;
}

static struct context *pop(void) {
    pushed--;
    return stack[--depth];
}

API cuDevicePrimaryCtxRetain(CUcontext *handle, CUdevice device) {
    ENTER(cuDevicePrimaryCtxRetain, INITIALIZED);
    HOLD_LOCK();
    if (device != 0) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    if (primary == NULL) {
        primary = make(true, 0);
    } else {
        primary->references++;
    }
    *handle = primary->handle;
    return CUDA_SUCCESS;
}

static CUresult release_primary(const char *call) {
    if (primary == NULL) {
        violation("context released too often", call, "the primary context is not retained");
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (--primary->references == 0) {
        destroy(primary, call);
    }
    return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    ENTER(cuDevicePrimaryCtxRelease_v2, INITIALIZED);
    HOLD_LOCK();
    return device != 0 ? CUDA_ERROR_INVALID_DEVICE : release_primary("cuDevicePrimaryCtxRelease_v2");
}

API cuDevicePrimaryCtxReset_v2(CUdevice device) {
    ENTER(cuDevicePrimaryCtxReset_v2, INITIALIZED);
    HOLD_LOCK();
    if (device == 0 && primary != NULL) {
        destroy(primary, "cuDevicePrimaryCtxReset_v2");
    }
    return device != 0 ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

API cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) {
    ENTER(cuDevicePrimaryCtxSetFlags_v2, INITIALIZED);
    HOLD_LOCK();
    if (primary != NULL) {
        primary->flags = flags;
    }
    return device != 0 ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

API cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    ENTER(cuDevicePrimaryCtxGetState, INITIALIZED);
    HOLD_LOCK();
    *flags = primary == NULL ? 0 : primary->flags;
    *active = primary != NULL;
    return device != 0 ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

API cuCtxCreate_v4(CUcontext *handle, CUctxCreateParams *parameters, unsigned flags, CUdevice device) {
    ENTER(cuCtxCreate_v4, INITIALIZED);
    HOLD_LOCK();
    if (device != 0 || parameters != NULL) {
        return device != 0 ? CUDA_ERROR_INVALID_DEVICE : CUDA_ERROR_NOT_SUPPORTED;
    }
    struct context *context = make(false, flags);
    *handle = context->handle;
    return push(context);
}

API cuCtxDestroy_v2(CUcontext handle) {
    ENTER(cuCtxDestroy_v2, INITIALIZED);
    HOLD_LOCK();
    struct context *context = context_of(handle, "cuCtxDestroy_v2");
    if (context == NULL || context->primary) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (context_current() == context) {
        pop();
    }
    destroy(context, "cuCtxDestroy_v2");
    return CUDA_SUCCESS;
}

/* pycuda calls this for a primary context too, when its object dies. What a driver answers is not documented; here it
 * gives up the reference and, as CUDA does for a context destroyed while current, takes it off the stack. */
API cuCtxDetach(CUcontext handle) {
    ENTER(cuCtxDetach, INITIALIZED);
    HOLD_LOCK();
    struct context *context = context_of(handle, "cuCtxDetach");
    if (context == NULL) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (context_current() == context) {
        pop();
    }
    if (--context->references == 0) {
        destroy(context, "cuCtxDetach");
    }
    return CUDA_SUCCESS;
}

API cuCtxPushCurrent_v2(CUcontext handle) {
    ENTER(cuCtxPushCurrent_v2, INITIALIZED);
    HOLD_LOCK();
    struct context *context = context_of(handle, "cuCtxPushCurrent_v2");
    return context == NULL ? CUDA_ERROR_INVALID_CONTEXT : push(context);
}

API cuCtxPopCurrent_v2(CUcontext *handle) {
    ENTER(cuCtxPopCurrent_v2, INITIALIZED);
    HOLD_LOCK();
    if (depth == 0) {
        violation("empty context stack", "cuCtxPopCurrent_v2", "nothing to pop in this thread");
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    const struct context *context = pop();
    if (handle != NULL) {
        *handle = context->handle;
    }
    return CUDA_SUCCESS;
}

API cuCtxSetCurrent(CUcontext handle) {
    ENTER(cuCtxSetCurrent, INITIALIZED);
    HOLD_LOCK();
    struct context *context = handle == NULL ? NULL : context_of(handle, "cuCtxSetCurrent");
    if (handle != NULL && context == NULL) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (depth > 0) {
        pop();
    }
    return context == NULL ? CUDA_SUCCESS : push(context);
}

API cuCtxGetCurrent(CUcontext *handle) {
    ENTER(cuCtxGetCurrent, INITIALIZED);
    HOLD_LOCK();
    const struct context *context = context_current();
    *handle = context == NULL ? NULL : context->handle;
    return CUDA_SUCCESS;
}

API cuCtxGetDevice(CUdevice *device) {
    ENTER(cuCtxGetDevice, INITIALIZED);
    HOLD_LOCK();
    *device = 0;
    return context_current() == NULL ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

API cuCtxGetApiVersion(CUcontext handle, unsigned *version) {
    ENTER(cuCtxGetApiVersion, INITIALIZED);
    HOLD_LOCK();
    (void)handle;
    *version = (unsigned)device_settings()->driver_version;
    return CUDA_SUCCESS;
}

API cuCtxSynchronize(void) {
    ENTER(cuCtxSynchronize, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    return context_drain(context_current());
}
