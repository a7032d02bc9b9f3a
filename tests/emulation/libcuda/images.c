/* Kernel binaries: real cubins, fat binaries and PTX, checked for the device's architecture and the kernel's name.
 *
 * Their code is not run. The layouts are those that `readelf -h` and `cuobjdump` show; the architecture of a cubin is
 * in the ELF header's flags, in the second byte since the ABI version 8 and in the lowest before.
 */
#define _GNU_SOURCE
#include "emulation.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { ELF_MACHINE_CUDA = 190, ABI_OF_SECOND_BYTE = 8 };
enum { FATBIN_PTX = 1, FATBIN_ELF = 2 };

static const uint32_t FATBIN_MAGIC = 0xBA55ED50u;
static const uint64_t FATBIN_COMPRESSED = 0x1000u | 0x2000u | 0x8000u;

struct fatbin {
    uint32_t magic;
    uint16_t version, header_bytes;
    uint64_t bytes; /* of the entries, after the header */
};

struct fatbin_entry {
    uint16_t kind, version;
    uint32_t header_bytes;
    uint64_t bytes;
    uint32_t compressed_bytes, options;
    uint16_t minor, major;
    uint32_t architecture;
    uint32_t name_offset, name_bytes;
    uint64_t flags;
};

static bool is_elf(const void *image) { return memcmp(image, ELFMAG, SELFMAG) == 0; }

static bool is_fatbin(const void *image) { return memcmp(image, &FATBIN_MAGIC, sizeof FATBIN_MAGIC) == 0; }

static const char *ptx_target(const char *image) {
    const char *version = strstr(image, ".version");
    const char *target = strstr(image, ".target");
    return version != NULL && target != NULL ? strstr(target, "sm_") : NULL;
}

size_t image_size(const void *image) {
    if (is_elf(image)) {
        const Elf64_Ehdr *header = image;
        const size_t sections = header->e_shoff + (size_t)header->e_shnum * header->e_shentsize;
        const size_t segments = header->e_phoff + (size_t)header->e_phnum * header->e_phentsize;
        return sections > segments ? sections : segments;
    }
    if (is_fatbin(image)) {
        const struct fatbin *header = image;
        return header->header_bytes + header->bytes;
    }
    return strlen(image) + 1;
}

static bool cubin_runs(int architecture, const struct device_settings *device) {
    return architecture / 10 == device->major && architecture % 10 <= device->minor;
}

static bool ptx_runs(int architecture, const struct device_settings *device) {
    return architecture <= device->major * 10 + device->minor;
}

static CUresult verdict(bool runs) { return runs ? CUDA_SUCCESS : CUDA_ERROR_NO_BINARY_FOR_GPU; }

static CUresult check_elf(const Elf64_Ehdr *header, const struct device_settings *device) {
    if (header->e_machine != ELF_MACHINE_CUDA || header->e_ident[EI_CLASS] != ELFCLASS64) {
        return CUDA_ERROR_INVALID_IMAGE;
    }
    const bool second = header->e_ident[EI_ABIVERSION] >= ABI_OF_SECOND_BYTE;
    const int architecture = (int)((second ? header->e_flags >> 8 : header->e_flags) & 0xFF);
    return verdict(cubin_runs(architecture, device));
}

static CUresult check_fatbin(const struct fatbin *header, const struct device_settings *device) {
    const char *place = (const char *)header + header->header_bytes;
    const char *end = place + header->bytes;
    bool runs = false;
    while (place + sizeof(struct fatbin_entry) <= end) {
        const struct fatbin_entry *entry = (const struct fatbin_entry *)place;
        const int architecture = (int)entry->architecture;
        runs = runs || (entry->kind == FATBIN_ELF && cubin_runs(architecture, device)) ||
               (entry->kind == FATBIN_PTX && ptx_runs(architecture, device));
        place += entry->header_bytes + entry->bytes;
    }
    return verdict(runs);
}

CUresult image_check(const void *image, const struct device_settings *device) {
    if (image == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (is_elf(image)) {
        return check_elf(image, device);
    }
    if (is_fatbin(image)) {
        return check_fatbin(image, device);
    }
    const char *target = ptx_target(image);
    return target == NULL ? CUDA_ERROR_INVALID_IMAGE : verdict(ptx_runs(atoi(target + 3), device));
}

static bool is_compressed(const void *image) {
    const struct fatbin *header = image;
    const struct fatbin_entry *entry = (const void *)((const char *)image + header->header_bytes);
    return (entry->flags & FATBIN_COMPRESSED) != 0;
}

/* Whether the binary has a symbol of that name; one that is compressed is believed. */
bool image_names(const void *image, const char *kernel) {
    if (is_elf(image)) {
        return memmem(image, image_size(image), kernel, strlen(kernel) + 1) != NULL;
    }
    if (is_fatbin(image)) {
        return is_compressed(image) || memmem(image, image_size(image), kernel, strlen(kernel)) != NULL;
    }
    return strstr(image, kernel) != NULL;
}
