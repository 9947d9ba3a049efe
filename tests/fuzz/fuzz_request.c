/* fuzz_request.c - any bytes, as the body of any route. The first byte, a digit in the corpus or one of the signs behind them, chooses the
 * route and the way in:
 *     0  /v1/embeddings        1  /v1/routing
 *     2  /v1/classify, JSON    3  /v1/classify, a query before a picture
 *     4  /v1/classify, multipart with the boundary "x"
 *     5  PUT /v1/classifiers/{name}, the name before "|" and the body behind it
 *     6  GET /v1/classifiers, a query
 *     7  a classifier's row as the store reads it: labels, "|", templates
 *     8  POST /v1/loadtests    9  /v1/attention
 *     :  POST /v1/adapters/{name}, JSON    ;  the same, multipart with the boundary "x"
 *     <  POST /v1/describe, and /v1/captions     =  a file of terms
 *     >  PUT /v1/vocabularies/{name}, the name before "|"    ?  GET of one, a query
 *     @  POST /v1/ask          A  POST /v1/chat/completions
 *
 * What is accepted must keep the promises of request.h, on which the rest of the server builds; what is
 * refused must say why, in an answer that is JSON.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/answer.h"
#include "server/api/ask.h"
#include "server/api/attention.h"
#include "server/api/captions.h"
#include "server/api/chat.h"
#include "server/api/classifier.h"
#include "server/api/classify.h"
#include "server/api/describe.h"
#include "server/api/multipart.h"
#include "server/api/request.h"
#include "server/api/request_loadtest.h"
#include "server/api/training.h"
#include "server/api/vocabularies.h"
#include "server/formats/json_reader.h"
#include "server/front/store/classifier.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static void require_text(const void *data, size_t size) {
    const struct text text = {.data = data, .size = size};
    require(text_check(data, size) == size && !text_blank(text));
}

static void require_json(struct buffer *answer, struct arena *arena) {
    struct json_value *value = NULL;
    struct json_error error;
    require(!answer->failed);
    require(json_read(answer->data, answer->size, arena, &value, &error));
    require(value->type == JSON_OBJECT);
    buffer_free(answer);
}

static void check_error(const struct api_error *error, struct arena *arena) {
    struct buffer answer = {0};
    require(error->status >= 400 && error->status < 500 && *error->message);
    require(text_check(error->message, strlen(error->message)) == strlen(error->message));
    answer_error(&answer, error);
    require_json(&answer, arena);
}

static void check_item(const struct request_item *item) {
    require(item->param && item->bytes && item->size > 0);
    if (item->modality == LIMOE_TEXT)
        require(text_check((const char *)item->bytes, item->size) == item->size);
}

static void check_embed(const struct embed_request *request) {
    require(request->n_items >= 1 && request->n_items <= REQUEST_MAX_ITEMS);
    for (size_t i = 0; i < request->n_items; i++) {
        check_item(&request->items[i]);
        require(request->items[i].modality == LIMOE_IMAGE ||
                request->items[i].size <= REQUEST_MAX_TEXT_BYTES);
    }
}

/* Within every bound, and the answer is JSON, or a picture. */
static void check_attention(const struct attention_request *request, const struct limoe_info *model,
                            struct arena *arena) {
    static const uint8_t pixels[16 * 16 * 3];
    static const float shares[5 * 8] = {1, -1};
    struct buffer answer = {0};
    require(request->n >= 1 && request->n <= (request->png ? 1 : ATTENTION_MOST_TEXTS));
    require(request->items[0].modality == LIMOE_IMAGE);
    for (size_t i = 0; i <= request->n; i++)
        check_item(&request->items[i]);
    float *embeddings = arena_array(arena, (1 + request->n) * model->embed, sizeof *embeddings);
    require(embeddings);
    memset(embeddings, 0, (1 + request->n) * model->embed * sizeof *embeddings);
    const struct attention attention = {model, pixels, embeddings, shares, request->n};
    if (request->png) {
        require(attention_draw(&answer, &attention));
        require(answer.size < attention_size(model, request));
        buffer_free(&answer);
        return;
    }
    attention_answer(&answer, &attention, &(struct usage){0});
    require_json(&answer, arena);
}

