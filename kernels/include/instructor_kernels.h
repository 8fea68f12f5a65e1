/* The INSTRUCTOR encoder on CPUs: T5 encoder, masked mean, Dense and Normalize over packed tokens, in int8 or fp32.
 *
 * Every function that can fail returns IK_OK or an error code, and writes a sentence into `message` (of
 * `message_size` bytes, both may be 0). Nothing here prints, exits, or reads a file or the environment.
 */
#ifndef INSTRUCTOR_KERNELS_H
#define INSTRUCTOR_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define IK_API __declspec(dllexport)
#else
#define IK_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define IK_ABI 4 /* changes with every change of a struct or of the order of tensors */

enum { IK_OK = 0, IK_INVALID = 1, IK_UNSUPPORTED = 2, IK_OUT_OF_MEMORY = 3, IK_INTERNAL = 4 };

/* Of a model's products and embedding. */
enum { IK_INT8 = 0, IK_INT4 = 1, IK_FP32 = 2 };

/* What the model computes; the names are those of T5's config.json. */
typedef struct {
    int32_t d_model;
    int32_t d_ff;
    int32_t d_kv;
    int32_t num_heads;
    int32_t num_layers;
    int32_t vocab_size;
    int32_t embedding_dim;
    int32_t max_distance; /* of the position bias, which has 2 * max_distance + 1 columns */
    int32_t gated;        /* 1: gelu_new(x W_0) * (x W_1); 0: relu(x W_i) */
    int32_t dense;        /* 1: a Dense layer maps d_model to embedding_dim */
    int32_t normalize;    /* 1: unit length at the end */
    int32_t weight_type;  /* IK_INT8, with one scale a column; IK_INT4, blocks that share a scale; IK_FP32 */
    float layer_norm_epsilon;
} ik_config;

typedef struct {
    const void* data; /* aligned to its own element */
    int64_t bytes;
    int32_t mapped; /* 1: of a file, read-only: what was read of it need not stay in memory */
} ik_tensor;

/* Tokenised texts, packed: text i is ids[offsets[i]] ... ids[offsets[i + 1] - 1]. */
typedef struct {
    const int32_t* ids;
    int64_t ids_count;
    const int64_t* offsets; /* [texts + 1] */
    const int64_t* starts;  /* [texts], the first pooled position of each */
    int64_t texts;
} ik_tokens;

typedef struct ik_model ik_model;

IK_API int ik_abi(void);

/* Instruction sets of this build, best first; the last one, "scalar", runs everywhere. */
IK_API int ik_isa_count(void);
IK_API const char* ik_isa_name(int isa);    /* NULL past the end */
IK_API const char* ik_isa_missing(int isa); /* NULL: it can be used here; else why not */

/* Run small fixed models through `isa` and through scalar: IK_OK where every bit of both results is the same. */
IK_API int ik_self_check(int isa, char* message, size_t message_size);

/* Copy and rearrange the weights for `isa`.
 *
 * tensors, row-major, in this order (int8 matrices [in, out] with a float scale for each column; with IK_INT4 all but
 * the embedding uint8 [out, blocks, block_size / 2], the lower half of a byte first and 8 higher than the weight, with
 * float16 scales [out, blocks], where block_size is a power of two from 16 to 256 and blocks = ceil(in / block_size);
 * they are expanded to int8 here; with IK_FP32 every matrix and the embedding are float, and there are no scales):
 *   embedding int8 [vocab_size, d_model], its scale float [vocab_size];
 *   position bias float [num_heads, 2 * max_distance + 1]; final norm float [d_model];
 *   with dense: float [d_model, embedding_dim];
 *   for each layer: norm float [d_model]; qkv int8 [d_model, 3 * num_heads * d_kv], scale;
 *     o int8 [num_heads * d_kv, d_model], scale; norm float [d_model];
 *     wi (gated: wi_0, scale, wi_1) int8 [d_model, d_ff], scale; wo int8 [d_ff, d_model], scale.
 * Every float has to be finite. Nothing of the caller's is kept.
 */
IK_API int ik_model_create(const ik_config* config, const ik_tensor* tensors, int64_t tensor_count, int isa,
                           int threads, ik_model** model, char* message, size_t message_size);
IK_API void ik_model_free(ik_model* model);

/* Embed texts rows[0] ... rows[row_count - 1] of `tokens`. Thread-safe; at most `threads` threads. Those that
 * work end with the call; one that the system starts too late for that ends by itself, as soon as it runs. A text's
 * numbers do not depend on the other texts, their order or the threads.
 *
 * sentence_embeddings: float [row_count, embedding_dim], sentence_count numbers in all.
 * token_embeddings: NULL, or float [tokens of all rows, d_model], packed in the order of rows.
 */
IK_API int ik_encode(const ik_model* model, const ik_tokens* tokens, const int64_t* rows, int64_t row_count,
                     int threads, float* sentence_embeddings, int64_t sentence_count, float* token_embeddings,
                     int64_t token_count, char* message, size_t message_size);

/* Operations a second (a multiplication and an addition are two) of the innermost loop of `isa` for such weights, on
 * random data in the first-level cache: what a benchmark calls the machine's peak. */
IK_API int ik_measure_peak(int isa, int weight_type, int threads, double seconds, double* operations_per_second,
                           char* message, size_t message_size);

#ifdef __cplusplus
}
#endif

#endif
