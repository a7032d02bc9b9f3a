/* What a stream does one after the other: copies, fills, kernels and calls of the host. */
#include "emulation.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static unsigned long done[OP_KINDS];
static _Thread_local sigjmp_buf *escape; /* set while this thread runs a kernel */
static struct sigaction before;

const char *operation_name(enum operation_kind kind) {
    static const char *const names[OP_KINDS] = {"copy", "fill", "kernel", "host", "record", "wait"};
    return names[kind];
}

struct operation *operation_new(enum operation_kind kind, const char *call, size_t extra) {
    struct operation *operation = calloc(1, sizeof *operation + extra);
    operation->kind = kind;
    operation->call = call;
    operation->extra = extra;
    return operation;
}

struct operation *operation_clone(const struct operation *operation) {
    const size_t bytes = sizeof *operation + operation->extra;
    struct operation *clone = malloc(bytes);
    memcpy(clone, operation, bytes);
    clone->next = NULL;
    return clone;
}

static size_t argument_size(const struct kernel *kernel, size_t index, size_t left) {
    if (kernel->sizes == NULL) {
        return left >= sizeof(uint64_t) ? sizeof(uint64_t) : 0;
    }
    return kernel->sizes[index];
}

/* Packed as the host compiler lays out a struct: each argument at a multiple of its size, at most eight. */
static size_t unpack(const struct operation *operation, void **arguments, size_t *sizes) {
    size_t offset = 0, count = 0;
    while (count < MAX_PARAMETERS) {
        const size_t left = operation->extra - offset;
        const size_t size = argument_size(&operation->launch.kernel, count, left);
        const size_t alignment = size < 8 ? size : 8;
        if (size == 0) {
            break;
        }
        offset = (offset + alignment - 1) / alignment * alignment;
        arguments[count] = (void *)(operation->data + offset);
        sizes[count++] = size;
        offset += size;
    }
    return count;
}

static CUresult check_arguments(const struct operation *operation) {
    void *arguments[MAX_PARAMETERS];
    size_t sizes[MAX_PARAMETERS];
    const size_t count = unpack(operation, arguments, sizes);
    for (size_t i = 0; i < count; i++) {
        if (sizes[i] != sizeof(CUdeviceptr)) {
            continue;
        }
        CUdeviceptr value;
        memcpy(&value, arguments[i], sizeof value);
        /* A number that is no address of ours may be anything; one that is must be the device's, and live. */
        if (memory_at((void *)value) != NULL) {
            const CUresult result = memory_check_device(value, 1, operation->call);
            if (result != CUDA_SUCCESS) {
                return result;
            }
        }
    }
    return CUDA_SUCCESS;
}

static CUresult check_copy(const struct operation *operation) {
    if (operation->copy.bytes == 0) {
        return CUDA_SUCCESS;
    }
    CUresult result = CUDA_SUCCESS;
    if (operation->copy.to_device) {
        result = memory_check_device((CUdeviceptr)operation->copy.to, operation->copy.bytes, operation->call);
    }
    if (result == CUDA_SUCCESS && operation->copy.from_device) {
        result = memory_check_device((CUdeviceptr)operation->copy.from, operation->copy.bytes, operation->call);
    }
    const void *host = operation->copy.to_device ? operation->copy.from : operation->copy.to;
    const struct allocation *there = host == NULL ? NULL : memory_at(host);
    if (result == CUDA_SUCCESS && there != NULL && there->freed) {
        violation("use after free", operation->call, "%p was freed", host);
        result = CUDA_ERROR_INVALID_VALUE;
    }
    return result;
}

CUresult operation_check(const struct operation *operation) {
    switch (operation->kind) {
    case OP_COPY:
        return check_copy(operation);
    case OP_FILL:
        return memory_check_device((CUdeviceptr)operation->fill.to, operation->fill.width * operation->fill.elements,
                                   operation->call);
    case OP_KERNEL:
        return check_arguments(operation);
    default:
        return CUDA_SUCCESS;
    }
}

static void run_copy(const struct operation *operation) {
    const void *from = operation->copy.from == NULL ? operation->data : operation->copy.from;
    memmove(operation->copy.to, from, operation->copy.bytes);
}

static void run_fill(const struct operation *operation) {
    char *to = operation->fill.to;
    for (size_t i = 0; i < operation->fill.elements; i++) {
        memcpy(to + i * operation->fill.width, &operation->fill.value, operation->fill.width);
    }
}

static void on_fault(int signal_number, siginfo_t *information, void *machine) {
    (void)signal_number;
    (void)information;
    (void)machine;
    if (escape != NULL) {
        siglongjmp(*escape, 1);
    }
    sigaction(SIGSEGV, &before, NULL); /* not ours: the access is tried again, and handled as it was before */
}

static void install_handler(void) {
    const struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, &before);
}

/* A kernel that leaves its memory runs into a guard page; a device answers with an illegal address, so it is one. */
static CUresult run_kernel(const struct operation *operation) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install_handler);
    void *arguments[MAX_PARAMETERS];
    size_t sizes[MAX_PARAMETERS];
    sigjmp_buf place;
    unpack(operation, arguments, sizes);
    const unsigned *grid = operation->launch.grid, *block = operation->launch.block;
    if (sigsetjmp(place, 1) != 0) {
        escape = NULL;
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    escape = &place;
    operation->launch.kernel.launch(grid[0], grid[1], grid[2], block[0], block[1], block[2], arguments);
    escape = NULL;
    return CUDA_SUCCESS;
}

CUresult operation_run(const struct operation *operation) {
    CUresult result = CUDA_SUCCESS;
    switch (operation->kind) {
    case OP_COPY:
        run_copy(operation);
        break;
    case OP_FILL:
        run_fill(operation);
        break;
    case OP_KERNEL:
        result = run_kernel(operation);
        break;
    case OP_HOST:
        operation->host.function(operation->host.user);
        break;
    default:
        break;
    }
    __atomic_add_fetch(&done[operation->kind], 1, __ATOMIC_RELAXED);
    return result;
}

void operations_write(FILE *out) {
    fputc('{', out);
    for (int kind = 0; kind < OP_KINDS; kind++) {
        fprintf(out, "%s\"%s\": %lu", kind == 0 ? "" : ", ", operation_name((enum operation_kind)kind), done[kind]);
    }
    fputc('}', out);
}
