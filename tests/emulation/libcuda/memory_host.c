/* Pinned memory: allocated here, or registered where it lies. */
#include "memory.h"

static const unsigned HOST_FLAGS = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;

static CUresult allocate(void **host, size_t bytes, unsigned flags) {
    struct allocation *made;
    if ((flags & ~HOST_FLAGS) != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    const CUresult result = memory_make(MEMORY_PINNED, bytes, flags, &made);
    if (result == CUDA_SUCCESS) {
        *host = made->host;
    }
    return result;
}

API cuMemHostAlloc(void **host, size_t bytes, unsigned flags) {
    ENTER(cuMemHostAlloc, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    return allocate(host, bytes, flags);
}

API cuMemAllocHost_v2(void **host, size_t bytes) {
    ENTER(cuMemAllocHost_v2, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    return allocate(host, bytes, 0);
}

API cuMemFreeHost(void *host) {
    ENTER(cuMemFreeHost, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    struct allocation *found = memory_starting_at(host, "cuMemFreeHost");
    if (found != NULL && found->host != host) {
        violation("wrong free", "cuMemFreeHost", "%p is the device's address", host);
        return CUDA_ERROR_INVALID_VALUE;
    }
    return memory_release(MEMORY_PINNED, found, "cuMemFreeHost");
}

API cuMemHostRegister_v2(void *host, size_t bytes, unsigned flags) {
    ENTER(cuMemHostRegister_v2, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    return memory_register(host, bytes, flags);
}

API cuMemHostUnregister(void *host) {
    ENTER(cuMemHostUnregister, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    struct allocation *found = memory_at(host);
    if (found == NULL || found->kind != MEMORY_REGISTERED) {
        return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
    }
    return memory_release(MEMORY_REGISTERED, found, "cuMemHostUnregister");
}

static const struct allocation *pinned_at(const void *host) {
    const struct allocation *found = memory_at(host);
    const bool pinned = found != NULL && !found->freed && found->host != NULL && memory_host_is_pinned(host, 1);
    return pinned ? found : NULL;
}

API cuMemHostGetDevicePointer_v2(CUdeviceptr *device, void *host, unsigned flags) {
    ENTER(cuMemHostGetDevicePointer_v2, CONTEXT);
    HOLD_LOCK();
    const struct allocation *found = pinned_at(host);
    if (found == NULL || flags != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *device = (CUdeviceptr)(found->device + ((char *)host - found->host));
    return CUDA_SUCCESS;
}

API cuMemHostGetFlags(unsigned *flags, void *host) {
    ENTER(cuMemHostGetFlags, CONTEXT);
    HOLD_LOCK();
    const struct allocation *found = pinned_at(host);
    if (found == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *flags = found->flags;
    return CUDA_SUCCESS;
}
