/* What the files of the emulated CUDA driver share: one lock, the calls, contexts, memory, streams and graphs.
 *
 * The functions of the driver's API are declared by NVIDIA's own cuda.h, so the compiler holds each definition to it.
 * All state is guarded by one lock; an operation on a stream runs without it, on that stream's own thread.
 */
#ifndef EMULATION_H
#define EMULATION_H

#include <cuda.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define API __attribute__((visibility("default"))) CUresult

/* ---- the lock (calls.c) */

void driver_lock(void);
void driver_unlock(int *unused);
void driver_changed(void); /* wakes whoever waits for a stream, an event or work */
void driver_wait(void);    /* until driver_changed(); the lock is given up meanwhile */

#define HOLD_LOCK()                                                \
    int held_ __attribute__((cleanup(driver_unlock), unused)) = 0; \
    driver_lock()

/* ---- calls: counted, checked, and failed when a fault says so (calls.c, faults.c) */

enum requirement {
    ANY_TIME = 0,
    INITIALIZED = 1,
    CONTEXT = 2 | INITIALIZED, /* a live context is current, and no earlier error has broken it */
    OUTSIDE_CAPTURE = 4,       /* CUDA calls these "potentially unsafe" while a stream is captured */
};

struct call {
    const char *name;
    unsigned long count;
    struct call *next;
};

CUresult call_enter(struct call *call, unsigned requirements);
void calls_write(FILE *out);
void driver_initialize(void);
bool driver_was_called(void);

