/* limoe.h - the public C API of liblimoe.
 *
 * A LIMoE model maps pictures and texts to unit vectors in one space (Mustafa et al., "Multimodal Contrastive
 * Learning with LIMoE", arXiv 2206.02770). One transformer tower serves both modalities; in its MoE blocks a
 * router sends each token to its top experts.
 *
 * Two handles, because two kinds of process use them:
 *   limoe_processor  turns encoded pictures and UTF-8 text into items (pixels, token ids). It reads the
 *                    model's config and tokenizer, never its weights. Many threads may use it at once.
 *   limoe_model      holds the weights and turns items into embeddings. One thread calls it at a time; it
 *                    runs its own pool of compute threads inside a call.
 *
 * Determinism: for a given model, backend, instruction set and dtype, an item's embedding is the same bit for
 * bit alone or in any batch, in any order, at any number of threads and of ranks (but see "moe.capacity" in
 * docs/architecture.md).
 *
 * No function aborts, exits or asserts on input. Every fallible function returns a status and, on failure,
 * fills *err (which may be NULL) with a message that says what was wrong, where, and what is accepted.
 */
#ifndef LIMOE_H
#define LIMOE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum limoe_status {
    LIMOE_OK = 0,
    LIMOE_INVALID,     /* an argument or a value in a request is not acceptable */
    LIMOE_NOT_FOUND,   /* a file or directory is not there */
    LIMOE_IO,          /* the system refused or broke a read */
    LIMOE_CORRUPT,     /* a model file contradicts itself or its config */
    LIMOE_BAD_IMAGE,   /* a picture that does not decode */
    LIMOE_TOO_LARGE,   /* over a limit (bytes, pixels, items) */
    LIMOE_UNSUPPORTED, /* well formed, but not something this build can do */
    LIMOE_NO_MEMORY,
    LIMOE_INTERNAL, /* a bug or a broken device; never the caller's fault */
    LIMOE_LOST,     /* another rank was lost, or this one was interrupted: see limoe_ranks_join */
    LIMOE_BROKEN,   /* the device has failed for good in this process; another may fare better */
};

/* A short lower-case name for a status ("corrupt"), for logs. Never NULL. */
const char *limoe_status_name(enum limoe_status status);

struct limoe_error {
    enum limoe_status status;
    char message[512]; /* UTF-8, no trailing newline, never empty after a failure */
};

/* "limoe X.Y.Z", a static string. */
const char *limoe_version(void);

enum limoe_modality { LIMOE_IMAGE = 0, LIMOE_TEXT = 1, LIMOE_MODALITIES = 2 };

enum limoe_dtype {
    LIMOE_DTYPE_AUTO = 0, /* bfloat16 where the device multiplies it natively, else float32 */
    LIMOE_FLOAT32,
    LIMOE_BFLOAT16,
    LIMOE_INT8, /* products of 8-bit integers, accumulated exactly; all else float32. On CPUs */
};

/* "float32", "bfloat16", "int8" or "auto"; a static string, never NULL. */
const char *limoe_dtype_name(enum limoe_dtype dtype);

struct limoe_tail; /* a model's weights as an adapter makes them: limoe_model_adapt */

#define LIMOE_MAX_TAILS 1024u /* of one item */

/* One sequence for the tower. The caller owns what the pointers name. */
struct limoe_item {
    enum limoe_modality modality;
    uint32_t length;       /* tokens: patches of an image, or ids in tokens[] */
    const uint8_t *pixels; /* image: [image_size, image_size, 3] RGB; text: NULL */
    const int32_t *tokens; /* text: [length]; image: NULL */
    /* Image: out [patches + 1, embed], or NULL: not wanted. What each of the (image_size / patch)^2 patches, row by row,
     * adds to the embedding, and in the last row what is the picture's but no patch's; the rows' sum is the embedding. Not with
     * tails. */
    float *shares;
    /* What it is embedded by: an embedding for each of tails[n_tails], in which NULL is the model as it is. n_tails 0: the
     * model alone. No tail twice. */
    const struct limoe_tail *const *tails;
    uint32_t n_tails;
    /* Its rows where the first of its tails begins (limoe_item_fork), as a call before has kept them: the blocks up to there
     * are not passed again; or where to keep them. limoe_model_trunk_bytes of bytes; NULL: neither. */
    const void *trunk;
    void *keep;
};

/* How many embeddings the item gets. */
static inline uint32_t limoe_item_embeddings(const struct limoe_item *item) {
    return item->n_tails ? item->n_tails : 1;
}

