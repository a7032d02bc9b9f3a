/* The table of allocations, as the functions that allocate see it. */
#ifndef MEMORY_H
#define MEMORY_H

#include "emulation.h"

CUresult memory_make(enum memory_kind kind, size_t bytes, unsigned flags, struct allocation **made);
CUresult memory_register(void *host, size_t bytes, unsigned flags);
CUresult memory_release(enum memory_kind kind, struct allocation *allocation, const char *call);
struct allocation *memory_starting_at(const void *address, const char *call);
size_t memory_live_bytes(enum memory_kind kind);

#endif