static void check_name(struct text name) {
    struct api_error error;
    require(name.size >= 1 && name.size <= CLASSIFIER_NAME_BYTES);
    require(classifier_check_name(name, "name", &error));
    require(text_check(name.data, name.size) == name.size);
}

/* Within every bound, and a picture's answer is JSON. */
static void check_describe(const struct describe_request *request, struct arena *arena) {
    static const struct text term = {"a \"term\"\n", 9};
    static const struct described word = {.cosine = 0.5f, .score = 2};
    struct described_words words[DESCRIBE_LISTS];
    const struct text *terms[DESCRIBE_LISTS];
    const struct describe_prompt *prompt = &request->prompt;
    struct buffer answer = {0};
    require(request->n_images >= 1 && request->n_images <= REQUEST_MAX_ITEMS);
    for (size_t i = 0; i < request->n_images; i++)
        check_item(&request->images[i]);
    for (size_t i = 0; i < DESCRIBE_LISTS; i++) {
        const struct describe_words *wanted = &request->words[i];
        require(wanted->most <= DESCRIBE_MOST_TERMS && wanted->threshold >= -2 && wanted->threshold <= 1);
        if (wanted->most)
            check_name(wanted->vocabulary);
        words[i] = (struct described_words){.words = &word, .n = wanted->most > 0};
        terms[i] = &term;
    }
    require(prompt->n_examples <= DESCRIBE_MOST_EXAMPLES);
    require(!prompt->mode || (prompt->mode == DESCRIBE_HM) == !prompt->question.data);
    require(!prompt->ocr.data || prompt->mode == DESCRIBE_PAPER);
    describe_begin(&answer, "m");
    describe_append(&answer, true, 0, prompt, &(struct description){.words = words, .terms = terms});
    describe_end(&answer, &(struct usage){0});
    require_json(&answer, arena);
}

/* A question is a description of one picture, and what is sent is JSON, however the model is held. */
static void check_ask(const struct ask_request *request, struct arena *arena) {
    require(request->describe.n_images == 1 && request->n_choices <= ASK_MOST_CHOICES);
    require(request->max_tokens >= 1 && request->max_tokens <= ASK_MOST_TOKENS);
    require(request->describe.prompt.mode != DESCRIBE_HM);
    check_describe(&request->describe, arena);
    for (size_t i = 0; i < request->n_choices; i++)
        require_text(request->choices[i].data, request->choices[i].size);
    for (int hold = ASK_HOLD_NONE; hold <= ASK_HOLD_STRUCTURED; hold++) {
        const struct ask_model model = {.name = "m", .chat = hold % 2, .hold = (enum ask_hold)hold};
        struct buffer body = {0};
        ask_write_request(&body, request, &model, request->describe.prompt.question);
        require_json(&body, arena);
    }
}

/* What is sent is JSON, in which no picture is left. */
static void check_chat(const struct chat_request *request, struct arena *arena) {
    const size_t n = request->describe.n_images;
    struct text *seen = arena_array(arena, n, sizeof *seen);
    struct chat_request again;
    struct api_error error;
    struct buffer body = {0};
    static const struct limoe_info info = {.name = "m"};
    static const struct limoe_info *const infos[] = {&info};
    static const struct request_models models = {.info = infos, .n = 1};
    require(n <= REQUEST_MAX_ITEMS && seen);
    for (size_t i = 0; i < n; i++) {
        check_item(&request->describe.images[i]);
        seen[i] = text_of("Tags: \"a\".");
    }
    chat_write_request(&body, request, "llm", seen);
    require(!body.failed);
    const bool good = chat_read(&models, "llm", body.data, body.size, arena, &again, &error);
    require(good || request->object->count == JSON_MAX_MEMBERS); /* a model is added where there was none */
    require(!good || again.describe.n_images == 0);
    buffer_free(&body);
}

static bool check_terms(const char *file, size_t size, struct arena *arena, struct api_error *error) {
    const struct text *terms;
    size_t n;
    if (!describe_read_terms("file", file, size, arena, &terms, &n, error))
        return false;
    require(n >= 1 && n <= DESCRIBE_MOST_VOCABULARY);
    for (size_t i = 0; i < n; i++) {
        require(terms[i].size <= REQUEST_MAX_LABEL_BYTES && !text_blank(terms[i]));
        require(text_check(terms[i].data, terms[i].size) == terms[i].size);
        require(!memchr(terms[i].data, '\n', terms[i].size));
    }
    return true;
}

