/* request_captions.c - POST /v1/captions: pictures, and how their captions are found. */
#include <stdio.h>

#include "server/api/captions.h"
#include "server/api/classifier.h"
#include "server/api/request_parts.h"

_Static_assert(LIMOE_CAPTION_MAX <= DESCRIBE_CANDIDATES, "a bank has as many as a decoder may be asked for");

/* The reader. */
struct reader {
    const struct json_value *image, *images; /* read last */
    struct captions_request *out;
    const char *option; /* one that a decoder alone has; NULL: there is none */
    struct api_error *error;
};

static bool keep_image(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->image = value;
    return true;
}

static bool keep_images(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->images = value;
    return true;
}

static bool read_vocabulary(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    if (value->type != JSON_STRING)
        return request_refuse_type("vocabulary", "a string", value->type, r->error);
    r->out->describe.words[DESCRIBE_CAPTIONS].vocabulary = value->string;
    return classifier_check_name(value->string, "vocabulary", r->error);
}

/* ---- numbers */

/* Of the decoder's options; `most` is at most CAPTIONS_MOST_SEED. */
static bool read_whole(const struct reader *r, const struct json_value *value, const char *name,
                       uint64_t least, uint64_t most, uint64_t *out) {
    char accepted[64];
    snprintf(accepted, sizeof accepted, "a whole number from %llu to %llu", (unsigned long long)least,
             (unsigned long long)most);
    *out = 0;
    if (value->type != JSON_NUMBER)
        return request_refuse_type(name, accepted, value->type, r->error);
    const bool good = value->number >= (double)least && value->number <= (double)most &&
                      value->number == (double)(uint64_t)value->number;
    *out = good ? (uint64_t)value->number : 0;
    return good || api_fail(r->error, 400, "invalid_value", name, "%s is %.16g; accepted: %s", name,
                            value->number, accepted);
}

static bool read_option(struct reader *r, const struct json_value *value, const char *name, uint32_t least,
                        uint32_t most, uint32_t *out) {
    uint64_t number;
    const bool good = read_whole(r, value, name, least, most, &number);
    r->option = name;
    *out = (uint32_t)number;
    return good;
}

static bool read_n(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    uint64_t n;
    if (!read_whole(r, value, "n", 1, LIMOE_CAPTION_MAX, &n))
        return false;
    r->out->describe.words[DESCRIBE_CAPTIONS].most = n;
    r->out->options.n = (uint32_t)n;
    return true;
}

static bool read_beams(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return read_option(r, value, "beams", 1, LIMOE_CAPTION_MAX_BEAMS, &r->out->options.beams);
}

static bool read_top_k(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return read_option(r, value, "top_k", 1, INT32_MAX, &r->out->options.top_k);
}

static bool read_min_tokens(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return read_option(r, value, "min_tokens", 0, LIMOE_CAPTION_MAX_TOKENS, &r->out->options.min_length);
}

static bool read_max_tokens(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return read_option(r, value, "max_tokens", 1, LIMOE_CAPTION_MAX_TOKENS, &r->out->options.max_length);
}

static bool read_seed(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    r->option = "seed";
    return read_whole(r, value, "seed", 0, CAPTIONS_MOST_SEED, &r->out->options.seed);
}

static bool read_temperature(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    r->option = "temperature";
    if (value->type != JSON_NUMBER)
        return request_refuse_type("temperature", "a number from 0.01 to 100", value->type, r->error);
    r->out->options.temperature = (float)value->number;
    return (value->number >= 0.01 && value->number <= 100) ||
           api_fail(r->error, 400, "invalid_value", "temperature",
                    "temperature is %g; accepted: a number from 0.01 to 100", value->number);
}

/* ---- all */

static const struct field rows[] = {
    {.name = "image",
     .forms = FIELD_JSON,
     .kind = FIELD_PICTURE,
     .what = "The picture: a data URI, base64, or a URL where these are fetched.",
     .read = keep_image},
    {FIELD_IMAGES_ROW, .read = keep_images},
    {.name = "n",
     .forms = FIELD_JSON,
     .kind = FIELD_WHOLE,
     .least = 1,
     .most = LIMOE_CAPTION_MAX,
     .fallback = "1",
     .what =
         "Captions of each picture: the best of beams, as many samples with top_k, or the nearest of a bank.",
     .read = read_n},
    {.name = "beams",
     .forms = FIELD_JSON,
     .kind = FIELD_WHOLE,
     .least = 1,
     .most = LIMOE_CAPTION_MAX_BEAMS,
     .fallback = "1",
     .what =
         "The most probable beginnings that are kept at each token; 1: the most probable token each time.",
     .read = read_beams},
    {.name = "top_k",
     .forms = FIELD_JSON,
     .kind = FIELD_WHOLE,
     .least = 1,
     .most = INT32_MAX,
     .what =
         "Draws each token among so many of the most probable, up to the model's vocabulary. Not with beams.",
     .read = read_top_k},
    {.name = "temperature",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .schema = "{\"type\":\"number\",\"minimum\":0.01,\"maximum\":100}",
     .fallback = "1",
     .what = "With top_k: below 1 the probable is drawn more often, above 1 less.",
     .read = read_temperature},
    {.name = "seed",
     .forms = FIELD_JSON,
     .kind = FIELD_WHOLE,
     .most = CAPTIONS_MOST_SEED,
     .fallback = "0",
     .what = "With top_k: another seed, other captions; the same, the same.",
     .read = read_seed},
    {.name = "min_tokens",
     .forms = FIELD_JSON,
     .kind = FIELD_WHOLE,
     .most = LIMOE_CAPTION_MAX_TOKENS,
     .fallback = "0",
     .what = "Tokens before a caption may end.",
     .read = read_min_tokens},
    {.name = "max_tokens",
     .forms = FIELD_JSON,
     .kind = FIELD_WHOLE,
     .least = 1,
     .most = LIMOE_CAPTION_MAX_TOKENS,
     .what = "Tokens after which a caption is cut. Absent: as many as the decoder has positions for, which "
             "/v1/models tells. Pictures x texts x tokens are bounded, too (too_many_tokens).",
     .read = read_max_tokens},
    {.name = "vocabulary",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .schema = CLASSIFIER_NAME_SCHEMA,
     .what =
         "A bank: the name of a stored classifier whose labels are captions. The nearest are taken from it, "
         "also where the model has a decoder.",
     .read = read_vocabulary},
    FIELD_MODEL(FIELD_JSON),
};
const struct field_table captions_fields = {FIELD_TABLE(rows)};