/* A transformer. */
struct limoe_tower {
    uint32_t width, blocks, heads, mlp;
};

/* How labels are scored by their cosines: by their softmax, or each by itself. */
enum limoe_scoring_kind {
    LIMOE_SOFTMAX, /* softmax(exp(scale) cosine) over the labels */
    LIMOE_SIGMOID, /* sigmoid(exp(scale) cosine + bias) of each */
};
struct limoe_scoring {
    enum limoe_scoring_kind kind;
    float scale; /* natural logarithm */
    float bias;  /* 0 with LIMOE_SOFTMAX */
};

/* What a patch's share of an embedding is, which follows from how a model's pictures are pooled. */
enum limoe_shares {
    LIMOE_SHARES_NONE,        /* they cannot be split, or there are no pictures */
    LIMOE_SHARES_MEAN,        /* the patch's part of the mean: all of the embedding, but for biases */
    LIMOE_SHARES_CLASS_TOKEN, /* what the class token takes up from the patch in each block's attention, directly */
    LIMOE_SHARES_ATTENTION, /* the pooling's weight for the patch times its value; the MLP behind it is no patch's */
};
/* "none", "mean", "class_token" or "attention"; a static string, never NULL. */
const char *limoe_shares_name(enum limoe_shares shares);

/* What a model is; filled once at opening. Strings live as long as the handle they came from. */
struct limoe_info {
    const char *name;
    const char *
        architecture; /* "limoe", "clip", "siglip", "chinese_clip", "open_clip": whose folder it is; static */
    uint32_t towers;  /* 1: both modalities share one; 2: each has its own, of which one may be missing */
    /* Of one for both, both entries are it. One that is missing has no blocks, and the model takes the other modality
     * alone (limoe_has); what stands below of the missing one is 0, and of `scoring` only the kind means something. */
    struct limoe_tower tower[LIMOE_MODALITIES];
    uint32_t blocks; /* of all towers together */
    uint32_t embed;
    uint32_t image_size, patch, image_tokens; /* image_tokens = (image_size / patch)^2, and a class token's */
    uint32_t vocab, text_length;              /* text_length: most tokens a text keeps, EOS included */
    uint32_t moe_layers, experts, top_k;      /* moe_layers = 0 (and experts = top_k = 0) in a dense model */
    /* [moe_layers], ascending block indices; of two towers the pictures' blocks come first, and are counted on
     * into the texts'. A text passes the layers of its own tower alone, and so does a picture. */
    const uint32_t *moe_blocks;
    uint64_t total_parameters;
    /* for one token: dense weights + top_k experts in each MoE block; of two towers both; none of the decoder's */
    uint64_t active_parameters;
    uint64_t weight_bytes; /* bytes of tensor data in the checkpoint */
    struct limoe_scoring scoring;
    enum limoe_shares shares; /* what struct limoe_item's are */
    struct limoe_tower
        decoder;             /* what captions pictures (limoe_caption.h); without blocks the model has none */
    uint32_t caption_length; /* the most tokens of a caption, its end included; 0 without */
};

/* Whether the model takes pictures, or texts. */
bool limoe_has(const struct limoe_info *info, enum limoe_modality modality);
/* The same as a status: LIMOE_UNSUPPORTED says which tower is missing, and what is accepted. */
enum limoe_status limoe_accepts(const struct limoe_info *info, enum limoe_modality modality,
                                struct limoe_error *err);

/* ---- processor */

struct limoe_processor;

/* Limits on one encoded picture; a zero field takes the default.
 * All are checked before anything is decoded. */
struct limoe_image_limits {
    size_t max_bytes; /* default LIMOE_MAX_BYTES */
    /* width * height from the header; default LIMOE_MAX_PIXELS. A JPEG may have LIMOE_JPEG_FACTOR times as
     * many: one above the limit is decoded at 1/2, 1/4 or 1/8 of its size, the largest that keeps it. */
    uint64_t max_pixels;
    uint64_t found_pixels; /* what limoe_image_measure found: one with more is refused; 0: it was not asked */
};
#define LIMOE_MAX_BYTES   ((size_t)32 << 20)
#define LIMOE_MAX_PIXELS  UINT64_C(12500000) /* a phone's 4032 x 3024 */
#define LIMOE_JPEG_FACTOR 5u                 /* a phone's 8192 x 6144 */