/* Labels and templates, and the prompts that they make. */
static void check_labels(const struct classify_request *request, struct arena *arena) {
    const size_t prompts = classify_prompt_count(request);
    require(prompts >= 1 && prompts <= REQUEST_MAX_PROMPTS);
    require(request->top_k >= 1 && request->top_k <= request->n_labels);
    struct request_item *items = arena_array(arena, prompts, sizeof *items);
    require(items && classify_prompts(request, arena, items));
    for (size_t i = 0; i < prompts; i++) {
        check_item(&items[i]);
        require_text(items[i].bytes, items[i].size);
    }
}

/* Prompts are made and an answer written, as if every label had won. */
static void check_classify(struct classify_request *request, struct arena *arena) {
    static const struct text stored[] = {{.data = "cat", .size = 3}, {.data = "dog", .size = 3}};
    static const struct text bare = {.data = "{}", .size = 2};
    require(request->n_images >= 1 && request->n_images <= REQUEST_MAX_ITEMS);
    for (size_t i = 0; i < request->n_images; i++)
        check_item(&request->images[i]);
    if (request->classifier.data) {
        check_name(request->classifier);
        require(request->n_labels == 0 && request->n_templates == 0);
        request_use_classifier(request, stored, 2, &bare, 1);
    }
    check_labels(request, arena);

    struct prediction *predictions = arena_array(arena, request->n_labels, sizeof *predictions);
    require(predictions);
    for (size_t i = 0; i < request->n_labels; i++)
        predictions[i].label = i;
    struct buffer answer = {0};
    const struct classification row = {.predictions = predictions, .count = request->top_k};
    answer_classify(&answer, "m", request->labels, &row, 1, &(struct usage){0});
    require_json(&answer, arena);
}

/* What PUT answers. */
static void check_definition(const struct classifier_request *request, struct arena *arena) {
    const struct classify_request *definition = &request->definition;
    struct buffer answer = {0};
    check_name(request->name);
    require(definition->n_images == 0);
    check_labels(definition, arena);
    answer_classifier(&answer, &(struct classifier_answer){.name = request->name,
                                                           .labels = definition->labels,
                                                           .n_labels = definition->n_labels,
                                                           .templates = definition->templates,
                                                           .n_templates = definition->n_templates,
                                                           .model = "m"});
    require_json(&answer, arena);
}

/* Terms are what descriptions rank, none twice; what is written of them is read as the same. */
static void check_vocabulary(const struct vocabulary_request *request, struct arena *arena) {
    const struct vocabulary_definition *definition = &request->definition;
    struct vocabulary_definition again;
    struct json_value *value = NULL;
    struct json_error at;
    struct api_error error;
    struct buffer answer = {0}, text = {0};
    check_name(request->name);
    require(definition->n >= 1 && definition->n <= VOCABULARY_MOST_TERMS);
    require(memmem(definition->template.data, definition->template.size, "{}", 2));
    require(definition->automatic || (definition->threshold >= -1 && definition->threshold <= 1));
    for (size_t i = 0; i < definition->n; i++) {
        require_text(definition->terms[i].data, definition->terms[i].size);
        require(definition->terms[i].size <= REQUEST_MAX_LABEL_BYTES);
        require(!i || i > 100 || !text_equal(definition->terms[i], definition->terms[i - 1]));
    }
    answer_vocabulary(&answer, &(struct vocabulary_answer){.name = request->name,
                                                           .definition = definition,
                                                           .limit = VOCABULARY_MOST_PAGE});
    require_json(&answer, arena);
    buffer_string(&text, "{");
    vocabulary_write(&text, definition);
    buffer_string(&text, "}");
    require(!text.failed);
    require(json_read_within(text.data, text.size, &request_vocabulary_limits, arena, &value, &at));
    require(request_vocabulary_object(value, arena, &again, &error));
    require(again.n == definition->n && again.automatic == definition->automatic);
    require(text_equal(again.template, definition->template) && again.threshold == definition->threshold);
    for (size_t i = 0; i < again.n; i++)
        require(text_equal(again.terms[i], definition->terms[i]));
    buffer_free(&text);
}