#define ENTER(function, requirements)                               \
    do {                                                            \
        static struct call call_ = {.name = #function};             \
        const CUresult entered_ = call_enter(&call_, requirements); \
        if (entered_ != CUDA_SUCCESS) {                             \
            return entered_;                                        \
        }                                                           \
    } while (0)

CUresult fault_for(const char *name); /* under the lock; counts this use of the name */
bool faults_set(const char *text);

/* ---- what went wrong (violations.c); CALL is the function that the user called */

void violation(const char *kind, const char *call, const char *format, ...) __attribute__((format(printf, 3, 4)));
void violations_write(FILE *out);
void json_string(FILE *out, const char *text);

/* ---- settings (settings.c) */

struct device_settings {
    char name[128];
    int major, minor;
    int integrated;
    size_t memory;
    int driver_version;
};

const struct device_settings *device_settings(void);
bool setting(const char *name, const char *value);
unsigned delay_us(const char *operation);

/* ---- handles: numbers that are never used twice, so a stale or foreign one is told (handles.c) */

enum handle_kind {
    HANDLE_CONTEXT,
    HANDLE_STREAM,
    HANDLE_EVENT,
    HANDLE_MODULE,
    HANDLE_FUNCTION,
    HANDLE_GRAPH,
    HANDLE_GRAPH_EXEC,
    HANDLE_KINDS
};

void *handle_new(enum handle_kind kind, void *object);
void *handle_object(enum handle_kind kind, const void *handle, const char *call); /* NULL and a violation: not valid */
void handle_drop(const void *handle);
size_t handles_live(enum handle_kind kind);
const char *handle_kind_name(enum handle_kind kind);

/* ---- contexts (contexts.c) */

struct stream;

struct context {
    CUcontext handle;
    bool primary, destroyed;
    unsigned references;
    unsigned flags;
    CUresult error; /* once set, all that needs the context returns it, as after an illegal address */
    struct stream *legacy;
};

struct context *context_current(void); /* NULL: none */
struct context *context_primary(void); /* NULL: not retained */
void context_fail(struct context *context, CUresult code);
bool error_is_sticky(CUresult code);
long contexts_pushed(void);
unsigned primary_references(void);

/* ---- memory (mappings.c, memory.c) */

enum memory_kind { MEMORY_DEVICE, MEMORY_PINNED, MEMORY_REGISTERED, MEMORY_MANAGED, MEMORY_KINDS };

struct mapping {
    char *data; /* between canaries, which lie between guard pages */
    size_t bytes;
    char *base; /* with the guard pages */
    size_t reserved;
};

struct allocation {
    enum memory_kind kind;
    char *host;   /* NULL: the host cannot reach it */
    char *device; /* never the same as `host` for pinned memory */
    size_t bytes;
    unsigned flags;
    bool freed;
    struct context *context;
    struct mapping mapping, alias;
    struct allocation *next;
};

bool mapping_make(struct mapping *mapping, size_t bytes, struct mapping *alias);
bool mapping_intact(const struct mapping *mapping);
void mapping_remove(struct mapping *mapping);

struct allocation *memory_at(const void *address); /* live ones first, then freed ones */
bool memory_is_live(const void *address, size_t bytes);
CUresult memory_check_device(CUdeviceptr address, size_t bytes, const char *call);
bool memory_host_is_pinned(const void *address, size_t bytes);
void memory_collect(void); /* unmaps what was freed; only while no operation runs */
void memory_write(FILE *out);
size_t memory_live_count(const struct context *context);
void memory_drop(const struct context *context);

/* ---- operations: what a stream does, and what a graph replays (operations.c) */

enum operation_kind { OP_COPY, OP_FILL, OP_KERNEL, OP_HOST, OP_RECORD, OP_WAIT, OP_KINDS };

typedef void (*kernel_launch)(unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void **);

enum { MAX_PARAMETERS = 64 };

struct kernel {
    const char *name;
    kernel_launch launch;
    const unsigned *sizes; /* of each argument, ended by 0; NULL: all are eight bytes */
};

struct operation {
    enum operation_kind kind;
    bool replayed; /* by a graph: its addresses are those of the capture */
    const char *call;
    union {
        struct {
            void *to;
            const void *from; /* NULL: from `data`, where pageable memory was staged */
            size_t bytes;
            bool to_device, from_device;
        } copy;
        struct {
            void *to;
            uint32_t value;
            unsigned width; /* bytes of one element: 1, 2 or 4 */
            size_t elements;
        } fill;
        struct {
            struct kernel kernel;
            unsigned grid[3], block[3];
        } launch;
        struct {
            CUhostFn function;
            void *user;
        } host;
        struct {
            struct event *event;
            uint64_t generation;
        } record;
        struct {
            struct stream *stream;
            uint64_t position;
        } wait;
    };
    struct operation *next;
    size_t extra;
    unsigned char data[]; /* `extra` bytes: a kernel's packed arguments, or a staged copy */
};

struct operation *operation_new(enum operation_kind kind, const char *call, size_t extra);
struct operation *operation_clone(const struct operation *operation);
CUresult operation_run(const struct operation *operation);   /* without the lock */
CUresult operation_check(const struct operation *operation); /* is the memory it names still there? */
const char *operation_name(enum operation_kind kind);
void operations_write(FILE *out);

/* ---- streams and events (streams.c, events.c) */

struct capture;

struct stream {
    CUstream handle;
    struct context *context;
    unsigned flags;
    int priority;
    struct operation *first, *last;
    uint64_t submitted, completed;
    bool stopping;
    struct capture *capture;
    uint64_t captured; /* operations that this stream added to the capture */
    bool joined;       /* all of them are waited for by another stream of it */
    bool started;
    struct stream *next;
};

struct event {
    CUevent handle;
    unsigned flags;
    uint64_t generation, completed; /* of the last record asked for, and of the last one done */
    struct stream *stream;
    uint64_t position;
    uint64_t time_ns;
    struct capture *capture;
};

struct stream *stream_make(struct context *context, unsigned flags, int priority);
void stream_stop(struct stream *stream);
struct stream *stream_of(CUstream handle, const char *call); /* NULL: invalid; 0 and 1 mean the legacy stream */
bool stream_is_legacy(const struct stream *stream);
CUresult stream_submit(struct stream *stream, struct operation *operation); /* takes the operation */
CUresult stream_drain(struct stream *stream);
CUresult context_drain(struct context *context);
size_t streams_pending(void);
unsigned operations_running(void);
CUresult event_submit(struct event *event, struct stream *stream, const char *call);
void event_recorded(struct event *event, uint64_t generation);

/* ---- capture and graphs (capture.c, graphs.c) */

struct graph {
    CUgraph handle;
    struct operation *first, *last;
    size_t count;
};

struct graph *graph_make(void);
void graph_append(struct graph *graph, struct operation *operation);
void graph_delete(struct graph *graph);

bool capture_forbids(const char *call); /* an unsafe call; ends the capture's validity */
void capture_invalidate(struct capture *capture);
bool capture_forbids_legacy(const char *call); /* work on the legacy stream, which waits for the others */
CUresult capture_add(struct stream *stream, struct operation *operation); /* takes the operation */
CUresult capture_record(struct stream *stream, struct event *event);
CUresult capture_wait(struct stream *stream, struct event *event);

/* ---- binaries (images.c) */

CUresult image_check(const void *image, const struct device_settings *device);
bool image_names(const void *image, const char *kernel);
size_t image_size(const void *image);

/* ---- the report (report.c) */

void report_write(FILE *out);

#endif
