/* request_training.c - POST /v1/adapters/{name}: examples, what they are to be called, and how they are learnt. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/request_parts.h"
#include "server/api/training.h"

#define FIRST_ROOM   64
#define MOST_SEED    9007199254740991.0 /* that a double holds exactly */
#define MOST_BLOCK   256
#define EXAMPLE_PART "examples["
#define ARCHIVE_PART "archive"

struct reading {
    struct request_labels_reader labels; /* first: it reads labels and templates */
    struct training_request *out;
    struct arena *arena;
    struct api_error *error;
};

/* ---- examples */

bool training_take(struct training_request *request, const struct training_example *example,
                   struct arena *arena, struct api_error *error) {
    const struct text label = example->label;
    char quoted[64];
    if (text_blank(label))
        return api_fail(error, 400, "empty_labels", example->param, "the label of %s is %s", example->param,
                        label.size ? "nothing but white space" : "empty");
    if (label.size > REQUEST_MAX_LABEL_BYTES)
        return api_fail(error, 400, "too_long", example->param,
                        "the label of %s has %zu bytes; up to %u are accepted", example->param, label.size,
                        REQUEST_MAX_LABEL_BYTES);
    if (!example->size)
        return api_fail(error, 400, "invalid_image", example->param, "%s, of \"%s\", is an empty file",
                        example->param, text_quote(label, quoted, sizeof quoted));
    if (request->n == TRAINING_MOST_EXAMPLES)
        return api_fail(error, 400, "too_many_images", "examples",
                        "more than %u examples; 2 to %u are accepted", TRAINING_MOST_EXAMPLES,
                        TRAINING_MOST_EXAMPLES);
    if (request->n == request->room) {
        const size_t room = request->room ? 2 * request->room : FIRST_ROOM;
        struct training_example *larger = arena_array(arena, room, sizeof *larger);
        if (!larger)
            return api_fail_memory(error);
        if (request->n)
            memcpy(larger, request->examples, request->n * sizeof *larger);
        request->examples = larger;
        request->room = room;
    }
    request->examples[request->n++] = *example;
    return true;
}

static bool refuse_url(const char *param, struct api_error *error) {
    return api_fail(
        error, 400, "invalid_image", param,
        "%s is a URL; accepted: base64 or a data URI, since examples are kept until they are learnt", param);
}

static bool read_example(struct reading *r, const struct json_value *value, size_t i) {
    const struct json_value *image = json_given(value, text_of("image")),
                            *label = json_given(value, text_of("label"));
    struct request_item item;
    const char *param = arena_print(r->arena, "examples[%zu]", i);
    if (!param)
        return api_fail_memory(r->error);
    if (value->type != JSON_OBJECT)
        return request_refuse_type(param, "an object of image and label", value->type, r->error);
    for (const struct json_value *member = value->child; member; member = member->next)
        if (member->type != JSON_NULL && member != image && member != label)
            return request_refuse_field(member->name.data, member->name.size, "image, label", r->error);
    if (!image || !label)
        return api_fail(r->error, 400, "missing_field", param, "%s has no %s; an example has image and label",
                        param, image ? "label" : "image");
    if (image->type != JSON_STRING || label->type != JSON_STRING)
        return request_refuse_type(param, "an object whose image and label are strings",
                                   image->type != JSON_STRING ? image->type : label->type, r->error);
    if (!request_read_image(image->string, param, r->arena, &item, r->error))
        return false;
    const struct training_example example = {
        .label = label->string, .bytes = item.bytes, .size = item.size, .param = param};
    return item.remote ? refuse_url(param, r->error) : training_take(r->out, &example, r->arena, r->error);
}

static bool read_examples(void *reader, const struct json_value *value) {
    struct reading *r = reader;
    size_t i = 0;
    if (value->type != JSON_ARRAY)
        return request_refuse_type("examples", "a list of objects of image and label", value->type, r->error);
    for (const struct json_value *one = value->child; one; one = one->next)
        if (!read_example(r, one, i++))
            return false;
    return true;
}

/* ---- kind and options */

static const char *const kinds[] = {"auto", "probe", "tail", NULL};