/* How a picture is brought to the model's square. The first three are of limoe-1; after the others the square
 * lies in the middle of the picture, which may be larger or smaller, as enum limoe_middle says. */
enum limoe_resize {
    LIMOE_PAD,      /* fit, centred on the margin */
    LIMOE_SQUASH,   /* both sides to the model's */
    LIMOE_CROP,     /* fit the short side, cut the long one on both ends */
    LIMOE_UNSCALED, /* as it is */
    LIMOE_EXACT,    /* to width x height, whatever its shape */
    LIMOE_SHORTEST, /* the short side to `width`, the long one in proportion, rounded down */
    LIMOE_LONGEST,  /* both sides in proportion to fit the square, rounded to the nearest, halves to even */
};

/* The filters of Pillow, by its numbers: all but nearest are widened by the reduction. */
enum limoe_filter {
    LIMOE_NEAREST = 0,
    LIMOE_LANCZOS = 1, /* 3 lobes */
    LIMOE_BILINEAR = 2,
    LIMOE_BICUBIC = 3, /* a = -0.5 */
    LIMOE_BOX = 4,
    LIMOE_HAMMING = 5,
};

/* Where the square lies if the picture is an odd number of pixels larger or smaller. */
enum limoe_middle {
    /* Hugging Face: the half pixel is rounded down, so that the square is nearer to the picture's left and
     * top where it is smaller, and the picture nearer to the square's right and bottom where that is. */
    LIMOE_MIDDLE_DOWN,
    /* torchvision: halves to even where the square is smaller, to the left and top where the picture is. */
    LIMOE_MIDDLE_EVEN,
};

#define LIMOE_MAX_IMAGE_SIZE 2048u /* the largest image_size that a model may have */

/* All that pixels depend on besides the picture. Plain values, so that a process without files can be sent them. */
struct limoe_preprocess {
    uint32_t size; /* of the model's square picture, in pixels */
    enum limoe_resize resize;
    uint32_t width, height; /* LIMOE_EXACT: to these; LIMOE_SHORTEST: `width`; else unused */
    enum limoe_filter filter;
    enum limoe_middle middle;
    bool drop_alpha;       /* colours as they are under any alpha; else composited on the background */
    uint8_t background[3]; /* under transparency */
    uint8_t margin[3];     /* where the square reaches beyond the picture */
};

struct limoe_image_settings {
    struct limoe_preprocess preprocess;
    struct limoe_image_limits limits;
};

/* Opens a model directory's config.json and tokenizer.model, the latter of a model that takes texts. Processing a modality
 * that the model does not take is LIMOE_UNSUPPORTED. */
enum limoe_status limoe_processor_open(const char *dir, const struct limoe_image_limits *limits,
                                       struct limoe_processor **out, struct limoe_error *err);
void limoe_processor_close(struct limoe_processor *processor); /* NULL is fine */

/* The shape half of limoe_info (parameter counts, scale and bias are 0: they need the weights). */
const struct limoe_info *limoe_processor_info(const struct limoe_processor *processor);

/* 16 hex digits of the content of config.json and tokenizer.model, as they were read at opening. Equal
 * digits: pictures and texts become the same items. Lives as long as the processor. */
const char *limoe_processor_fingerprint(const struct limoe_processor *processor);

/* Decodes one JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF (of several pictures the first), BMP, PNM, TGA or PSD
 * file, turns it upright as it says, composites alpha on the model's background, resizes (antialiased
 * bicubic) and writes RGB to pixels[image_size, image_size, 3]. */
enum limoe_status limoe_process_image(const struct limoe_processor *processor, const uint8_t *bytes,
                                      size_t size, uint8_t *pixels, struct limoe_error *err);

/* Opens the files and starts the threads that decoding will need, for a process that is about to enter a
 * sandbox; else this happens with the first picture that needs them. Any number of times, from any thread. */
void limoe_image_prepare(void);

/* What limoe_process_image does its work by: the limits are the processor's, defaults filled in. */
struct limoe_image_settings limoe_processor_image_settings(const struct limoe_processor *processor);

/* limoe_process_image without a processor: pixels[size, size, 3], the same bits. */
enum limoe_status limoe_process_image_by(const struct limoe_image_settings *settings, const uint8_t *bytes,
                                         size_t size, uint8_t *pixels, struct limoe_error *err);

