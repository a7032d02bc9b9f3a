/* Faults asked for by name: "cuMemAlloc_v2:2@5" fails with code 2 from the fifth call on.
 *
 * "cuMemAlloc_v2:2@5x1" fails the fifth call only. Several are separated by commas. The name may also be that of an
 * operation (copy, fill, kernel, host): it then fails on the device, while the stream runs it.
 */
#include "emulation.h"

#include <stdlib.h>
#include <string.h>

struct fault {
    char name[64];
    int code;
    unsigned long from, times;
    unsigned long seen;
};

enum { MAX_FAULTS = 32 };

static struct fault faults[MAX_FAULTS];
static size_t count;

static bool parse(const char *text, struct fault *fault) {
    *fault = (struct fault){.from = 1, .times = 0};
    const int fields = sscanf(text, "%63[^:]:%d@%lux%lu", fault->name, &fault->code, &fault->from, &fault->times);
    return fields >= 2 && fault->code > 0 && fault->from > 0;
}

/* Replaces all faults; counting starts anew. False: the text is not understood, and no fault is set. */
bool faults_set(const char *text) {
    char *copy = strdup(text);
    char *rest = copy;
    bool understood = true;
    count = 0;
    for (char *part = strtok_r(rest, ",", &rest); part != NULL; part = strtok_r(NULL, ",", &rest)) {
        if (count == MAX_FAULTS || !parse(part, &faults[count])) {
            understood = false;
            break;
        }
        count++;
    }
    free(copy);
    if (!understood) {
        count = 0;
    }
    return understood;
}

CUresult fault_for(const char *name) {
    for (size_t i = 0; i < count; i++) {
        struct fault *fault = &faults[i];
        if (strcmp(fault->name, name) != 0) {
            continue;
        }
        fault->seen++;
        const bool over = fault->times > 0 && fault->seen >= fault->from + fault->times;
        if (fault->seen >= fault->from && !over) {
            return (CUresult)fault->code;
        }
    }
    return CUDA_SUCCESS;
}
