// A GPU that computes nothing: what onnxruntime-gpu asks of libcudart, answered so that sessions open and run, with the
// kernels and allocations it asks for written to $STAND_IN_LOG. stand_in.py adds every other function, as `return 0`.
// $STAND_IN_SM is the compute capability (90), $STAND_IN_MEMORY the bytes of the device. Layouts are CUDA 13's.
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_OF_MEMORY = 2, NO_KERNEL_IMAGE = 209, SLOTS = 1 << 20 };

static struct { const void *function; const char *name; } kernels[SLOTS];
static size_t used;
static int error;

static long setting(const char *name, long otherwise) {
  const char *value = getenv(name);
  return value ? atol(value) : otherwise;
}

static size_t memory(void) { return setting("STAND_IN_MEMORY", 80L << 30); }

static void say(const char *what, const char *name, size_t bytes) {
  static FILE *log;
  if (!log && (log = fopen(getenv("STAND_IN_LOG"), "a"))) setvbuf(log, 0, _IOLBF, 0);
  if (log) fprintf(log, "%s %s %zu\n", what, name, bytes);
}

static size_t slot(const void *function) {
  size_t place = ((uintptr_t)function >> 4) * 2654435761u % SLOTS;
  while (kernels[place].function && kernels[place].function != function) place = (place + 1) % SLOTS;
  return place;
}

// The wheel of 1.31 has code for these, which newer ones of the same generation run too.
static int launch(const void *function) {
  long sm = setting("STAND_IN_SM", 90);
  const char *name = kernels[slot(function)].name;
  say("kernel", name ? name : "?", 0);
  return error = sm == 75 || sm / 10 == 8 || sm / 10 == 9 || sm / 10 == 12 ? 0 : NO_KERNEL_IMAGE;
}

void **__cudaRegisterFatBinary(void *binary) { static void *handle; return &handle; }
void __cudaRegisterFunction(void **handle, const char *function, char *device, const char *name) {
  kernels[slot(function)].function = function;
  kernels[slot(function)].name = name;
}
int __cudaGetKernel(const void **kernel, const void *function) { *kernel = function; return 0; }
int __cudaLaunchKernel(const void *kernel) { return launch(kernel); }
int cudaLaunchKernel(const void *function) { return launch(function); }
int cudaLaunchCooperativeKernel(const void *function) { return launch(function); }
int cudaLaunchKernelExC(const void *configuration, const void *function) { return launch(function); }
int cudaPeekAtLastError(void) { return error; }
int cudaGetLastError(void) { int last = error; error = 0; return last; }
const char *cudaGetErrorName(int code) { return "stand-in"; }
const char *cudaGetErrorString(int code) {
  return code == OUT_OF_MEMORY     ? "out of memory"
         : code == NO_KERNEL_IMAGE ? "no kernel image is available for execution on the device"
                                   : "no error";
}

int cudaMalloc(void **data, size_t bytes) {
  if (used + bytes > memory()) return error = OUT_OF_MEMORY;
  *data = calloc(1, bytes + 256);
  used += malloc_usable_size(*data);
  say("malloc", "", bytes);
  say("used", "", used);
  return 0;
}
int cudaFree(void *data) { used -= malloc_usable_size(data); free(data); return 0; }
int cudaMallocHost(void **data, size_t bytes) { *data = calloc(1, bytes + 256); return 0; }
int cudaHostAlloc(void **data, size_t bytes) { return cudaMallocHost(data, bytes); }
int cudaFreeHost(void *data) { free(data); return 0; }
int cudaMemcpy(void *to, const void *from, size_t bytes) { memmove(to, from, bytes); return 0; }
int cudaMemcpyAsync(void *to, const void *from, size_t bytes) { return cudaMemcpy(to, from, bytes); }
int cudaMemset(void *data, int value, size_t bytes) { memset(data, value, bytes); return 0; }
int cudaMemsetAsync(void *data, int value, size_t bytes) { return cudaMemset(data, value, bytes); }
int cudaMemGetInfo(size_t *left, size_t *total) { *total = memory(); *left = *total - used; return 0; }

int cudaStreamBeginCapture(void *stream, int mode) { say("record", "", mode); return 0; }
int cudaStreamEndCapture(void *stream, void **graph) { static int made; *graph = &made; return 0; }
int cudaGraphInstantiate(void **made, void *graph) { *made = malloc(1); return 0; }
int cudaGraphLaunch(void *graph, void *stream) { say("replay", "", 0); return 0; }
int cudaGraphExecDestroy(void *graph) { say("destroy", "", 0); free(graph); return 0; }

int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaDriverGetVersion(int *version) { *version = 13000; return 0; }
int cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }
int cudaStreamIsCapturing(void *stream, int *capturing) { *capturing = 0; return 0; }
int cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned version, uint64_t flags, int *found) {
  *function = 0;
  if (found) *found = 1;  // cudaDriverEntryPointSymbolNotFound
  return 0;
}
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks) { *blocks = 2; return 0; }
int cudaPointerGetAttributes(struct { int type, device; void *data; } *found, void *data) {
  found->type = 2;  // the device's
  found->device = 0;
  found->data = data;
  return 0;
}
int cudaFuncGetAttributes(int found[], const void *function) {
  found[6] = 1024;  // maxThreadsPerBlock
  found[7] = 64;    // numRegs
  found[8] = found[9] = setting("STAND_IN_SM", 90);  // ptxVersion, binaryVersion
  return 0;
}

enum { MAX_THREADS = 1, SHARED = 8, WARP = 10, PROCESSORS = 16, MAJOR = 75, MINOR = 76, SHARED_OPT_IN = 97 };

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
  long sm = setting("STAND_IN_SM", 90);
  switch (attribute) {
    case MAX_THREADS: *value = 1024; break;
    case SHARED: *value = 48 << 10; break;
    case WARP: *value = 32; break;
    case PROCESSORS: *value = 132; break;
    case MAJOR: *value = sm / 10; break;
    case MINOR: *value = sm % 10; break;
    case SHARED_OPT_IN: *value = (sm == 75 ? 64 : 99) << 10; break;
    default: *value = 1;
  }
  return 0;
}
int cudaGetDeviceProperties(char *found, int device) {
  struct { int at; size_t value; } longs[] = {{288, memory()}, {296, 48 << 10}, {624, 100 << 10}, {672, 99 << 10}};
  struct { int at, attribute; } ints[] = {{308, WARP}, {320, MAX_THREADS}, {360, MAJOR}, {364, MINOR}, {384, PROCESSORS}};
  int sides[] = {1024, 1024, 64, INT32_MAX, 65535, 65535}, registers = 65536, threads = 1536;
  memset(found, 0, 1008);
  strcpy(found, "stand-in");
  for (int i = 0; i < 4; ++i) memcpy(found + longs[i].at, &longs[i].value, 8);
  for (int i = 0; i < 5; ++i) cudaDeviceGetAttribute((int *)(found + ints[i].at), ints[i].attribute, 0);
  memcpy(found + 324, sides, sizeof sides);  // maxThreadsDim, maxGridSize
  memcpy(found + 304, &registers, 4);
  memcpy(found + 604, &threads, 4);
  memcpy(found + 632, &registers, 4);
  return 0;
}