/* A picture's size as its header has it (before EXIF turns it), for every format that limoe_process_image
 * reads: no memory is allocated, and work is bounded by a few thousand steps whatever the bytes say. False:
 * the header is missing, cut short or too long to tell. It is at least the size of what is decoded later;
 * where a file announces several pictures it is that of the largest. Nothing else is checked: neither that
 * the file is whole nor that its size keeps any limit. */
bool limoe_image_measure(const uint8_t *bytes, size_t size, uint32_t *width, uint32_t *height);

/* Tokenises one UTF-8 text of `size` bytes (need not be NUL-terminated). Writes at most text_length ids to tokens[] and their
 * number, EOS (and with "pad": "attend" the padding) included, to *length. Invalid UTF-8 and NUL bytes are refused. */
enum limoe_status limoe_process_text(const struct limoe_processor *processor, const char *text, size_t size,
                                     int32_t *tokens, uint32_t *length, struct limoe_error *err);

/* ---- adapters: what a model was taught, in a file of its own (docs/format.md) */

enum limoe_adapter_kind {
    LIMOE_ADAPTER_PROBE, /* a linear classifier on embeddings; needs no model */
    LIMOE_ADAPTER_TAIL,  /* other weights from a block on */
    LIMOE_ADAPTER_LORA,  /* low-rank products that are added to weights */
};

/* "probe", "tail" or "lora"; a static string, never NULL. */
const char *limoe_adapter_kind_name(enum limoe_adapter_kind kind);

/* What an adapter's file says of it. Strings live as long as the adapter. */
struct limoe_adapter_info {
    enum limoe_adapter_kind kind;
    const char
        *base; /* 32 hex digits: the model's that it was made of, limoe_model_base; "": it does not say */
    uint32_t start_block; /* of a tail: the first block, of each tower, that may differ; else 0 */
    float strength;       /* 0 to 1: the one to use unless another is asked for */
    const char *const *labels;
    size_t n_labels; /* 0 to 10,000; distinct */
    const char *const *templates;
    size_t n_templates;
    const char *training; /* the record of how it was made, a JSON object; NULL: there is none */
    float alpha;          /* of a LoRA: the products are multiplied by alpha / rank; else 0 */
    uint32_t rank;
    bool rslora;    /* of a LoRA: rank-stabilised, they are multiplied by alpha / sqrt(rank) */
    uint32_t embed; /* of a probe: the width of the embeddings that it takes; else 0 */
    uint64_t parameters, bytes;
    size_t tensors;
};

struct limoe_adapter;

/* Opens an adapter's file, or PEFT's folder of a LoRA: adapter_config.json and adapter_model.safetensors.
 * A probe's weights are read; a tail's stay in the file, which stays open. Many threads may use it at once. LIMOE_CORRUPT, LIMOE_TOO_LARGE, LIMOE_UNSUPPORTED: what is wrong in the file, and what is accepted. */
enum limoe_status limoe_adapter_open(const char *path, struct limoe_adapter **out, struct limoe_error *err);
void limoe_adapter_close(struct limoe_adapter *adapter); /* NULL is fine */
const struct limoe_adapter_info *limoe_adapter_about(const struct limoe_adapter *adapter);

/* Writes the adapter to the file `path`, which takes the place of what is there when it is whole and on the disk, in format
 * limoe-adapter-1; tensors keep their bytes. base: 32 hex digits, the model's that it is of; NULL: as the adapter says.
 * LIMOE_INVALID: it does not say, as PEFT's folders do not, or says another. LIMOE_IO: a failure of the disk's. */
enum limoe_status limoe_adapter_save(const struct limoe_adapter *adapter, const char *base, const char *path,
                                     struct limoe_error *err);
/* Writes a LoRA as PEFT saves one, to `dir`, a directory that must not be there. PEFT knows no strength: alpha becomes alpha *
 * strength. Base, labels, templates and training are left out. LIMOE_INVALID: it is no LoRA, or something is there. */
enum limoe_status limoe_adapter_save_peft(const struct limoe_adapter *adapter, const char *dir,
                                          struct limoe_error *err);

/* A probe's answer to a unit vector embedding[embed]: logit[i] = weight row i · embedding + bias i, score = their softmax,
 * each [n_labels], either may be NULL. Pure. LIMOE_INVALID: the adapter is no probe, or `embed` is not its own. */
enum limoe_status limoe_probe_scores(const struct limoe_adapter *adapter, const float *embedding,
                                     uint32_t embed, float *logit, float *score, struct limoe_error *err);

/* ---- devices */

