/* The emulated device and the delays, from the environment or set while the process runs.
 *
 * EMULATED_CUDA_DEVICE    "name=emulated Orin;cc=8.7;integrated=1;memory_mb=8192;driver=12060"
 * EMULATED_CUDA_DELAY_US  "500", or by operation: "copy=200,kernel=1000,host=0"
 * EMULATED_CUDA_FAULTS    see faults.c
 */
#include "emulation.h"

#include <stdlib.h>
#include <string.h>

static struct device_settings device = {
    .name = "emulated CUDA device",
    .major = 8,
    .minor = 7,
    .integrated = 0,
    .memory = (size_t)4096 << 20,
    .driver_version = 13000,
};

static unsigned delays[OP_KINDS];

const struct device_settings *device_settings(void) { return &device; }

unsigned delay_us(const char *operation) {
    for (int kind = 0; kind < OP_KINDS; kind++) {
        if (strcmp(operation, operation_name((enum operation_kind)kind)) == 0) {
            return delays[kind];
        }
    }
    return 0;
}

static bool set_device_field(char *field) {
    char *value = strchr(field, '=');
    if (value == NULL) {
        return false;
    }
    *value++ = '\0';
    if (strcmp(field, "name") == 0) {
        snprintf(device.name, sizeof device.name, "%s", value);
        return true;
    }
    if (strcmp(field, "cc") == 0) {
        return sscanf(value, "%d.%d", &device.major, &device.minor) == 2;
    }
    const unsigned long number = strtoul(value, NULL, 10);
    if (strcmp(field, "integrated") == 0) {
        device.integrated = number != 0;
    } else if (strcmp(field, "memory_mb") == 0) {
        device.memory = (size_t)number << 20;
    } else if (strcmp(field, "driver") == 0) {
        device.driver_version = (int)number;
    } else {
        return false;
    }
    return true;
}

static bool set_delay(char *field) {
    char *value = strchr(field, '=');
    bool known = value == NULL;
    if (value != NULL) {
        *value++ = '\0';
    }
    for (int kind = 0; kind < OP_KINDS; kind++) {
        if (value == NULL || strcmp(field, operation_name((enum operation_kind)kind)) == 0) {
            delays[kind] = (unsigned)strtoul(value == NULL ? field : value, NULL, 10);
            known = true;
        }
    }
    return known;
}

static bool each_field(const char *text, const char *separator, bool (*set)(char *)) {
    char *copy = strdup(text);
    char *rest = copy;
    bool understood = true;
    for (char *field = strtok_r(rest, separator, &rest); field != NULL; field = strtok_r(NULL, separator, &rest)) {
        understood = set(field) && understood;
    }
    free(copy);
    return understood;
}

bool setting(const char *name, const char *value) {
    if (strcmp(name, "device") == 0) {
        return each_field(value, ";", set_device_field);
    }
    if (strcmp(name, "delay_us") == 0) {
        return each_field(value, ",", set_delay);
    }
    return strcmp(name, "faults") == 0 && faults_set(value);
}

static void from_environment(const char *variable, const char *name) {
    const char *value = getenv(variable);
    if (value != NULL && !setting(name, value)) {
        /* A setting that is not understood would make a test pass for the wrong reason. */
        fprintf(stderr, "emulated CUDA driver: %s=%s is not understood\n", variable, value);
        exit(70);
    }
}

__attribute__((constructor)) static void read_environment(void) {
    from_environment("EMULATED_CUDA_DEVICE", "device");
    from_environment("EMULATED_CUDA_DELAY_US", "delay_us");
    from_environment("EMULATED_CUDA_FAULTS", "faults");
}
