/* Modules and kernels: the binary is checked, and the kernel found by its name in the library of the g++ build.
 *
 * EMULATED_CUDA_KERNELS names that library. For a kernel NAME it exports NAME__launch, and NAME__sizes (the bytes of
 * each argument, ended by 0) unless every argument has eight.
 */
#include "emulation.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KERNELS = 64 };

struct module {
    void *image;
    CUfunction functions[MAX_KERNELS];
    size_t count;
};

struct function {
    char name[256];
    struct kernel kernel;
    unsigned block[3];
};

static void *library(void) {
    static void *opened;
    const char *path = getenv("EMULATED_CUDA_KERNELS");
    if (opened == NULL && path != NULL) {
        opened = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (opened == NULL) {
            violation("no kernel library", "cuModuleGetFunction", "%s", dlerror());
        }
    }
    return opened;
}

static void *symbol(const char *name, const char *suffix) {
    char full[300];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    return library() == NULL ? NULL : dlsym(library(), full);
}

static CUresult load(CUmodule *handle, const void *image) {
    const CUresult result = image_check(image, device_settings());
    if (result != CUDA_SUCCESS) {
        return result;
    }
    struct module *module = calloc(1, sizeof *module);
    const size_t bytes = image_size(image);
    module->image = malloc(bytes);
    memcpy(module->image, image, bytes);
    *handle = handle_new(HANDLE_MODULE, module);
    return CUDA_SUCCESS;
}

