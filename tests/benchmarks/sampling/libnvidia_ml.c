/* A stand-in for NVIDIA's libnvidia-ml.so.1: one GPU that draws 50 W, after the NVML API Reference Guide.

   Its energy counter follows the monotonic clock, so joules over seconds is 50 W exactly. It has no
   nvmlDeviceGetTemperatureV and no nvmlDeviceGetCurrentClocksEventReasons, as drivers before 2023, and refuses the
   load, as some virtual GPUs do. */
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef int nvmlReturn_t; /* 0 success, 2 invalid argument, 3 not supported, 6 not found */
typedef void *nvmlDevice_t;
typedef struct { unsigned int gpu, memory; } nvmlUtilization_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;

static int gpu;
#define CHECK(device) if ((device) != &gpu) return 2

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) { return flags ? 2 : 0; }

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
  if (index) return 2;
  *device = &gpu;
  return 0;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
  if (strcmp(uuid, "GPU-1234")) return 6;
  *device = &gpu;
  return 0;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
  CHECK(device);
  snprintf(name, length, "Emulated GPU");
  return 0;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
  snprintf(version, length, "470.0");
  return 0;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates) {
  (void)rates;
  CHECK(device);
  return 3;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
  CHECK(device);
  memory->total = 8000000000ULL;
  memory->used = 1234000000ULL;
  memory->free = memory->total - memory->used;
  return 0;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, unsigned int type, unsigned int *mhz) {
  CHECK(device);
  *mhz = type == 1 ? 1710 : 405; /* NVML_CLOCK_SM */
  return 0;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned int sensor, unsigned int *celsius) {
  CHECK(device);
  *celsius = sensor == 0 ? 61 : 0;
  return 0;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatts) {
  CHECK(device);
  *milliwatts = 50000;
  return 0;
}

nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned int *milliwatts) {
  CHECK(device);
  *milliwatts = 75000;
  return 0;
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *millijoules) {
  struct timespec now;
  CHECK(device);
  clock_gettime(CLOCK_MONOTONIC, &now);
  *millijoules = 50ULL * ((unsigned long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
  return 0;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long *reasons) {
  CHECK(device);
  *reasons = 0x21; /* idle, which holds nothing back, and software thermal slowdown */
  return 0;
}