/* Where a model is computed: "cpu"; "cuda:N", a GPU; "cuda", the first; "auto", and NULL: the first GPU where
 * there is one, else the CPU. GPUs take the module limoe-cuda.so.
 *
 * Modules come from the directory that LIMOE_MODULES names; where that is not set, from the program's own, else from where
 * limoe is installed: the folder limoe beside the library.
 *
 * How many GPUs there are, cuda:0 and up. 0: why, in why[size] (NULL: nobody asks). */
uint32_t limoe_gpus(char *why, size_t size);

/* ---- ranks */

/* This process's identity among the ranks of a model, and how token rows travel between them. One thread at a time. */
struct limoe_ranks;

/* kind "local": one rank, this process. kind "mpi": as many as mpirun started; loads the module limoe-mpi.so and calls
 * MPI_Init: at most once in a process, by all ranks. LIMOE_UNSUPPORTED when there is no such kind or no module for it. A
 * rank that is lost takes the others with it: MPI ends the whole job. MPI carries rows between CPUs. */
enum limoe_status limoe_ranks_open(const char *kind, struct limoe_ranks **out, struct limoe_error *err);

/* Ranks that somebody else has started and brings together. */
struct limoe_rank_identity {
    uint32_t rank, count;
    const char *device; /* as limoe_options.device, a GPU: what such ranks compute on */
};
/* kind "nccl": loads limoe-nccl.so. It carries rows between GPUs, one to a rank. The ranks are apart until
 * they have joined, and apart again once one is lost: calls that need the others then fail with LIMOE_LOST,
 * and a model stays as it is, to be used again after the next join (limoe_model_rejoin). */
enum limoe_status limoe_ranks_open_at(const char *kind, const struct limoe_rank_identity *identity,
                                      struct limoe_ranks **out, struct limoe_error *err);
/* One rank makes a unique_id, the others are given it, and all join by it: once, for a rank that is lost
 * takes the unique id with it. Joining gives up what was joined before, and waits for the others. */
enum { LIMOE_RANKS_UNIQUE_ID_BYTES = 128 };
enum limoe_status limoe_ranks_make_unique_id(struct limoe_ranks *ranks,
                                             uint8_t unique_id[LIMOE_RANKS_UNIQUE_ID_BYTES],
                                             struct limoe_error *err);
enum limoe_status limoe_ranks_join(struct limoe_ranks *ranks,
                                   const uint8_t unique_id[LIMOE_RANKS_UNIQUE_ID_BYTES],
                                   struct limoe_error *err);
/* With true, what waits for other ranks stops waiting and fails with LIMOE_LOST, until this is called with
 * false. Any thread, beside the one that uses the ranks. */
void limoe_ranks_interrupt(struct limoe_ranks *ranks, bool on);
uint32_t limoe_ranks_rank(const struct limoe_ranks *ranks); /* 0 … count - 1 */
uint32_t limoe_ranks_count(const struct limoe_ranks *ranks);
/* Called after the models on these ranks are closed; with MPI by all ranks, each of which waits for the
 * others (MPI_Finalize). NULL is fine. */
void limoe_ranks_close(struct limoe_ranks *ranks);

/* ---- model */

struct limoe_model;

struct limoe_options {
    const char *device;     /* as above; LIMOE_UNSUPPORTED: there is no such GPU, or no module for GPUs */
    enum limoe_dtype dtype; /* 0: LIMOE_DTYPE_AUTO */
    uint32_t threads;       /* of the CPU; 0: as many as the process's affinity mask allows */
    /* The model's experts are spread over these ranks, which must outlive it; NULL: one rank. Opening and
     * embedding are then calls that every rank makes, in the same order. */
    struct limoe_ranks *ranks;
    const char *load_file; /* where experts lie, by a measured load (as limoe_rank_options.load); NULL:
                              contiguously, and without copies */
    uint64_t expert_bytes; /* with load_file: as limoe_rank_options.expert_bytes */
};

/* With ranks: a failure on one is a failure on all, and each one's message says whose it was. So are different files or
 * different processors: all ranks must make the same model of what they read. LIMOE_UNSUPPORTED for "moe.capacity" on more
 * than one rank, and for ranks that carry rows between CPUs where GPUs compute, or the other way round. */
enum limoe_status limoe_model_open(const char *dir, const struct limoe_options *options,
                                   struct limoe_model **out, struct limoe_error *err);
/* Asks the other ranks, after a new join, whether the model is still the same for all; those that open it then call
 * limoe_model_open meanwhile. Nothing is read again. After a failure other than LIMOE_LOST it is not to be used. */
