/* Embeds what lies in a file with a wheel's compiled kernels, where no Python is: under wine, musl's loader, qemu.
 *
 *     embed KERNELS CASE OUT     for each instruction set that the machine has: a self-check, then vectors into OUT
 *
 * CASE, as wheels/run.py writes it: an ik_config; the count of tensors, then of each its bytes and its data; the counts
 * of texts and of ids, offsets [texts + 1], starts [texts] and ids. Counts are int64. OUT.<isa>: float
 * [texts, embedding_dim]. Says on stdout what it did, a line each; exits with 1 where anything failed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "instructor_kernels.h"

#if defined(_WIN32)
#include <windows.h>
static void* open_library(const char* path) { return (void*)LoadLibraryA(path); }
static void* find(void* library, const char* name) { return (void*)GetProcAddress((HMODULE)library, name); }
#else
#include <dlfcn.h>
static void* open_library(const char* path) { return dlopen(path, RTLD_NOW); }
static void* find(void* library, const char* name) { return dlsym(library, name); }
#endif

static void fail(const char* what, const char* why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void* take(FILE* file, int64_t bytes) {
    void* data = malloc(bytes > 0 ? (size_t)bytes : 1);
    if (!data || fread(data, 1, (size_t)bytes, file) != (size_t)bytes) fail("case", "cannot be read");
    return data;
}

static int64_t count(FILE* file) {
    int64_t* data = take(file, sizeof *data);
    const int64_t value = *data;
    free(data);
    return value;
}

#define FUNCTION(name) __typeof__(name)* const name##_ = (__typeof__(name)*)find(library, #name)

int main(int argc, char** argv) {
    if (argc != 4) fail("usage", "embed KERNELS CASE OUT");
    void* library = open_library(argv[1]);
    if (!library) fail(argv[1], "cannot be loaded");
    FUNCTION(ik_abi);
    FUNCTION(ik_isa_name);
    FUNCTION(ik_isa_missing);
    FUNCTION(ik_self_check);
    FUNCTION(ik_model_create);
    FUNCTION(ik_model_free);
    FUNCTION(ik_encode);
    if (!ik_abi_ || ik_abi_() != IK_ABI) fail(argv[1], "is of another version");

    FILE* file = fopen(argv[2], "rb");
    if (!file) fail(argv[2], "cannot be opened");
    const ik_config* config = take(file, sizeof *config);
    const int64_t tensor_count = count(file);
    ik_tensor* tensors = calloc((size_t)tensor_count, sizeof *tensors);
    for (int64_t i = 0; i < tensor_count; ++i) {
        tensors[i].bytes = count(file);
        tensors[i].data = take(file, tensors[i].bytes);
    }
    ik_tokens tokens;
    tokens.texts = count(file);
    tokens.ids_count = count(file);
    tokens.offsets = take(file, (tokens.texts + 1) * (int64_t)sizeof *tokens.offsets);
    tokens.starts = take(file, tokens.texts * (int64_t)sizeof *tokens.starts);
    tokens.ids = take(file, tokens.ids_count * (int64_t)sizeof *tokens.ids);
    fclose(file);

    int64_t* rows = calloc((size_t)tokens.texts, sizeof *rows);
    for (int64_t i = 0; i < tokens.texts; ++i) rows[i] = i;
    const int64_t numbers = tokens.texts * config->embedding_dim;
    float* vectors = calloc((size_t)numbers, sizeof *vectors);

    for (int isa = 0; ik_isa_name_(isa); ++isa) {
        const char* name = ik_isa_name_(isa);
        const char* missing = ik_isa_missing_(isa);
        if (missing) {
            printf("%s: %s\n", name, missing);
            continue;
        }
        char message[512] = "", path[4096];
        ik_model* model = NULL;
        if (ik_self_check_(isa, message, sizeof message)) fail(name, message);
        if (ik_model_create_(config, tensors, tensor_count, isa, 2, &model, message, sizeof message))
            fail(name, message);
        if (ik_encode_(model, &tokens, rows, tokens.texts, 2, vectors, numbers, NULL, 0, message, sizeof message)) {
            fail(name, message);
        }
        ik_model_free_(model);
        snprintf(path, sizeof path, "%s.%s", argv[3], name);
        FILE* out = fopen(path, "wb");
        if (!out || fwrite(vectors, sizeof *vectors, (size_t)numbers, out) != (size_t)numbers || fclose(out)) {
            fail(path, "cannot be written");
        }
        printf("%s: embedded\n", name);
        fflush(stdout);
    }
    return 0;
}
