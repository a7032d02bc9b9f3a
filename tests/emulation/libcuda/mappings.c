/* Memory between canaries between guard pages, filled with 0xFF: fresh floats read as NaN.
 *
 * Pinned memory is mapped twice, so that the device's address of it differs from the host's. What was freed stays
 * reserved without access: a kernel that still uses it faults, and no address is ever given out twice.
 */
#define _GNU_SOURCE
#include "emulation.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const size_t ALIGNMENT = 256; /* what cuMemAlloc promises */
static const unsigned char CANARY = 0xC5;
static const unsigned char FRESH = 0xFF;

static size_t page(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

static bool map_pages(struct mapping *mapping, size_t bytes, int file) {
    const size_t inner = round_up(bytes, page());
    mapping->bytes = bytes;
    mapping->reserved = inner + 2 * page();
    const int reserve = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    mapping->base = mmap(NULL, mapping->reserved, PROT_NONE, reserve, -1, 0);
    if (mapping->base == MAP_FAILED) {
        return false;
    }
    const int kind = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    char *start = mapping->base + page();
    if (mmap(start, inner, PROT_READ | PROT_WRITE, kind | MAP_FIXED, file, 0) == MAP_FAILED) {
        munmap(mapping->base, mapping->reserved);
        return false;
    }
    /* As near to the guard page behind it as the alignment lets it be. */
    mapping->data = start + inner - round_up(bytes, ALIGNMENT);
    return true;
}

static void fill(const struct mapping *mapping) {
    char *start = mapping->base + page();
    memset(start, CANARY, mapping->reserved - 2 * page());
    memset(mapping->data, FRESH, mapping->bytes);
}

static bool map_twice(struct mapping *mapping, size_t bytes, struct mapping *alias) {
    const int file = memfd_create("emulated-cuda", MFD_CLOEXEC);
    if (file < 0) {
        return false;
    }
    bool made = ftruncate(file, (off_t)round_up(bytes, page())) == 0 && map_pages(mapping, bytes, file);
    if (made && !map_pages(alias, bytes, file)) {
        mapping_remove(mapping);
        made = false;
    }
    close(file);
    return made;
}

/* With `alias`, the same memory at a second address. */
bool mapping_make(struct mapping *mapping, size_t bytes, struct mapping *alias) {
    const bool made = alias == NULL ? map_pages(mapping, bytes, -1) : map_twice(mapping, bytes, alias);
    if (made) {
        fill(mapping);
    }
    return made;
}

static bool all_canary(const char *from, const char *to) {
    for (; from < to; from++) {
        if ((unsigned char)*from != CANARY) {
            return false;
        }
    }
    return true;
}

bool mapping_intact(const struct mapping *mapping) {
    const char *start = mapping->base + page();
    const char *end = mapping->base + mapping->reserved - page();
    return all_canary(start, mapping->data) && all_canary(mapping->data + mapping->bytes, end);
}

void mapping_remove(struct mapping *mapping) {
    if (mapping->base == NULL) {
        return;
    }
    const int reserve = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    mmap(mapping->base, mapping->reserved, PROT_NONE, reserve, -1, 0);
    mapping->base = NULL;
}