enum limoe_status limoe_model_rejoin(struct limoe_model *model, struct limoe_error *err);
void limoe_model_close(struct limoe_model *model); /* NULL is fine */

const struct limoe_info *limoe_model_info(const struct limoe_model *model);
enum limoe_dtype limoe_model_dtype(const struct limoe_model *model); /* never AUTO */
const char *limoe_model_backend(const struct limoe_model *model);    /* "cpu-amx", "cuda-sm90", … */
uint32_t limoe_model_threads(const struct limoe_model *model);
/* Tokens in one call past which the device gains nothing: 2,048 on a CPU, more on a GPU. */
uint32_t limoe_model_step_tokens(const struct limoe_model *model);
/* 32 hex digits. The first 16 are those of a processor opened on the same config.json and tokenizer.model: if they differ,
 * the directory changed between the two openings. The other 16 stand for the tensors, the dtype and the backend. Where the
 * files lie and how they are sharded does not matter. Made for telling models apart, not for trusting them: no
 * cryptographic hash. Lives as long as the model. */
const char *limoe_model_fingerprint(const struct limoe_model *model);
/* What this rank holds, packed: the dense part, its experts, and how many those are over all layers. Any may be NULL. */
void limoe_model_memory(const struct limoe_model *model, uint64_t *dense_bytes, uint64_t *expert_bytes,
                        uint32_t *experts_held);
/* How many bytes of its GPU's memory are in use, by this model and whoever else is on it, and how many there are. False on
 * a CPU. A question to the driver: some microseconds or more, so not for each call. */
bool limoe_model_device_memory(const struct limoe_model *model, uint64_t *used, uint64_t *total);

/* ---- tails: one trunk, many models. Blocks that an adapter does not change are passed once by all of a call's items;
 * from its first changed block on, those that ask for it go their own way. What comes out has the bits of the model that
 * limoe_merge writes. */

/* 32 hex digits: those of the processor, and 16 of the checkpoint's tensors alone (docs/format.md), whatever the dtype
 * and the backend: what an adapter names as its base. Lives as long as the model. */
const char *limoe_model_base(const struct limoe_model *model);
/* The same of a directory, all of whose weights are read; digits [33]. */
enum limoe_status limoe_base(const char *dir, char digits[33], struct limoe_error *err);

/* Packs what the adapter, a tail or a LoRA, changes of the model, at a strength from 0, the model as it is, to 1; the rest
 * is shared with the model. The model's files are read again, and must be as they were. *tail must be released before the
 * model is closed, by the thread that calls the model. LIMOE_INVALID, LIMOE_CORRUPT: the adapter is of another model (its
 * base differs), a tensor does not fit, a weight is not finite. LIMOE_UNSUPPORTED: the model is on more than one rank, or
 * has "moe.capacity". */
enum limoe_status limoe_model_adapt(struct limoe_model *model, const struct limoe_adapter *adapter,
                                    float strength, struct limoe_tail **tail, struct limoe_error *err);
/* The bytes of packed weights that limoe_model_adapt will take; the same checks, and no weights are read. */
enum limoe_status limoe_model_adapt_bytes(const struct limoe_model *model,
                                          const struct limoe_adapter *adapter, float strength,
                                          uint64_t *bytes, struct limoe_error *err);
uint64_t limoe_tail_bytes(const struct limoe_tail *tail);
/* The first block of a modality's tower that differs, counted in the tower; its blocks: none does. */
uint32_t limoe_tail_start(const struct limoe_tail *tail, enum limoe_modality modality);
void limoe_tail_release(struct limoe_tail *tail); /* NULL is fine */
/* The first block that differs in any of the item's tails; UINT32_MAX: it has none but the model as it is. */
uint32_t limoe_item_fork(const struct limoe_item *item);
/* The bytes of an item's rows there, whose embeddings have the same bits with them and without. At block 0, or without a
 * fork, they are neither brought nor kept: LIMOE_INVALID. */
uint64_t limoe_model_trunk_bytes(const struct limoe_model *model, const struct limoe_item *item);

/* Which experts took which token. Rows are the items' tokens end to end, in item order, once for each embedding of the
 * item; trunk rows that several tails share are counted once in load and entropy, those that an item brings not at all, and
 * with expert or gate none may be brought. Any pointer may be NULL. After a failure, discard what was written or added. */