static void check_list(const struct classifier_request *request) {
    require(request->limit >= 1 && request->limit <= CLASSIFIER_MOST_PAGE);
    if (request->after.size)
        check_name(request->after);
}

/* A damaged database must not become an entry that contradicts itself. */
static void check_row(const uint8_t *data, size_t size) {
    const uint8_t *all = data + size, *bar = size ? memchr(data, '|', size) : NULL;
    const uint8_t *end = bar ? bar : all, *rest = bar ? bar + 1 : all;
    static const float matrix[6] = {1, 2, 3, 4, 5, 6};
    const struct classifier_row row = {
        .name = {.data = "n", .size = 1},
        .labels = {.data = (const char *)data, .size = (size_t)(end - data)},
        .templates = {.data = (const char *)rest, .size = (size_t)(all - rest)},
        .fingerprint = "f",
        .matrix = size % 2 ? matrix : NULL,
        .matrix_bytes = size % 2 ? sizeof matrix : 0,
        .embed = 2,
    };
    struct classifier_entry *entry;
    struct limoe_error err = {0};
    if (classifier_entry_new(&row, &entry, &err) != LIMOE_OK) {
        require(err.status == LIMOE_CORRUPT && *err.message);
        return;
    }
    const struct classifier *classifier = &entry->classifier;
    require(classifier->n_labels >= 1 && classifier->n_templates >= 1);
    require(!classifier->matrix || (classifier->n_labels == 3 && classifier->matrix[5] == 6));
    struct buffer answer = {0};
    answer_classifier(&answer, &(struct classifier_answer){.name = classifier->name,
                                                           .labels = classifier->labels,
                                                           .n_labels = classifier->n_labels,
                                                           .templates = classifier->templates,
                                                           .n_templates = classifier->n_templates,
                                                           .model = "m"});
    struct arena *arena = arena_new();
    require(arena);
    require_json(&answer, arena);
    arena_free(arena);
    classifier_release(classifier);
}

#define MOST_ARGS 64

/* "labels=cat;labels=dog;top_k=1": enough of a query to reach every argument. Returns how many. */
static size_t read_args(const uint8_t *data, const uint8_t *end, struct arena *arena,
                        struct request_field *args) {
    size_t n = 0;
    while (data < end && n < MOST_ARGS) {
        const uint8_t *stop = memchr(data, ';', (size_t)(end - data));
        stop = stop ? stop : end;
        const uint8_t *equals = memchr(data, '=', (size_t)(stop - data));
        equals = equals ? equals : stop;
        const uint8_t *value = equals < stop ? equals + 1 : stop;
        args[n++] =
            (struct request_field){.name = arena_copy(arena, (const char *)data, (size_t)(equals - data)),
                                   .bytes = value,
                                   .size = (size_t)(stop - value)};
        data = stop < end ? stop + 1 : end;
    }
    return n;
}

/* The query, "|", the picture. */
static bool read_raw(const struct request_models *model, const uint8_t *data, size_t size,
                     struct arena *arena, struct classify_request *out, struct api_error *error) {
    const uint8_t *all = data + size, *bar = size ? memchr(data, '|', size) : NULL;
    const uint8_t *end = bar ? bar : all, *body = bar ? bar + 1 : all;
    struct request_field args[MOST_ARGS];
    const size_t n = read_args(data, end, arena, args);
    return request_classify_raw(model, body, (size_t)(all - body), args, n, arena, out, error);
}

static bool read_multipart(const struct request_models *model, const char *body, size_t size,
                           struct arena *arena, struct classify_request *out, struct api_error *error) {
    struct request_field *parts;
    size_t n;
    return multipart_parse("multipart/form-data; boundary=x", body, size, arena, &parts, &n, error) &&
           request_classify_multipart(model, parts, n, arena, out, error);
}

