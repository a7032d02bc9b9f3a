/* Device and managed memory. */
#include "memory.h"

API cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
    ENTER(cuMemAlloc_v2, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    struct allocation *made;
    const CUresult result = memory_make(MEMORY_DEVICE, bytes, 0, &made);
    if (result == CUDA_SUCCESS) {
        *address = (CUdeviceptr)made->device;
    }
    return result;
}

API cuMemAllocPitch_v2(CUdeviceptr *address, size_t *pitch, size_t width, size_t height, unsigned element) {
    ENTER(cuMemAllocPitch_v2, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    if (element != 4 && element != 8 && element != 16) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct allocation *made;
    *pitch = (width + 511) / 512 * 512;
    const CUresult result = memory_make(MEMORY_DEVICE, *pitch * height, 0, &made);
    if (result == CUDA_SUCCESS) {
        *address = (CUdeviceptr)made->device;
    }
    return result;
}

API cuMemAllocManaged(CUdeviceptr *address, size_t bytes, unsigned flags) {
    ENTER(cuMemAllocManaged, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    struct allocation *made;
    const CUresult result = memory_make(MEMORY_MANAGED, bytes, flags, &made);
    if (result == CUDA_SUCCESS) {
        *address = (CUdeviceptr)made->device;
    }
    return result;
}

/* CUDA waits for the device here. The emulation does not: work still queued on freed memory is misuse, and shows. */
API cuMemFree_v2(CUdeviceptr address) {
    ENTER(cuMemFree_v2, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    if (address == 0) {
        return CUDA_SUCCESS;
    }
    struct allocation *found = memory_starting_at((void *)address, "cuMemFree_v2");
    return memory_release(MEMORY_DEVICE, found, "cuMemFree_v2");
}

API cuMemGetInfo_v2(size_t *available, size_t *total) {
    ENTER(cuMemGetInfo_v2, CONTEXT);
    HOLD_LOCK();
    *total = device_settings()->memory;
    *available = *total - memory_live_bytes(MEMORY_DEVICE);
    return CUDA_SUCCESS;
}

API cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr address) {
    ENTER(cuMemGetAddressRange_v2, CONTEXT);
    HOLD_LOCK();
    const struct allocation *found = memory_at((void *)address);
    if (found == NULL || found->freed) {
        return CUDA_ERROR_NOT_FOUND;
    }
    if (base != NULL) {
        *base = (CUdeviceptr)found->device;
    }
    if (bytes != NULL) {
        *bytes = found->bytes;
    }
    return CUDA_SUCCESS;
}

API cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr address) {
    ENTER(cuPointerGetAttribute, CONTEXT);
    HOLD_LOCK();
    const struct allocation *found = memory_at((void *)address);
    if (found == NULL || found->freed) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    switch ((int)attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(unsigned *)value = found->kind == MEMORY_DEVICE ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        *(CUdeviceptr *)value = (CUdeviceptr)found->device;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        *(void **)value = found->host;
        return found->host == NULL ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}