API cuModuleLoadData(CUmodule *handle, const void *image) {
    ENTER(cuModuleLoadData, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    return load(handle, image);
}

API cuModuleLoadDataEx(CUmodule *handle, const void *image, unsigned count, CUjit_option *options, void **values) {
    ENTER(cuModuleLoadDataEx, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    (void)values;
    for (unsigned i = 0; i < count; i++) {
        /* The sizes of the logs come back: both logs are empty. */
        if (options[i] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES || options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) {
            values[i] = NULL;
        }
    }
    return load(handle, image);
}

static CUresult load_file(CUmodule *handle, FILE *file) {
    fseek(file, 0, SEEK_END);
    const long bytes = ftell(file);
    rewind(file);
    char *image = calloc(1, (size_t)bytes + 64);
    const bool whole = fread(image, 1, (size_t)bytes, file) == (size_t)bytes;
    const CUresult result = whole ? load(handle, image) : CUDA_ERROR_INVALID_IMAGE;
    free(image);
    return result;
}

API cuModuleLoad(CUmodule *handle, const char *path) {
    ENTER(cuModuleLoad, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return CUDA_ERROR_FILE_NOT_FOUND;
    }
    const CUresult result = load_file(handle, file);
    fclose(file);
    return result;
}

static void forget_functions(struct module *module) {
    for (size_t i = 0; i < module->count; i++) {
        handle_drop(module->functions[i]);
    }
}

API cuModuleUnload(CUmodule handle) {
    ENTER(cuModuleUnload, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    struct module *module = handle_object(HANDLE_MODULE, handle, "cuModuleUnload");
    if (module == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    forget_functions(module);
    handle_drop(handle);
    free(module->image);
    free(module);
    return CUDA_SUCCESS;
}

static CUfunction add_function(struct module *module, const char *name, kernel_launch launch) {
    struct function *function = calloc(1, sizeof *function); /* stays: a graph may still name it */
    snprintf(function->name, sizeof function->name, "%s", name);
    function->kernel.name = function->name;
    function->kernel.launch = launch;
    function->kernel.sizes = symbol(name, "__sizes");
    const CUfunction handle = handle_new(HANDLE_FUNCTION, function);
    module->functions[module->count++] = handle;
    return handle;
}

API cuModuleGetFunction(CUfunction *handle, CUmodule module_handle, const char *name) {
    ENTER(cuModuleGetFunction, CONTEXT);
    HOLD_LOCK();
    struct module *module = handle_object(HANDLE_MODULE, module_handle, "cuModuleGetFunction");
    if (module == NULL || module->count == MAX_KERNELS) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (!image_names(module->image, name)) {
        return CUDA_ERROR_NOT_FOUND;
    }
    void *address = symbol(name, "__launch");
    if (address == NULL) {
        violation("no kernel library", "cuModuleGetFunction", "%s__launch is not in EMULATED_CUDA_KERNELS", name);
        return CUDA_ERROR_NOT_FOUND;
    }
    kernel_launch launch;
    memcpy(&launch, &address, sizeof launch); /* ISO C has no cast from an object's to a function's address */
    *handle = add_function(module, name, launch);
    return CUDA_SUCCESS;
}

/* ---- launches */

API cuFuncSetBlockShape(CUfunction handle, int x, int y, int z) {
    ENTER(cuFuncSetBlockShape, CONTEXT);
    HOLD_LOCK();
    struct function *function = handle_object(HANDLE_FUNCTION, handle, "cuFuncSetBlockShape");
    if (function == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    function->block[0] = (unsigned)x;
    function->block[1] = (unsigned)y;
    function->block[2] = (unsigned)z;
    return CUDA_SUCCESS;
}

API cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction handle) {
    ENTER(cuFuncGetAttribute, CONTEXT);
    HOLD_LOCK();
    if (handle_object(HANDLE_FUNCTION, handle, "cuFuncGetAttribute") == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024 : 0;
    return CUDA_SUCCESS;
}

API cuFuncSetCacheConfig(CUfunction handle, CUfunc_cache config) {
    ENTER(cuFuncSetCacheConfig, CONTEXT);
    HOLD_LOCK();
    (void)config;
    const bool valid = handle_object(HANDLE_FUNCTION, handle, "cuFuncSetCacheConfig") != NULL;
    return valid ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* The limits of every device since compute capability 3.0. */
static bool fits(const unsigned grid[3], const unsigned block[3]) {
    const bool blocks = block[0] > 0 && block[1] > 0 && block[2] > 0 && block[0] <= 1024 && block[1] <= 1024 &&
                        block[2] <= 64 && block[0] * block[1] * block[2] <= 1024;
    return blocks && grid[0] > 0 && grid[1] > 0 && grid[2] > 0 && grid[0] <= 0x7FFFFFFFu && grid[1] <= 65535 &&
           grid[2] <= 65535;
}

struct packed {
    const void *data;
    size_t bytes;
};

static struct packed from_extra(void **extra) {
    struct packed packed = {NULL, 0};
    for (; extra != NULL && *extra != CU_LAUNCH_PARAM_END; extra += 2) {
        if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER) {
            packed.data = extra[1];
        } else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE) {
            packed.bytes = *(const size_t *)extra[1];
        }
    }
    return packed;
}

/* Packs what kernelParams points at. Without NAME__sizes the number of arguments cannot be known. */
static bool pack(const struct kernel *kernel, void **parameters, unsigned char *into, size_t room, size_t *bytes) {
    *bytes = 0;
    for (size_t i = 0; kernel->sizes != NULL && kernel->sizes[i] != 0; i++) {
        const size_t size = kernel->sizes[i], alignment = size < 8 ? size : 8;
        *bytes = (*bytes + alignment - 1) / alignment * alignment;
        if (*bytes + size > room) {
            return false;
        }
        memcpy(into + *bytes, parameters[i], size);
        *bytes += size;
    }
    return kernel->sizes != NULL;
}

API cuLaunchKernel(CUfunction handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared, CUstream stream_handle, void **parameters,
                   void **extra) {
    ENTER(cuLaunchKernel, CONTEXT);
    HOLD_LOCK();
    const char *call = "cuLaunchKernel";
    const struct function *function = handle_object(HANDLE_FUNCTION, handle, call);
    struct stream *stream = stream_of(stream_handle, call);
    const unsigned grid[3] = {grid_x, grid_y, grid_z}, block[3] = {block_x, block_y, block_z};
    if (function == NULL || stream == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (!fits(grid, block) || shared > 48 * 1024) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    unsigned char buffer[4096];
    struct packed packed = from_extra(extra);
    if (parameters != NULL) {
        packed.data = buffer;
        if (!pack(&function->kernel, parameters, buffer, sizeof buffer, &packed.bytes)) {
            violation("unknown arguments", call, "%s__sizes is not exported", function->name);
            return CUDA_ERROR_NOT_SUPPORTED;
        }
    }
    struct operation *operation = operation_new(OP_KERNEL, call, packed.bytes);
    memcpy(operation->launch.grid, grid, sizeof grid);
    memcpy(operation->launch.block, block, sizeof block);
    operation->launch.kernel = function->kernel;
    if (packed.bytes > 0) {
        memcpy(operation->data, packed.data, packed.bytes);
    }
    return stream_submit(stream, operation);
}
