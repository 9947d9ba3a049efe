/* preprocess_config.h - what the folders of other libraries say about pictures: Hugging Face's
 * preprocessor_config.json and OpenCLIP's open_clip_config.json.
 *
 * Such a file describes two steps, which happen in two processes: a decoder brings a picture to a square of
 * bytes, and the network begins by making numbers of them. docs/format.md says which fields are read, which
 * are ignored, and where the results differ from the originals'. */
#ifndef LIMOE_MODEL_CHECKPOINT_PREPROCESS_CONFIG_H
#define LIMOE_MODEL_CHECKPOINT_PREPROCESS_CONFIG_H

#include <cjson/cJSON.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/fingerprint.h"

/* The longest side that a file may ask for, of the square or of the picture that it is cut from. */
#define PREPROCESS_MAX_SIDE 2048u

struct preprocess_config {
    struct limoe_preprocess picture;
    /* A byte b of channel c becomes (b / 255 - mean[c]) / std[c], every operation in float32. Another factor
     * than 1 / 255, or none, is folded into both: the numbers are the original's bits where there is no such
     * factor, and within a few units of their last place where there is. */
    float mean[3], std[3];
};

/* What a field that is missing means depends on the processor's class. The file names it; one that does not
 * is read as the class given, which follows from the model. */
enum preprocess_class { PREPROCESS_CLIP /* and Chinese-CLIP's */, PREPROCESS_SIGLIP, PREPROCESS_VIT };

/* Reads a Hugging Face folder: "image_processor" of dir/processor_config.json where there is one, else
 * dir/preprocessor_config.json, each of at most 1 MiB; what was read is added to `fingerprint` (NULL: to
 * none). LIMOE_NOT_FOUND: neither says anything. */
enum limoe_status preprocess_load_hugging_face(const char *dir, enum preprocess_class absent,
                                               struct fingerprint *fingerprint, struct preprocess_config *out,
                                               struct limoe_error *err);

/* The same of an object that has been parsed. `where` (a file's name) begins every message; `prefix` begins
 * the fields' names in them: "" or "image_processor.". */
enum limoe_status preprocess_read_hugging_face(const cJSON *object, const char *where, const char *prefix,
                                               enum preprocess_class absent, struct preprocess_config *out,
                                               struct limoe_error *err);

/* Reads "preprocess_cfg" of a whole open_clip_config.json, and the side, which OpenCLIP takes from
 * "model_cfg.vision_cfg.image_size" whatever "preprocess_cfg.size" says. */
enum limoe_status preprocess_read_open_clip(const cJSON *document, const char *where,
                                            struct preprocess_config *out, struct limoe_error *err);

#endif
