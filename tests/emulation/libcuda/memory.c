/* The table of allocations: who owns which addresses, what is live, what was freed. */
#include "memory.h"

#include <stdlib.h>

struct tally {
    size_t count, bytes, peak_bytes, made;
};

static struct allocation *live, *freed;
static struct tally tallies[MEMORY_KINDS];
static bool to_collect;

static const char *kind_name(enum memory_kind kind) {
    static const char *const names[MEMORY_KINDS] = {"device", "pinned", "registered", "managed"};
    return names[kind];
}

static void count_up(const struct allocation *allocation) {
    struct tally *tally = &tallies[allocation->kind];
    tally->count++;
    tally->made++;
    tally->bytes += allocation->bytes;
    if (tally->bytes > tally->peak_bytes) {
        tally->peak_bytes = tally->bytes;
    }
}

static struct allocation *add(enum memory_kind kind, size_t bytes, unsigned flags) {
    struct allocation *allocation = calloc(1, sizeof *allocation);
    allocation->kind = kind;
    allocation->bytes = bytes;
    allocation->flags = flags;
    allocation->context = context_current();
    return allocation;
}

static void enter(struct allocation *allocation) {
    allocation->next = live;
    live = allocation;
    count_up(allocation);
}

CUresult memory_make(enum memory_kind kind, size_t bytes, unsigned flags, struct allocation **made) {
    if (bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (kind == MEMORY_DEVICE && memory_live_bytes(kind) + bytes > device_settings()->memory) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    struct allocation *allocation = add(kind, bytes, flags);
    struct mapping *alias = kind == MEMORY_PINNED ? &allocation->alias : NULL;
    if (!mapping_make(&allocation->mapping, bytes, alias)) {
        free(allocation);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    allocation->host = kind == MEMORY_DEVICE ? NULL : allocation->mapping.data;
    allocation->device = alias == NULL ? allocation->mapping.data : alias->data;
    enter(allocation);
    *made = allocation;
    return CUDA_SUCCESS;
}

/* The memory stays where its owner has it, so here alone the host's and the device's address are one. */
CUresult memory_register(void *host, size_t bytes, unsigned flags) {
    const struct allocation *there = memory_at(host);
    if (host == NULL || bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (there != NULL && !there->freed) {
        return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    }
    struct allocation *allocation = add(MEMORY_REGISTERED, bytes, flags);
    allocation->host = allocation->device = host;
    enter(allocation);
    return CUDA_SUCCESS;
}

static void unlink_live(struct allocation *allocation) {
    struct allocation **place = &live;
    while (*place != allocation) {
        place = &(*place)->next;
    }
    *place = allocation->next;
}

CUresult memory_release(enum memory_kind kind, struct allocation *allocation, const char *call) {
    if (allocation == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (allocation->kind != kind && !(kind == MEMORY_DEVICE && allocation->kind == MEMORY_MANAGED)) {
        violation("wrong free", call, "the memory is of kind %s", kind_name(allocation->kind));
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (allocation->mapping.base != NULL && !mapping_intact(&allocation->mapping)) {
        violation("write outside an allocation", call, "around %s memory of %zu bytes", kind_name(allocation->kind),
                  allocation->bytes);
    }
    tallies[allocation->kind].count--;
    tallies[allocation->kind].bytes -= allocation->bytes;
    unlink_live(allocation);
    if (allocation->kind == MEMORY_REGISTERED) {
        free(allocation); /* the memory itself lives on */
        return CUDA_SUCCESS;
    }
    allocation->freed = true;
    allocation->next = freed;
    freed = allocation;
    to_collect = true;
    if (operations_running() == 0) {
        memory_collect();
    }
    return CUDA_SUCCESS;
}

/* What a running operation may still touch is unmapped after it: the operation's own check tells of the misuse. */
void memory_collect(void) {
    if (!to_collect) {
        return;
    }
    to_collect = false;
    for (struct allocation *allocation = freed; allocation != NULL; allocation = allocation->next) {
        mapping_remove(&allocation->mapping);
        mapping_remove(&allocation->alias);
    }
}

static bool holds(const char *start, size_t bytes, const char *address) {
    return start != NULL && address >= start && address < start + bytes;
}

static struct allocation *search(struct allocation *list, const void *address) {
    for (; list != NULL; list = list->next) {
        if (holds(list->device, list->bytes, address) || holds(list->host, list->bytes, address)) {
            return list;
        }
    }
    return NULL;
}

struct allocation *memory_at(const void *address) {
    struct allocation *found = search(live, address);
    return found != NULL ? found : search(freed, address);
}

/* For frees: the live allocation that begins at the address. */
struct allocation *memory_starting_at(const void *address, const char *call) {
    struct allocation *found = memory_at(address);
    if (found == NULL) {
        violation("unknown address", call, "%p was never allocated", address);
        return NULL;
    }
    if (found->freed) {
        violation("double free", call, "%p was freed before", address);
        return NULL;
    }
    if (found->device != address && found->host != address) {
        violation("wrong free", call, "%p lies inside an allocation", address);
        return NULL;
    }
    return found;
}

bool memory_is_live(const void *address, size_t bytes) {
    const struct allocation *found = search(live, address);
    if (found == NULL) {
        return false;
    }
    const bool by_device = holds(found->device, found->bytes, address);
    const char *start = by_device ? found->device : found->host;
    return (const char *)address + bytes <= start + found->bytes;
}

CUresult memory_check_device(CUdeviceptr address, size_t bytes, const char *call) {
    const void *pointer = (const void *)address;
    const struct allocation *found = memory_at(pointer);
    if (found == NULL) {
        violation("unknown address", call, "%p is no device address", pointer);
    } else if (found->freed) {
        violation("use after free", call, "%p was freed", pointer);
    } else if (!holds(found->device, found->bytes, pointer)) {
        violation("host address on the device", call, "%p is the host's address of pinned memory", pointer);
    } else if (!memory_is_live(pointer, bytes)) {
        violation("out of bounds", call, "%zu bytes in an allocation of %zu", bytes, found->bytes);
    } else {
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
}

bool memory_host_is_pinned(const void *address, size_t bytes) {
    const struct allocation *found = search(live, address);
    return found != NULL && holds(found->host, found->bytes, address) && memory_is_live(address, bytes);
}

size_t memory_live_bytes(enum memory_kind kind) { return tallies[kind].bytes; }

size_t memory_live_count(const struct context *context) {
    size_t count = 0;
    for (const struct allocation *each = live; each != NULL; each = each->next) {
        count += each->context == context;
    }
    return count;
}

/* What is left goes with its context: whoever reads page-locked memory then has a fault, as with the real driver. */
void memory_drop(const struct context *context) {
    struct allocation *next;
    for (struct allocation *each = live; each != NULL; each = next) {
        next = each->next;
        if (each->context == context) {
            memory_release(each->kind, each, "the end of its context");
        }
    }
}

void memory_write(FILE *out) {
    fputc('{', out);
    for (int kind = 0; kind < MEMORY_KINDS; kind++) {
        const struct tally *tally = &tallies[kind];
        fprintf(out, "%s\"%s\": {\"live\": %zu, \"live_bytes\": %zu, \"peak_bytes\": %zu, \"made\": %zu}",
                kind == 0 ? "" : ", ", kind_name((enum memory_kind)kind), tally->count, tally->bytes, tally->peak_bytes,
                tally->made);
    }
    fputc('}', out);
}
