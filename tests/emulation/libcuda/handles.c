/* Handles are numbers of a table, never used twice: one that was destroyed, or is of another kind, is told apart. */
#include "emulation.h"

#include <stdlib.h>

struct entry {
    enum handle_kind kind;
    void *object; /* NULL: destroyed */
};

/* Far from any address that is mapped, and from the small numbers that CUDA gives a meaning (0, 1 and 2). */
static const uintptr_t FIRST = (uintptr_t)0xE0000000u << 12;
static const uintptr_t STEP = 64;

static struct entry *entries;
static size_t count, room;
static size_t live[HANDLE_KINDS];

const char *handle_kind_name(enum handle_kind kind) {
    static const char *const names[HANDLE_KINDS] = {
        "contexts", "streams", "events", "modules", "functions", "graphs", "graph_execs",
    };
    return names[kind];
}

void *handle_new(enum handle_kind kind, void *object) {
    if (count == room) {
        room = room == 0 ? 256 : room * 2;
        entries = realloc(entries, room * sizeof *entries);
    }
    entries[count] = (struct entry){.kind = kind, .object = object};
    live[kind]++;
    return (void *)(FIRST + STEP * count++);
}

static struct entry *find(const void *handle) {
    const uintptr_t number = (uintptr_t)handle;
    if (number < FIRST || (number - FIRST) % STEP != 0 || (number - FIRST) / STEP >= count) {
        return NULL;
    }
    return &entries[(number - FIRST) / STEP];
}

void *handle_object(enum handle_kind kind, const void *handle, const char *call) {
    const struct entry *entry = find(handle);
    if (entry == NULL || entry->kind != kind) {
        violation("invalid handle", call, "%p is none of the %s", handle, handle_kind_name(kind));
        return NULL;
    }
    if (entry->object == NULL) {
        violation("use after destroy", call, "%p of the %s was destroyed", handle, handle_kind_name(kind));
    }
    return entry->object;
}

void handle_drop(const void *handle) {
    struct entry *entry = find(handle);
    if (entry != NULL && entry->object != NULL) {
        entry->object = NULL;
        live[entry->kind]--;
    }
}

size_t handles_live(enum handle_kind kind) { return live[kind]; }
