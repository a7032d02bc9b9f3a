/* Counts what is asked of malloc: LD_PRELOAD this, read the sum with ctypes (see allocations.py).
 *
 * Requests are passed on to glibc's own entry points, so no dlsym is needed, which itself allocates. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_ullong total_bytes;
static atomic_ullong total_calls;

static void count(size_t size) {
    atomic_fetch_add_explicit(&total_bytes, size, memory_order_relaxed);
    atomic_fetch_add_explicit(&total_calls, 1, memory_order_relaxed);
}

unsigned long long counted_bytes(void) { return atomic_load(&total_bytes); }
unsigned long long counted_calls(void) { return atomic_load(&total_calls); }

void *malloc(size_t size) { count(size); return __libc_malloc(size); }
void *calloc(size_t n, size_t size) { count(n * size); return __libc_calloc(n, size); }
void *realloc(void *p, size_t size) { count(size); return __libc_realloc(p, size); }
void *memalign(size_t align, size_t size) { count(size); return __libc_memalign(align, size); }
void *aligned_alloc(size_t align, size_t size) { count(size); return __libc_memalign(align, size); }

int posix_memalign(void **out, size_t align, size_t size) {
    count(size);
    void *p = __libc_memalign(align, size);
    if (p == NULL) return ENOMEM;
    *out = p;
    return 0;
}