static bool read_put(const struct request_models *model, const char *data, size_t size, struct arena *arena,
                     struct classifier_request *out, struct api_error *error) {
    const char *bar = size ? memchr(data, '|', size) : NULL;
    const size_t name = bar ? (size_t)(bar - data) : size, rest = bar ? name + 1 : size;
    return request_classifier_json(model, (struct text){.data = data, .size = name}, data + rest, size - rest,
                                   arena, out, error);
}

static bool read_vocabulary(const char *data, size_t size, struct arena *arena,
                            struct vocabulary_request *out, struct api_error *error) {
    const char *bar = size ? memchr(data, '|', size) : NULL;
    const size_t name = bar ? (size_t)(bar - data) : size, rest = bar ? name + 1 : size;
    return request_vocabulary_json((struct text){.data = data, .size = name}, data + rest, size - rest, arena,
                                   out, error);
}

/* Within every bound, and of a server that is named. */
static void check_loadtest(const struct loadtest_request *request, const struct loadtest_limits *limits) {
    uint64_t sum = 0;
    require(request->rate >= LOADTEST_LEAST_RATE && request->rate <= (double)limits->rate);
    require(request->seconds >= LOADTEST_LEAST_SECONDS && request->seconds <= (double)limits->seconds);
    require(request->rate * request->seconds <= (double)limits->requests);
    for (int kind = 0; kind < LOADTEST_KINDS; kind++)
        sum += request->mix[kind];
    require(sum > 0);
    require(!request->target.data || text_is(request->target, "http://a:1") ||
            text_is(request->target, "https://b"));
    require(!request->model.data || request->model.size <= LOADTEST_MOST_NAME_BYTES);
}

/* Classes in order, each once, and examples by class, of two at least. */
static void check_training(const struct training_request *request, struct arena *arena) {
    const struct classify_request *d = &request->definition;
    const size_t prompts = d->n_labels * d->n_templates;
    require(d->n_labels >= 2 && d->n_labels <= LIMOE_TUNE_MAX_CLASSES && prompts <= LIMOE_TUNE_MAX_PROMPTS);
    require(request->n >= 2 && request->n <= TRAINING_MOST_EXAMPLES);
    require(request->of[0] != request->of[request->n - 1]);
    for (size_t i = 0; i < request->n; i++) {
        const struct training_example *example = &request->examples[i];
        require(request->of[i] < d->n_labels && (!i || request->of[i - 1] <= request->of[i]));
        require(text_equal(example->label, d->labels[request->of[i]]));
        require(example->size > 0 && example->param);
        require(example->bytes || (request->archive.bytes && example->size <= 1 << 16));
    }
    require(request->held_out <= TRAINING_MOST_SHARE && request->epochs <= LIMOE_TUNE_MAX_EPOCHS);
    check_labels(d, arena);
}

static bool read_training_form(const struct request_models *model, const char *body, size_t size,
                               struct arena *arena, struct training_request *out, struct api_error *error) {
    struct request_field *parts;
    size_t n;
    return multipart_parse("multipart/form-data; boundary=x", body, size, arena, &parts, &n, error) &&
           request_training_multipart(model, parts, n, 1 << 16, arena, out, error);
}