struct limoe_routing {
    int32_t *expert; /* [moe_layers, rows, top_k], by descending gate, ties to the lower index */
    float *gate; /* [moe_layers, rows, top_k], the weight used in the combine; 0 where capacity dropped it */
    uint64_t *load; /* [moe_layers, LIMOE_MODALITIES, experts]: assignments made, ADDED to what is there */
    /* [moe_layers, LIMOE_MODALITIES]: the entropy of the gate, -sum over all experts of p ln p before the top
     * k is taken, in nats, summed over tokens and ADDED to what is there. Over the tokens of the modality it
     * is the mean: 0 where the router is certain, ln(experts) where it does not care. */
    double *entropy;
    /* What the ranks' exchange took, for this rank; each is ADDED to what is there, nothing with one rank. */
    uint64_t *rows_sent; /* [moe_layers]: assignments of its tokens to experts on other ranks */
    /* [moe_layers]: bytes that it put on the wire: those rows, the results of the rows that others sent it,
     * and for each expert of another rank a count. A row, and a result, is width elements of the dtype. */
    uint64_t *bytes_sent;
    uint64_t *exchange_ns; /* [moe_layers]: spent in exchanging, waiting for the other ranks included */
};

/* Embeds n items in one step: embeddings[n, embed], row i for item i, unit length; an item with tails has a row for each,
 * in their order, before the next item's. routing may be NULL.
 * Errors: LIMOE_INVALID names the item (a token id outside the vocabulary, a length of 0 or over the limit, a modality
 * that the model does not take).
 *
 * With ranks, each brings its own items, or none (n = 0), and gets their embeddings; routing is that of its
 * own tokens. A rank whose items are refused takes part without any. LIMOE_LOST: the step was lost with
 * another rank, for all of them. Whoever runs out of memory once rows travel ends its process with a message,
 * with MPI the whole job: the other ranks could not be told otherwise, and would wait for ever. */
enum limoe_status limoe_model_embed(struct limoe_model *model, const struct limoe_item *items, size_t n,
                                    float *embeddings, const struct limoe_routing *routing,
                                    struct limoe_error *err);

/* ---- zero-shot scores (pure functions, no model needed) */

/* Ensembles prompts: `prompts` [n, embed] unit vectors of one label's templates → out[embed] = normalise(mean). */
void limoe_ensemble(const float *prompts, size_t n, size_t embed, float *out);

/* cosine[i] = image · labels[i]; scores of the n labels as the model's scoring has it.
 * image [embed], labels [n, embed], cosine [n], score [n]; without a score (NULL) scoring is not read and may be NULL, too. */
void limoe_scores(const float *image, const float *labels, size_t n, size_t embed,
                  const struct limoe_scoring *scoring, float *cosine, float *score);

/* Splits a cosine by patches: share[i] is what patch i adds to the cosine with the text, the rest included, which is spread
 * equally and told in *rest. Their sum is the cosine, within rounding. shares [patches + 1, embed] is what a picture's item
 * was given, text [embed] a unit vector, share [patches]; rest may be NULL. */
void limoe_explain(const float *shares, size_t patches, size_t embed, const float *text, float *share,
                   float *rest);

/* ---- inspection */

/* One transformer block's parameters, from the checkpoint. */
struct limoe_block_info {
    bool moe;
    uint64_t attention_parameters, router_parameters;
    uint64_t mlp_parameters;        /* all experts together in a MoE block */
    uint64_t active_mlp_parameters; /* per token */
};

struct limoe_inspection {
    struct limoe_info info;
    char checkpoint_dtypes[64];     /* "bfloat16", "bfloat16, float32" */
    struct limoe_block_info *block; /* [info.blocks] */
};

/* Reads config and checkpoint headers (no weights are loaded). Free with limoe_inspection_free. */
enum limoe_status limoe_inspect(const char *dir, struct limoe_inspection **out, struct limoe_error *err);
void limoe_inspection_free(struct limoe_inspection *inspection);

/* Is told how much of a model has been dealt with, in bytes of its weights. */
typedef void limoe_progress(void *context, uint64_t done, uint64_t all);

/* Writes a model directory as int8 to `out`, a directory that must not be there: config and tokenizer as they are,
 * and of each matrix 8-bit weights with a scale for each output channel (docs/format.md). Opened with LIMOE_INT8, or
 * on a CPU with LIMOE_DTYPE_AUTO, it gives the bits that the model itself gives with LIMOE_INT8. What is not finished
 * is not there. progress may be NULL. LIMOE_INVALID: `out` is there, or the model is int8 already. */