static bool read_kind(void *reader, const struct json_value *value) {
    struct reading *r = reader;
    char quoted[64];
    if (value->type != JSON_STRING)
        return request_refuse_type("kind", "\"auto\", \"probe\" and \"tail\"", value->type, r->error);
    for (int i = 0; kinds[i]; i++)
        if (text_is(value->string, kinds[i])) {
            r->out->kind = (enum limoe_tune_kind)i;
            return true;
        }
    return api_fail(r->error, 400, "invalid_kind", "kind",
                    "kind is \"%s\"; accepted: \"auto\", \"probe\" and \"tail\"",
                    text_quote(value->string, quoted, sizeof quoted));
}
_Static_assert(LIMOE_TUNE_AUTO == 0 && LIMOE_TUNE_PROBE == 1 && LIMOE_TUNE_TAIL == 2, "kinds' order");

/* A number from `least` to `most`, perhaps a whole one. */
static bool read_number(const struct reading *r, const struct json_value *value, const char *name, bool whole,
                        double least, double most, double *out) {
    char param[48], accepted[96];
    snprintf(param, sizeof param, "options.%s", name);
    snprintf(accepted, sizeof accepted, "a %s from %.10g to %.16g", whole ? "whole number" : "number", least,
             most);
    if (value->type != JSON_NUMBER)
        return request_refuse_type(param, accepted, value->type, r->error);
    if (!(value->number >= least && value->number <= most) ||
        (whole && value->number != floor(value->number)))
        return api_fail(r->error, 400, "invalid_value", param, "%s is %.10g; accepted: %s", param,
                        value->number, accepted);
    *out = value->number;
    return true;
}

static bool read_start_block(void *reader, const struct json_value *value) {
    struct reading *r = reader;
    double block = 0;
    if (!read_number(r, value, "start_block", true, 0, MOST_BLOCK, &block))
        return false;
    r->out->start_block = (uint32_t)block;
    return true;
}

static bool read_epochs(void *reader, const struct json_value *value) {
    struct reading *r = reader;
    double epochs = 0;
    if (!read_number(r, value, "epochs", true, 1, LIMOE_TUNE_MAX_EPOCHS, &epochs))
        return false;
    r->out->epochs = (uint32_t)epochs;
    return true;
}

static bool read_rate(void *reader, const struct json_value *value) {
    struct reading *r = reader;
    return read_number(r, value, "learning_rate", false, 1e-9, 10, &r->out->rate);
}

static bool read_seed(void *reader, const struct json_value *value) {
    struct reading *r = reader;
    double seed = 0;
    if (!read_number(r, value, "seed", true, 0, MOST_SEED, &seed))
        return false;
    r->out->seed = (uint64_t)seed;
    return true;
}

static bool read_held_out(void *reader, const struct json_value *value) {
    struct reading *r = reader;
    if (!read_number(r, value, "held_out", false, 0, TRAINING_MOST_SHARE, &r->out->held_out))
        return false;
    if (r->out->held_out == 0)
        r->out->held_out = -1;
    return true;
}

static bool read_switch(const struct reading *r, const struct json_value *value, const char *param,
                        bool *out) {
    *out = value->type == JSON_TRUE;
    return *out || value->type == JSON_FALSE ||
           request_refuse_type(param, "true and false", value->type, r->error);
}

static bool read_flip(void *reader, const struct json_value *value) {
    struct reading *r = reader;
    return read_switch(r, value, "options.flip", &r->out->flip);
}

static bool read_skip_broken(void *reader, const struct json_value *value) {
    struct reading *r = reader;
    return read_switch(r, value, "options.skip_broken", &r->out->skip_broken);
}

static const struct field option_rows[] = {
    {.name = "start_block", .forms = FIELD_JSON, .kind = FIELD_WHOLE, .read = read_start_block},
    {.name = "epochs", .forms = FIELD_JSON, .kind = FIELD_WHOLE, .read = read_epochs},
    {.name = "learning_rate", .forms = FIELD_JSON, .kind = FIELD_SCHEMA, .read = read_rate},
    {.name = "seed", .forms = FIELD_JSON, .kind = FIELD_WHOLE, .read = read_seed},
    {.name = "held_out", .forms = FIELD_JSON, .kind = FIELD_SCHEMA, .read = read_held_out},
    {.name = "flip", .forms = FIELD_JSON, .kind = FIELD_SCHEMA, .read = read_flip},
    {.name = "skip_broken", .forms = FIELD_JSON, .kind = FIELD_SCHEMA, .read = read_skip_broken},
};
static const struct field_table options = {FIELD_TABLE(option_rows)};

