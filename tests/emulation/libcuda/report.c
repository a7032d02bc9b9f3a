/* What a test asks of the emulation: the report as JSON, at any time and at exit, and settings while it runs.
 *
 * EMULATED_CUDA_REPORT names the file that a process which called the driver writes at its end.
 */
#include "emulation.h"

#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

static void write_handles(FILE *out) {
    fputc('{', out);
    for (int kind = 0; kind < HANDLE_KINDS; kind++) {
        const enum handle_kind each = (enum handle_kind)kind;
        fprintf(out, "%s\"%s\": %zu", kind == 0 ? "" : ", ", handle_kind_name(each), handles_live(each));
    }
    fputc('}', out);
}

static void write_device(FILE *out) {
    const struct device_settings *device = device_settings();
    fputs("{\"name\": ", out);
    json_string(out, device->name);
    fprintf(out, ", \"cc\": \"%d.%d\", \"integrated\": %d, \"memory_bytes\": %zu, \"driver\": %d}", device->major,
            device->minor, device->integrated, device->memory, device->driver_version);
}

static void section(FILE *out, const char *name, void (*write)(FILE *)) {
    fprintf(out, ",\n \"%s\": ", name);
    write(out);
}

void report_write(FILE *out) {
    fputs("{\"device\": ", out);
    write_device(out);
    section(out, "memory", memory_write);
    section(out, "live_handles", write_handles);
    fprintf(out, ",\n \"primary_context_references\": %u", primary_references());
    fprintf(out, ",\n \"context_stack_depth\": %ld", contexts_pushed());
    fprintf(out, ",\n \"pending_operations\": %zu", streams_pending());
    section(out, "operations", operations_write);
    section(out, "calls", calls_write);
    section(out, "violations", violations_write);
    fputs("}\n", out);
}

__attribute__((destructor)) static void write_at_exit(void) {
    const char *path = getenv("EMULATED_CUDA_REPORT");
    if (path == NULL || !driver_was_called()) {
        return;
    }
    FILE *out = fopen(path, "w");
    if (out != NULL) {
        HOLD_LOCK();
        report_write(out);
        fclose(out);
    }
}

EXPORT char *emulated_cuda_report(void);
EXPORT void emulated_cuda_free(char *text);
EXPORT int emulated_cuda_set(const char *name, const char *value);
EXPORT int emulated_cuda_is_live(const void *address, size_t bytes);
EXPORT void emulated_cuda_fail(int code);

/* The report as it would be now; the caller gives it back to emulated_cuda_free(). */
char *emulated_cuda_report(void) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    HOLD_LOCK();
    report_write(out);
    fclose(out);
    return text;
}

void emulated_cuda_free(char *text) { free(text); }

/* "faults", "delay_us" or "device", as in the environment. 0: the value is not understood. */
int emulated_cuda_set(const char *name, const char *value) {
    HOLD_LOCK();
    return setting(name, value);
}

/* For native work done by cuLaunchHostFunc, which no guard page can stop without ending the process. */
int emulated_cuda_is_live(const void *address, size_t bytes) {
    HOLD_LOCK();
    return memory_is_live(address, bytes);
}

/* The same for its errors: breaks the primary context with the code, as a failed kernel would. */
void emulated_cuda_fail(int code) {
    HOLD_LOCK();
    context_fail(context_primary(), (CUresult)code);
}
