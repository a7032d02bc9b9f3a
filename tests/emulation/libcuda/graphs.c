/* Graphs: what was captured, instantiated, and replayed with the addresses that it was captured with. */
#include "emulation.h"

#include <stdlib.h>

struct graph *graph_make(void) { return calloc(1, sizeof(struct graph)); }

void graph_append(struct graph *graph, struct operation *operation) {
    operation->next = NULL;
    if (graph->first == NULL) {
        graph->first = operation;
    } else {
        graph->last->next = operation;
    }
    graph->last = operation;
    graph->count++;
}

void graph_delete(struct graph *graph) {
    while (graph->first != NULL) {
        struct operation *operation = graph->first;
        graph->first = operation->next;
        free(operation);
    }
    free(graph);
}

API cuGraphGetNodes(CUgraph handle, CUgraphNode *nodes, size_t *count) {
    ENTER(cuGraphGetNodes, INITIALIZED);
    HOLD_LOCK();
    const struct graph *graph = handle_object(HANDLE_GRAPH, handle, "cuGraphGetNodes");
    if (graph == NULL || nodes != NULL) {
        return graph == NULL ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_SUPPORTED;
    }
    *count = graph->count;
    return CUDA_SUCCESS;
}

API cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph handle, unsigned long long flags) {
    ENTER(cuGraphInstantiateWithFlags, CONTEXT | OUTSIDE_CAPTURE);
    HOLD_LOCK();
    (void)flags;
    const struct graph *graph = handle_object(HANDLE_GRAPH, handle, "cuGraphInstantiateWithFlags");
    if (graph == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct graph *copy = graph_make();
    for (const struct operation *each = graph->first; each != NULL; each = each->next) {
        graph_append(copy, operation_clone(each));
    }
    *exec = handle_new(HANDLE_GRAPH_EXEC, copy);
    return CUDA_SUCCESS;
}

static CUresult replay(const struct operation *node, struct stream *stream) {
    if (node->kind == OP_RECORD) {
        return event_submit(node->record.event, stream, "cuGraphLaunch");
    }
    struct operation *operation = operation_clone(node);
    operation->call = "cuGraphLaunch";
    operation->replayed = true;
    return stream_submit(stream, operation);
}

/* One operation after the other in the order of the capture, which is one of the orders the graph allows. */
API cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
    ENTER(cuGraphLaunch, CONTEXT);
    HOLD_LOCK();
    const struct graph *graph = handle_object(HANDLE_GRAPH_EXEC, handle, "cuGraphLaunch");
    struct stream *stream = stream_of(stream_handle, "cuGraphLaunch");
    if (graph == NULL || stream == NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (stream->capture != NULL) {
        capture_invalidate(stream->capture);
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    CUresult result = CUDA_SUCCESS;
    for (const struct operation *node = graph->first; node != NULL && result == CUDA_SUCCESS; node = node->next) {
        result = replay(node, stream);
    }
    return result;
}

API cuGraphUpload(CUgraphExec handle, CUstream stream) {
    ENTER(cuGraphUpload, CONTEXT);
    HOLD_LOCK();
    const bool valid = handle_object(HANDLE_GRAPH_EXEC, handle, "cuGraphUpload") != NULL;
    return valid && stream_of(stream, "cuGraphUpload") != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult destroy(enum handle_kind kind, const void *handle, const char *call) {
    struct graph *graph = handle_object(kind, handle, call);
    if (graph == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    handle_drop(handle);
    graph_delete(graph);
    return CUDA_SUCCESS;
}

API cuGraphExecDestroy(CUgraphExec handle) {
    ENTER(cuGraphExecDestroy, INITIALIZED);
    HOLD_LOCK();
    return destroy(HANDLE_GRAPH_EXEC, handle, "cuGraphExecDestroy");
}

API cuGraphDestroy(CUgraph handle) {
    ENTER(cuGraphDestroy, INITIALIZED);
    HOLD_LOCK();
    return destroy(HANDLE_GRAPH, handle, "cuGraphDestroy");
}