static bool read_options(void *reader, const struct json_value *value) {
    struct reading *r = reader;
    if (value->type != JSON_OBJECT)
        return request_refuse_type("options", "an object", value->type, r->error);
    return field_read_object(value, &options, reader, r->error);
}

#define OPTION_SCHEMA                                                                                        \
    SCHEMA({                                                                                                 \
        "type" : "object",                                                                                   \
        "properties" : {                                                                                     \
            "start_block" : {"type" : [ "integer", "null" ], "minimum" : 0, "maximum" : 256},                \
            "epochs" : {"type" : [ "integer", "null" ], "minimum" : 1, "maximum" : 1000},                    \
            "learning_rate" : {"type" : [ "number", "null" ], "minimum" : 1e-9, "maximum" : 10},             \
            "seed" : {"type" : [ "integer", "null" ], "minimum" : 0, "maximum" : 9007199254740991},          \
            "held_out" : {"type" : [ "number", "null" ], "minimum" : 0, "maximum" : 0.5},                    \
            "flip" : {"type" : [ "boolean", "null" ]},                                                       \
            "skip_broken" : {"type" : [ "boolean", "null" ]}                                                 \
        },                                                                                                   \
        "additionalProperties" : {"type" : "null"}                                                           \
    })
#define EXAMPLES_SCHEMA                                                                                      \
    SCHEMA({                                                                                                 \
        "type" : "array",                                                                                    \
        "minItems" : 2,                                                                                      \
        "maxItems" : 10000,                                                                                  \
        "items" : {                                                                                          \
            "type" : "object",                                                                               \
            "properties" : {                                                                                 \
                "image" : {"type" : "string", "format" : "picture"},                                         \
                "label" : {"type" : "string", "minLength" : 1, "maxLength" : 1024}                           \
            },                                                                                               \
            "required" : [ "image", "label" ],                                                               \
            "additionalProperties" : {"type" : "null"}                                                       \
        }                                                                                                    \
    })

static const struct field fields[] = {
    {.name = "examples",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .required = true,
     .schema = EXAMPLES_SCHEMA,
     .what = "Pictures, each with its label; of two labels at least.",
     .read = read_examples},
    {.name = EXAMPLE_PART "LABEL]",
     .forms = FIELD_PART,
     .kind = FIELD_PICTURE,
     .most = TRAINING_MOST_EXAMPLES,
     .what = "The pictures of a label, which stands between the brackets: a part each."},
    {.name = ARCHIVE_PART,
     .forms = FIELD_PART,
     .kind = FIELD_SCHEMA,
     .schema = SCHEMA({"type" : "string", "format" : "binary"}),
     .what = "A zip file with a folder of pictures for each label, which is the folder's name. Given once."},
    {.name = "labels",
     .forms = FIELD_JSON | FIELD_PART,
     .kind = FIELD_LABELS,
     .least = 2,
     .most = LIMOE_TUNE_MAX_CLASSES,
     .bytes = REQUEST_MAX_LABEL_BYTES,
     .what = "All labels that are learnt, some of which may have no examples. Absent: the examples'.",
     .read = request_read_labels},
    {FIELD_TEMPLATES_ROW, .forms = FIELD_JSON | FIELD_PART, .read = request_read_templates},
    FIELD_MODEL(FIELD_JSON | FIELD_PART),
    {.name = "kind",
     .forms = FIELD_JSON | FIELD_PART,
     .kind = FIELD_CHOICE,
     .choices = kinds,
     .fallback = "\"auto\"",
     .what = "A probe, a tail, or both and what answers held-out pictures better.",
     .read = read_kind},
    {.name = "options",
     .forms = FIELD_JSON | FIELD_PART,
     .kind = FIELD_SCHEMA,
     .schema = OPTION_SCHEMA,
     .what = "How it is learnt, as limoe tune has it; in a form as JSON.",
     .read = read_options},
};
const struct field_table request_training_fields = {FIELD_TABLE(fields)};

/* ---- classes */