static void check_captions(const struct request_models *models, const char *body, size_t size,
                           struct arena *arena) {
    struct captions_request captions;
    struct api_error error;
    if (!captions_read(models, body, size, arena, &captions, &error)) {
        check_error(&error, arena);
        return;
    }
    const struct limoe_caption_options *options = &captions.options;
    const struct describe_words *bank = &captions.describe.words[DESCRIBE_CAPTIONS];
    require(captions.describe.n_images >= 1 && captions.describe.n_images <= REQUEST_MAX_ITEMS);
    require(captions.decoded != (bank->vocabulary.data != NULL) && bank->most >= 1 &&
            bank->most <= LIMOE_CAPTION_MAX);
    if (!captions.decoded)
        return;
    require(options->n >= 1 && options->n <= LIMOE_CAPTION_MAX && options->beams >= 1 &&
            options->beams <= LIMOE_CAPTION_MAX_BEAMS && options->top_k <= 100);
    require(options->max_length >= 1 && options->max_length <= 12 &&
            options->min_length <= options->max_length);
    require(captions_tokens(&captions) >= captions.describe.n_images);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct limoe_info info = {.name = "m",
                                           .tower = {{8, 4, 2, 16}, {8, 4, 2, 16}},
                                           .embed = 8,
                                           .image_size = 16,
                                           .patch = 8,
                                           .text_length = 4,
                                           .vocab = 100,
                                           .decoder = {8, 1, 1, 8},
                                           .caption_length = 12,
                                           .shares = LIMOE_SHARES_MEAN};
    static const struct limoe_info other = {
        .name = "n", .tower = {[LIMOE_TEXT] = {8, 4, 2, 16}}, .embed = 16, .text_length = 2};
    static const struct limoe_info *const infos[] = {&info, &other};
    static const struct request_models model = {.info = infos, .n = 2, .aliases = "a,b=m,c=n"};
    static const struct loadtest_limits limits = {
        .rate = 50, .seconds = 60, .requests = 600, .targets = "http://a:1,https://b/"};
    if (size == 0)
        return 0;
    struct arena *arena = arena_new();
    require(arena);
    const unsigned route = (data[0] - (unsigned)'0') % 18;
    const char *body = (const char *)++data;
    size--;
    struct request_field args[MOST_ARGS];
    struct embed_request embed;
    struct classify_request classify;
    struct classifier_request classifier;
    struct loadtest_request loadtest;
    struct attention_request attention;
    struct training_request training;
    struct describe_request describe;
    struct vocabulary_request vocabulary;
    struct ask_request ask;
    struct chat_request chat;
    struct api_error error;
    bool ok = true;
    switch (route) {
    case 0:
    case 1:
        ok = (route ? request_routing_json : request_embeddings_json)(&model, body, size, arena, &embed,
                                                                      &error);
        if (ok)
            check_embed(&embed);
        break;
    case 2:
    case 3:
    case 4:
        ok = route == 2   ? request_classify_json(&model, body, size, arena, &classify, &error)
             : route == 3 ? read_raw(&model, data, size, arena, &classify, &error)
                          : read_multipart(&model, body, size, arena, &classify, &error);
        if (ok)
            check_classify(&classify, arena);
        break;
    case 5:
        ok = read_put(&model, body, size, arena, &classifier, &error);
        if (ok)
            check_definition(&classifier, arena);
        break;
    case 6:
        ok = request_classifier_list(args, read_args(data, data + size, arena, args), &classifier, &error);
        if (ok)
            check_list(&classifier);
        break;
    case 7:
        check_row(data, size);
        break;
    case 9:
        ok = attention_read(&model, body, size, arena, &attention, &error);
        if (ok)
            check_attention(&attention, &info, arena);
        break;
    case 10:
    case 11:
        ok = (route == 10 ? request_training_json : read_training_form)(&model, body, size, arena, &training,
                                                                        &error);
        if (ok)
            check_training(&training, arena);
        break;
    case 12:
        ok = describe_read(&model, body, size, arena, &describe, &error);
        if (ok)
            check_describe(&describe, arena);
        check_captions(&model, body, size, arena);
        break;
    case 13:
        ok = check_terms(body, size, arena, &error);
        break;
    case 14:
        ok = read_vocabulary(body, size, arena, &vocabulary, &error);
        if (ok)
            check_vocabulary(&vocabulary, arena);
        break;
    case 15:
        ok = request_vocabulary_page(text_of("words"), args, read_args(data, data + size, arena, args),
                                     &vocabulary, &error);
        require(!ok ||
                (vocabulary.limit <= VOCABULARY_MOST_PAGE && vocabulary.offset <= VOCABULARY_MOST_TERMS));
        break;
    case 16:
        ok = ask_read(&model, body, size, arena, &ask, &error);
        if (ok)
            check_ask(&ask, arena);
        break;
    case 17:
        ok = chat_read(&model, "llm", body, size, arena, &chat, &error);
        if (ok)
            check_chat(&chat, arena);
        break;
    default:
        ok = request_loadtest_json(&model, &limits, body, size, arena, &loadtest, &error);
        if (ok)
            check_loadtest(&loadtest, &limits);
    }
    if (!ok)
        check_error(&error, arena);
    arena_free(arena);
    return 0;
}