enum limoe_status limoe_quantize(const char *dir, const char *out, limoe_progress *progress, void *context,
                                 struct limoe_error *err);

/* Writes the model in `dir` with an adapter merged in, a tail or a LoRA, to `out`, a directory that must not be there. Changed
 * tensors are float32, all else is copied. What is not finished is not there. progress may be NULL. */
enum limoe_status limoe_merge(const char *dir, const struct limoe_adapter *adapter, float strength,
                              const char *out, limoe_progress *progress, void *context,
                              struct limoe_error *err);

/* How a model would be spread over ranks: every rank holds the dense part, and some experts of each MoE layer. */
struct limoe_rank_options {
    uint32_t ranks;         /* 1 to 1024; may exceed the experts */
    const char *device;     /* as limoe_options.device; a GPU that is named need not be there */
    enum limoe_dtype dtype; /* of the packed weights; 0: as limoe_model_open would choose on this machine */
    /* A JSON file of measured load, {"format": "limoe-load-1", "load": [[rows of each expert] of each
     * layer]}: experts are spread so that ranks get equal rows. NULL: contiguously, and without copies. */
    const char *load;
    uint64_t expert_bytes; /* with load: the most that a rank's experts may take, copies of the hottest
                              included; 0: as little as ranks of equal size can, no room for most copies */
};

struct limoe_rank {
    uint64_t dense_bytes,
        expert_bytes; /* packed weights in memory; activations and the program come on top */
    uint32_t experts; /* that it holds, over all layers */
};

struct limoe_placement {
    uint32_t ranks, layers, experts; /* layers = experts = 0 in a dense model */
    enum limoe_dtype dtype;          /* never AUTO */
    uint64_t expert_bytes;           /* of one expert of one layer */
    struct limoe_rank *rank;         /* [ranks] */
    /* [layers * experts + 1]: expert e of layer l is on owner[first[l * experts + e]] … */
    const uint32_t *first;
    const uint32_t *owner; /* … up to the next one's first: one rank or more, ascending */
    double *imbalance;     /* [layers], with load: the busiest rank's rows over the mean; else NULL */
};

/* Free with limoe_placement_free. */
enum limoe_status limoe_inspect_ranks(const struct limoe_inspection *inspection,
                                      const struct limoe_rank_options *options, struct limoe_placement **out,
                                      struct limoe_error *err);
void limoe_placement_free(struct limoe_placement *ranks); /* NULL is fine */

/* What a rank takes of the memory of its GPU, in bytes. */
struct limoe_card {
    uint64_t dense_bytes, expert_bytes; /* packed weights */
    uint64_t workspace_bytes; /* activations of the largest step, reserved when the model is opened */
    uint64_t exchange_bytes;  /* rows of several ranks that travel, and those computed here; 0: one rank */
    uint64_t staging_bytes;   /* what host data goes through, and the backend's tables of a step */
    uint64_t
        set_aside_bytes; /* for CUDA's context and NCCL's buffers: an allowance, which nothing here counts */
    uint64_t bytes;      /* all of it */
};

struct limoe_cards {
    uint32_t ranks;
    uint64_t step_tokens;    /* of the largest step, over all ranks */
    struct limoe_card *card; /* [ranks] */
};

/* What each rank of a placement on GPUs takes when steps have at most step_tokens tokens over all ranks (0: as many
 * as fill the device; 2^20 at most), by the arithmetic that allocates it; without a GPU. The worst is assumed: all
 * rows of a step go to one rank's experts. Tails of adapters are not in it. LIMOE_UNSUPPORTED: the placement is on CPUs,
 * or the model does not work on so many ranks. Free with limoe_cards_free. */
enum limoe_status limoe_inspect_cards(const struct limoe_inspection *inspection,
                                      const struct limoe_placement *ranks, uint64_t step_tokens,
                                      struct limoe_cards **out, struct limoe_error *err);
void limoe_cards_free(struct limoe_cards *cards); /* NULL is fine */

/* The fewest ranks, placed by the options (whose `ranks` is not read), each of which fits a card of card_bytes; *ranks is
 * 0 where no number of them does. Fails as the two above. */
enum limoe_status limoe_fewest_ranks(const struct limoe_inspection *inspection,
                                     const struct limoe_rank_options *options, uint64_t step_tokens,
                                     uint64_t card_bytes, uint32_t *ranks, struct limoe_error *err);

#ifdef __cplusplus
}
#endif
#endif
