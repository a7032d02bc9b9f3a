/* Misuse of the API that a real driver may let pass, or answer with a crash: kept for the report. */
#include "emulation.h"

#include <stdarg.h>
#include <string.h>

struct found {
    const char *kind;
    const char *call;
    char detail[200];
    unsigned long count;
};

enum { MAX_FOUND = 256 };

static struct found found[MAX_FOUND];
static size_t count;

/* Under the lock. The same kind from the same call is counted, with the first one's detail. */
void violation(const char *kind, const char *call, const char *format, ...) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(found[i].kind, kind) == 0 && strcmp(found[i].call, call) == 0) {
            found[i].count++;
            return;
        }
    }
    if (count == MAX_FOUND) {
        return;
    }
    struct found *entry = &found[count++];
    entry->kind = kind;
    entry->call = call;
    entry->count = 1;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(entry->detail, sizeof entry->detail, format, arguments);
    va_end(arguments);
}

void json_string(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text != '\0'; text++) {
        const unsigned char character = (unsigned char)*text;
        if (character == '"' || character == '\\') {
            fputc('\\', out);
        }
        if (character < 0x20) {
            fprintf(out, "\\u%04x", character);
        } else {
            fputc(character, out);
        }
    }
    fputc('"', out);
}

void violations_write(FILE *out) {
    fputc('[', out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "%s{\"kind\": \"%s\", \"call\": ", i == 0 ? "" : ", ", found[i].kind);
        json_string(out, found[i].call);
        fprintf(out, ", \"count\": %lu, \"detail\": ", found[i].count);
        json_string(out, found[i].detail);
        fputc('}', out);
    }
    fputc(']', out);
}