static bool check_range(const char *name, uint32_t found, uint32_t least, uint32_t most,
                        struct api_error *error) {
    return (found >= least && found <= most) ||
           api_fail(error, 400, "invalid_value", name, "%s is %u; %u to %u is accepted", name, found, least,
                    most);
}

/* What the model's sizes and the options allow of each other; then defaults are filled in. */
static bool check_options(const struct limoe_info *model, struct limoe_caption_options *options,
                          struct api_error *error) {
    const struct limoe_caption_options asked = *options;
    const uint32_t longest = asked.max_length ? asked.max_length : model->caption_length;
    struct limoe_error err;
    if (asked.top_k && asked.beams)
        return api_fail(error, 400, "conflicting_fields", "beams",
                        "beams and top_k are given; captions are searched or drawn, by one of the two");
    if ((asked.temperature != 0 || asked.seed) && !asked.top_k)
        return api_fail(error, 400, "missing_field", "top_k",
                        "temperature and seed are of captions that are drawn; top_k is missing");
    if (!check_range("n", asked.n, 1,
                     asked.top_k   ? LIMOE_CAPTION_MAX
                     : asked.beams ? asked.beams
                                   : 1,
                     error) ||
        !check_range("top_k", asked.top_k, 0, model->vocab, error) ||
        !check_range("max_tokens", longest, 1, model->caption_length, error) ||
        !check_range("min_tokens", asked.min_length, 0, longest, error))
        return false;
    return limoe_caption_check(model, &asked, options, &err) == LIMOE_OK ||
           api_fail(error, 400, "invalid_value", NULL, "%s", err.message);
}

/* Who makes the captions. */
static bool check(const struct reader *r, const struct limoe_info *model) {
    struct captions_request *out = r->out;
    const bool bank = out->describe.words[DESCRIBE_CAPTIONS].vocabulary.data;
    if (bank && r->option)
        return api_fail(r->error, 400, "conflicting_fields", r->option,
                        "%s is of a decoder, and vocabulary names a bank of captions; accepted with it: n",
                        r->option);
    out->decoded = !bank;
    if (bank)
        return true;
    if (!model->decoder.blocks)
        return api_fail(
            r->error, 400, "no_decoder", "vocabulary",
            "\"%s\" has no decoder that writes captions; name a stored classifier whose labels are "
            "captions",
            model->name);
    return check_options(model, &out->options, r->error);
}

bool captions_read(const struct request_models *models, const char *body, size_t size, struct arena *arena,
                   struct captions_request *out, struct api_error *error) {
    const struct json_value *object;
    struct reader reader = {.out = out, .error = error};
    struct describe_request *describe = &out->describe;
    *out = (struct captions_request){.describe = describe_defaults(), .options = {.n = 1}};
    describe->words[DESCRIBE_TAGS].most = describe->words[DESCRIBE_ATTRIBUTES].most = 0;
    describe->words[DESCRIBE_CAPTIONS].most = 1;
    return request_read_object(body, size, arena, &object, error) &&
           request_choose_model(models, object, &describe->model, error) &&
           field_read_object(object, &captions_fields, &reader, error) &&
           check(&reader, models->info[describe->model]) &&
           request_read_images(reader.image, reader.images, arena, &describe->images, &describe->n_images,
                               error);
}

/* ---- how much it is */

uint32_t captions_texts(const struct limoe_caption_options *options) {
    return options->n > options->beams ? options->n : options->beams;
}

uint32_t captions_room(const struct limoe_caption_options *options) {
    return (options->max_length + CAPTIONS_PAGE - 1) / CAPTIONS_PAGE * CAPTIONS_PAGE;
}

uint64_t captions_tokens(const struct captions_request *request) {
    return request->decoded ? (uint64_t)request->describe.n_images * captions_texts(&request->options) *
                                  captions_room(&request->options)
                            : 0;
}

size_t captions_size(const struct captions_request *request) {
    const size_t token = 16, text = 128; /* bytes */
    return request->describe.n_images *
           (64 + request->options.n * (text + token * request->options.max_length));
}