static int by_bytes(const void *a, const void *b) {
    const struct text *x = a, *y = b;
    const int order = memcmp(x->data, y->data, x->size < y->size ? x->size : y->size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* The labels, sorted and each once; of two that are given alike, *twice is one. */
static size_t sort_labels(struct text *label, size_t n, const struct text **twice) {
    size_t kept = 0;
    qsort(label, n, sizeof *label, by_bytes);
    for (size_t i = 0; i < n; i++)
        if (kept && text_equal(label[kept - 1], label[i]))
            *twice = &label[kept - 1];
        else
            label[kept++] = label[i];
    return kept;
}

static bool list_labels(struct reading *r) {
    struct classify_request *d = &r->out->definition;
    const bool given = d->labels != NULL;
    const size_t n = given ? d->n_labels : r->out->n;
    const struct text *twice = NULL;
    struct text *label = arena_array(r->arena, n + 1, sizeof *label);
    char quoted[64];
    if (!label)
        return api_fail_memory(r->error);
    for (size_t i = 0; i < n; i++)
        label[i] = given ? d->labels[i] : r->out->examples[i].label;
    d->n_labels = sort_labels(label, n, &twice);
    d->labels = label;
    if (given && twice)
        return api_fail(r->error, 400, "duplicate_field", "labels",
                        "\"%s\" is among labels twice; each once is accepted",
                        text_quote(*twice, quoted, sizeof quoted));
    if (d->n_labels > LIMOE_TUNE_MAX_CLASSES)
        return api_fail(r->error, 400, "too_many_labels", "labels", "%zu labels; 2 to %u are accepted",
                        d->n_labels, LIMOE_TUNE_MAX_CLASSES);
    return true;
}

/* Each example's class; at least two have some. */
static bool find_classes(struct reading *r) {
    struct training_request *out = r->out;
    const struct classify_request *d = &out->definition;
    size_t others = 0;
    char quoted[64];
    out->of = arena_array(r->arena, out->n + 1, sizeof *out->of);
    if (!out->of)
        return api_fail_memory(r->error);
    for (size_t i = 0; i < out->n; i++) {
        const struct training_example *example = &out->examples[i];
        const struct text *found =
            bsearch(&example->label, d->labels, d->n_labels, sizeof *d->labels, by_bytes);
        if (!found)
            return api_fail(r->error, 400, "invalid_value", example->param,
                            "%s is of \"%s\", which is not among labels", example->param,
                            text_quote(example->label, quoted, sizeof quoted));
        out->of[i] = (uint32_t)(found - d->labels);
        others += out->of[i] != out->of[0];
    }
    return others ||
           api_fail(r->error, 400, "too_few_classes", "examples",
                    "the examples are all of \"%s\"; those of 2 to %u labels are accepted",
                    text_quote(out->examples[0].label, quoted, sizeof quoted), LIMOE_TUNE_MAX_CLASSES);
}

/* By class, as folders have them, so that what is learnt depends on the order within a label alone. */
static bool group_examples(struct reading *r) {
    struct training_request *out = r->out;
    const size_t classes = out->definition.n_labels;
    size_t *next = arena_array(r->arena, classes + 1, sizeof *next);
    struct training_example *example = arena_array(r->arena, out->n, sizeof *example);
    uint32_t *of = arena_array(r->arena, out->n, sizeof *of);
    if (!next || !example || !of)
        return api_fail_memory(r->error);
    for (size_t i = 0; i < out->n; i++)
        next[out->of[i] + 1]++;
    for (size_t c = 1; c < classes; c++)
        next[c] += next[c - 1];
    for (size_t i = 0; i < out->n; i++) {
        const size_t at = next[out->of[i]]++;
        example[at] = out->examples[i];
        of[at] = out->of[i];
    }
    out->examples = example;
    out->of = of;
    return true;
}

static bool check_prompts(const struct reading *r) {
    const struct classify_request *d = &r->out->definition;
    const size_t prompts = d->n_labels * d->n_templates;
    return prompts <= LIMOE_TUNE_MAX_PROMPTS ||
           api_fail(r->error, 400, "too_many_prompts", "templates",
                    "%zu labels in %zu templates are %zu prompts; up to %u are accepted", d->n_labels,
                    d->n_templates, prompts, LIMOE_TUNE_MAX_PROMPTS);
}

static bool finish(struct reading *r) {
    if (!r->out->n)
        return api_fail(r->error, 400, "missing_field", "examples",
                        "there are no examples; pictures of 2 to %u labels are expected",
                        LIMOE_TUNE_MAX_CLASSES);
    return list_labels(r) && request_check_labels(&r->out->definition, r->error) && check_prompts(r) &&
           find_classes(r) && group_examples(r);
}

static struct reading begin(struct training_request *out, struct arena *arena, struct api_error *error) {
    *out = (struct training_request){.start_block = LIMOE_TUNE_MIDDLE};
    return (struct reading){.labels = {.out = &out->definition, .arena = arena, .error = error},
                            .out = out,
                            .arena = arena,
                            .error = error};
}

/* ---- forms of the request */

bool request_training_json(const struct request_models *models, const char *body, size_t size,
                           struct arena *arena, struct training_request *out, struct api_error *error) {
    struct reading r = begin(out, arena, error);
    const struct json_value *object;
    return request_read_object(body, size, arena, &object, error) &&
           request_choose_model(models, object, &out->definition.model, error) &&
           field_read_object(object, &request_training_fields, &r, error) && finish(&r);
}

/* The label of examples[LABEL]; data NULL: the part is another. */
static struct text label_of(const char *name) {
    const size_t begin = strlen(EXAMPLE_PART), size = strlen(name);
    if (strncmp(name, EXAMPLE_PART, begin) != 0 || name[size - 1] != ']')
        return (struct text){.data = NULL};
    return (struct text){.data = name + begin, .size = size - 1 - begin};
}

static bool take_part(struct reading *r, const struct request_field *part, struct text label) {
    const struct training_example example = {
        .label = label, .bytes = part->bytes, .size = part->size, .param = part->name};
    return request_form_text(label, part->name, r->error) &&
           training_take(r->out, &example, r->arena, r->error);
}

static bool take_archive(struct reading *r, const struct request_field *part, uint64_t most_bytes) {
    struct training_archive *archive = &r->out->archive;
    if (archive->bytes)
        return api_fail(r->error, 400, "duplicate_field", ARCHIVE_PART,
                        "there are several of " ARCHIVE_PART "; one is accepted");
    *archive = (struct training_archive){
        .bytes = part->bytes,
        .size = part->size,
        .limits = {.entries = TRAINING_MOST_ENTRIES, .entry_bytes = most_bytes, .total_bytes = UINT64_MAX}};
    return training_take_archive(r->out, r->arena, r->error);
}

static bool take_parts(struct reading *r, const struct request_form *form, uint64_t most_bytes) {
    char names[100];
    for (size_t i = 0; i < form->n; i++) {
        const struct request_field *part = &form->fields[i];
        const struct text label = label_of(part->name);
        if (label.data ? !take_part(r, part, label)
            : strcmp(part->name, ARCHIVE_PART) == 0
                ? !take_archive(r, part, most_bytes)
                : !field_find(&request_training_fields, text_of(part->name), FIELD_PART) &&
                      !request_refuse_field(
                          part->name, strlen(part->name),
                          field_names(&request_training_fields, FIELD_PART, names, sizeof names), r->error))
            return false;
    }
    return true;
}

static bool read_form_options(struct reading *r, const struct request_field *part) {
    struct json_value *value;
    struct json_error at;
    if (json_read((const char *)part->bytes, part->size, r->arena, &value, &at))
        return value->type == JSON_NULL || read_options(r, value);
    return at.no_memory
               ? api_fail_memory(r->error)
               : api_fail(r->error, 400, "invalid_json", "options",
                          "options is not JSON: line %zu, column %zu: %s", at.line, at.column, at.message);
}

static bool take_fields(struct reading *r, const struct request_models *models,
                        const struct request_form *form) {
    struct classify_request *d = &r->out->definition;
    const struct request_list labels = request_labels(d), templates = request_templates(d);
    const struct request_field *model, *kind, *given;
    if (!request_form_one(form, "model", &model, r->error) ||
        !request_form_one(form, "kind", &kind, r->error) ||
        !request_form_one(form, "options", &given, r->error))
        return false;
    const struct json_value word = {
        .type = JSON_STRING,
        .string = {.data = kind ? (const char *)kind->bytes : "", .size = kind ? kind->size : 0}};
    const struct text name = {.data = model ? (const char *)model->bytes : "",
                              .size = model ? model->size : 0};
    return request_find_model(models, name, &d->model, r->error) && (!kind || read_kind(r, &word)) &&
           (!given || read_form_options(r, given)) && request_form_list(form, &labels, r->arena, r->error) &&
           request_form_list(form, &templates, r->arena, r->error);
}

bool request_training_multipart(const struct request_models *models, const struct request_field *parts,
                                size_t n, uint64_t most_bytes, struct arena *arena,
                                struct training_request *out, struct api_error *error) {
    struct reading r = begin(out, arena, error);
    const struct request_form form = {.fields = parts, .n = n};
    return take_parts(&r, &form, most_bytes) && take_fields(&r, models, &form) && finish(&r);
}
