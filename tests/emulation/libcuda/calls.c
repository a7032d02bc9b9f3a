/* Every call goes through here: counted, checked against what it requires, failed when a fault says so. */
#include "emulation.h"

#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct call *calls;
static bool initialized;
static pid_t process;

void driver_lock(void) { pthread_mutex_lock(&lock); }

void driver_unlock(int *unused) {
    (void)unused;
    pthread_mutex_unlock(&lock);
}

/* The lock may have been held by a thread that the child does not have. */
static void renew_lock(void) {
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&changed, NULL);
}

__attribute__((constructor)) static void renew_lock_in_children(void) { pthread_atfork(NULL, NULL, renew_lock); }

void driver_changed(void) { pthread_cond_broadcast(&changed); }

void driver_wait(void) { pthread_cond_wait(&changed, &lock); }

void driver_initialize(void) { initialized = true; }

/* False in a forked child too, whose report would overwrite its parent's. */
bool driver_was_called(void) { return process == getpid(); }

static CUresult context_state(const char *name) {
    const struct context *context = context_current();
    if (context == NULL) {
        violation("no context", name, "no context is current to this thread");
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (context->destroyed) {
        violation("destroyed context", name, "the current context was destroyed");
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    }
    return context->error;
}

static CUresult check(const char *name, unsigned requirements) {
    if ((requirements & INITIALIZED) && !initialized) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    if ((requirements & INITIALIZED) && process != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED; /* CUDA does not survive a fork */
    }
    if ((requirements & CONTEXT) == CONTEXT) {
        const CUresult state = context_state(name);
        if (state != CUDA_SUCCESS) {
            return state;
        }
    }
    if ((requirements & OUTSIDE_CAPTURE) && capture_forbids(name)) {
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return CUDA_SUCCESS;
}

CUresult call_enter(struct call *call, unsigned requirements) {
    HOLD_LOCK();
    if (process == 0) {
        process = getpid();
    }
    if (call->count == 0) {
        call->next = calls;
        calls = call;
    }
    call->count++;
    const CUresult state = check(call->name, requirements);
    if (state != CUDA_SUCCESS) {
        return state;
    }
    const CUresult fault = fault_for(call->name);
    if (error_is_sticky(fault)) {
        context_fail(context_current(), fault);
    }
    return fault;
}

void calls_write(FILE *out) {
    const char *separator = "";
    fputc('{', out);
    for (const struct call *call = calls; call != NULL; call = call->next) {
        fprintf(out, "%s\"%s\": %lu", separator, call->name, call->count);
        separator = ", ";
    }
    fputc('}', out);
}
