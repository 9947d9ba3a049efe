/* pool.c - pictures, texts and labels → the requests of a load. */
#include "server/commands/bench/pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/commands/bench/pictures.h"

#define OWN_PICTURES    16
#define OWN_TEXTS       1000
#define MOST_FILE_BYTES ((size_t)32 << 20)

const char *const load_kind_names[LOAD_KINDS] = {"classify", "image", "text"};

static bool no_memory(const char **message) {
    *message = "no memory for the requests";
    return false;
}

/* ---- what the requests carry */

/* The file's bytes in the arena. */
static bool read_file(struct pool *pool, const char *path, struct text *out, const char **message) {
    errno = 0; /* a short read sets none */
    FILE *file = fopen(path, "rb");
    long size = -1;
    char *bytes = NULL;
    *message = NULL;
    if (file && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        if ((size_t)size > MOST_FILE_BYTES)
            *message = arena_print(pool->arena, "%s: more than %zu bytes", path, MOST_FILE_BYTES);
        else if ((bytes = arena_alloc(pool->arena, (size_t)size)) == NULL ||
                 fread(bytes, 1, (size_t)size, file) != (size_t)size)
            bytes = NULL;
    }
    if (!bytes && !*message)
        *message = arena_print(pool->arena, "%s: %s", path, strerror(errno ? errno : EIO));
    else if (bytes && size == 0) {
        *message = arena_print(pool->arena, "%s: empty", path);
        bytes = NULL;
    }
    if (file)
        fclose(file);
    *out = (struct text){.data = bytes, .size = bytes ? (size_t)size : 0};
    return bytes;
}

static struct text *gather_pictures(struct pool *pool, const struct plan *plan, const char **message) {
    pool->own_pictures = !plan->n_images;
    pool->pictures = plan->n_images ? plan->n_images : OWN_PICTURES;
    struct text *pictures = arena_array(pool->arena, pool->pictures, sizeof *pictures);
    if (!pictures) {
        no_memory(message);
        return NULL;
    }
    for (size_t i = 0; i < pool->pictures; i++)
        if (plan->n_images ? !read_file(pool, plan->images[i], &pictures[i], message)
                           : !picture_make(plan->seed, i, pool->arena, &pictures[i]) && !no_memory(message))
            return NULL;
    return pictures;
}

/* Text i of a thousand that all differ. */
static char *own_text(struct arena *arena, size_t i) {
    static const char *const sizes[] = {"small", "large", "tiny",  "round",   "tall",
                                        "old",   "shiny", "quiet", "crooked", "broken"};
    static const char *const colours[] = {"red",  "blue",  "green",  "yellow", "white",
                                          "grey", "brown", "orange", "purple", "black"};
    static const char *const things[] = {
        "house on a hill", "cat beside a door", "ship at sea",    "tree in the rain", "clock on a wall",
        "bird over water", "book on a table",   "train at night", "cup of tea",       "bicycle in the snow"};
    return arena_print(arena, "a %s %s %s", sizes[i % 10], colours[i / 10 % 10], things[i / 100 % 10]);
}

static bool split_lines(struct pool *pool, struct text file, const char *path, struct text **out,
                        const char **message) {
    size_t lines = 1, n = 0;
    for (size_t i = 0; i < file.size; i++)
        lines += file.data[i] == '\n';
    struct text *texts = arena_array(pool->arena, lines, sizeof *texts);
    if (!texts)
        return no_memory(message);
    for (const char *at = file.data, *end = at + file.size; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const struct text line = {.data = at, .size = (size_t)((stop ? stop : end) - at)};
        if (text_check(line.data, line.size) < line.size) {
            *message = arena_print(pool->arena, "%s: text %zu is not UTF-8", path, n + 1);
            return false;
        }
        if (line.size && !text_blank(line))
            texts[n++] = line;
        at = stop ? stop + 1 : end;
    }
    *out = texts;
    pool->texts = n;
    if (!n)
        *message = arena_print(pool->arena, "%s: no text", path);
    return n;
}

static struct text *gather_texts(struct pool *pool, const struct plan *plan, const char **message) {
    struct text *texts, file;
    if (plan->texts)
        return read_file(pool, plan->texts, &file, message) &&
                       split_lines(pool, file, plan->texts, &texts, message)
                   ? texts
                   : NULL;
    pool->own_texts = true;
    pool->texts = OWN_TEXTS;
    texts = arena_array(pool->arena, OWN_TEXTS, sizeof *texts);
    for (size_t i = 0; texts && i < OWN_TEXTS; i++) {
        const char *text = own_text(pool->arena, i);
        if (!text) {
            texts = NULL;
            break;
        }
        texts[i] = text_of(text);
    }
    if (!texts)
        no_memory(message);
    return texts;
}

/* ---- bodies */

/* Moves what was written into the arena and leaves the buffer empty. */
static bool keep(struct pool *pool, struct buffer *buffer, struct text *out) {
    out->size = buffer->size;
    out->data = buffer->failed ? NULL : arena_copy(pool->arena, buffer->data, buffer->size);
    buffer_free(buffer);
    return out->data;
}

static void json_labels(struct buffer *out, const struct plan *plan) {
    if (plan->classifier) {
        buffer_string(out, "\"classifier\":");
        buffer_json_string(out, plan->classifier);
        return;
    }
    for (size_t i = 0; i < plan->n_labels; i++) {
        buffer_string(out, i ? "," : "\"labels\":[");
        buffer_json_text(out, plan->labels[i]);
    }
    buffer_string(out, "]");
}

/* "{", and the model if one is named. */
static void json_begin(struct buffer *out, const char *model) {
    buffer_string(out, "{");
    if (!model)
        return;
    buffer_string(out, "\"model\":");
    buffer_json_string(out, model);
    buffer_string(out, ",");
}

static void form_field(struct buffer *out, const char *boundary, const char *name, struct text value) {
    buffer_print(out, "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n", boundary, name);
    buffer_bytes(out, value.data, value.size);
    buffer_string(out, "\r\n");
}

static void percent_encode(struct buffer *out, struct text text) {
    for (size_t i = 0; i < text.size; i++) {
        const char c = text.data[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c))
            buffer_bytes(out, &c, 1);
        else
            buffer_print(out, "%%%02X", (unsigned)(unsigned char)c);
    }
}

static const char *media_type(struct text picture) {
    static const struct {
        const char *magic;
        size_t at;
        const char *type;
    } types[] = {{"\x89PNG", 0, "image/png"}, {"\xff\xd8\xff", 0, "image/jpeg"}, {"WEBP", 8, "image/webp"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const size_t size = strlen(types[i].magic);
        if (picture.size >= types[i].at + size &&
            memcmp(picture.data + types[i].at, types[i].magic, size) == 0)
            return types[i].type;
    }
    return "application/octet-stream"; /* the server says what it accepts */
}

static bool classify_json(struct pool *pool, const struct plan *plan, struct text picture,
                          struct load_request *out) {
    struct buffer body = {0};
    json_begin(&body, plan->model);
    buffer_string(&body, "\"image\":");
    buffer_json_base64(&body, picture.data, picture.size);
    buffer_string(&body, ",");
    json_labels(&body, plan);
    buffer_string(&body, "}");
    out->content_type = "application/json";
    out->url = arena_print(pool->arena, "%s/v1/classify", plan->url);
    return keep(pool, &body, &out->body) && out->url;
}

static bool classify_multipart(struct pool *pool, const struct plan *plan, struct text picture,
                               struct load_request *out) {
    struct random random = {plan->seed};
    struct buffer body = {0};
    char boundary[48];
    do /* until the picture does not hold it */
        snprintf(boundary, sizeof boundary, "limoe-%016llx", (unsigned long long)random_next(&random));
    while (memmem(picture.data, picture.size, boundary, strlen(boundary)));
    buffer_print(&body,
                 "--%s\r\nContent-Disposition: form-data; name=\"image\"; filename=\"picture\"\r\n"
                 "Content-Type: %s\r\n\r\n",
                 boundary, media_type(picture));
    buffer_bytes(&body, picture.data, picture.size);
    buffer_string(&body, "\r\n");
    if (plan->model)
        form_field(&body, boundary, "model", text_of(plan->model));
    if (plan->classifier)
        form_field(&body, boundary, "classifier", text_of(plan->classifier));
    for (size_t i = 0; !plan->classifier && i < plan->n_labels; i++)
        form_field(&body, boundary, "labels", plan->labels[i]);
    buffer_print(&body, "--%s--\r\n", boundary);
    out->content_type = arena_print(pool->arena, "multipart/form-data; boundary=%s", boundary);
    out->url = arena_print(pool->arena, "%s/v1/classify", plan->url);
    return keep(pool, &body, &out->body) && out->url && out->content_type;
}

static bool classify_raw(struct pool *pool, const struct plan *plan, struct text picture,
                         struct load_request *out) {
    struct buffer url = {0};
    struct text kept;
    buffer_print(&url, "%s/v1/classify?", plan->url);
    if (plan->model) {
        buffer_string(&url, "model=");
        percent_encode(&url, text_of(plan->model));
        buffer_string(&url, "&");
    }
    if (plan->classifier) {
        buffer_string(&url, "classifier=");
        percent_encode(&url, text_of(plan->classifier));
    }
    for (size_t i = 0; !plan->classifier && i < plan->n_labels; i++) {
        buffer_string(&url, i ? "&labels=" : "labels=");
        percent_encode(&url, plan->labels[i]);
    }
    out->content_type = media_type(picture);
    out->body = picture;
    if (!keep(pool, &url, &kept))
        return false;
    out->url = kept.data;
    return true;
}

static bool make_classify(struct pool *pool, const struct plan *plan, const struct text *pictures) {
    struct load_request *requests = arena_array(pool->arena, 3 * pool->pictures, sizeof *requests);
    size_t n = 0;
    if (!requests)
        return false;
    for (size_t i = 0; i < pool->pictures; i++) {
        if ((plan->encodings & ENCODING_JSON) && !classify_json(pool, plan, pictures[i], &requests[n++]))
            return false;
        if ((plan->encodings & ENCODING_MULTIPART) &&
            !classify_multipart(pool, plan, pictures[i], &requests[n++]))
            return false;
        if ((plan->encodings & ENCODING_RAW) && !classify_raw(pool, plan, pictures[i], &requests[n++]))
            return false;
    }
    pool->requests[LOAD_CLASSIFY] = requests;
    pool->n[LOAD_CLASSIFY] = n;
    return true;
}

/* One request for each of inputs [n], which begins with that one and goes on with those after it. */
static bool make_embeddings(struct pool *pool, const struct plan *plan, enum load_kind kind,
                            const struct text *inputs, size_t n) {
    struct load_request *requests = arena_array(pool->arena, n, sizeof *requests);
    const char *url = arena_print(pool->arena, "%s/v1/embeddings", plan->url);
    if (!requests || !url)
        return false;
    for (size_t i = 0; i < n; i++) {
        struct buffer body = {0};
        requests[i] = (struct load_request){.kind = kind, .url = url, .content_type = "application/json"};
        json_begin(&body, plan->model);
        for (size_t k = 0; k < plan->items; k++) {
            const struct text input = inputs[(i + k) % n];
            buffer_string(&body, k ? "," : "\"input\":[");
            buffer_string(&body, kind == LOAD_IMAGE ? "{\"image\":" : "");
            if (kind == LOAD_IMAGE)
                buffer_json_base64(&body, input.data, input.size);
            else
                buffer_json_text(&body, input);
            buffer_string(&body, kind == LOAD_IMAGE ? "}" : "");
        }
        buffer_string(&body, "]}");
        if (!keep(pool, &body, &requests[i].body))
            return false;
    }
    pool->requests[kind] = requests;
    pool->n[kind] = n;
    return true;
}

bool pool_open(struct pool *pool, const struct plan *plan, const char **message) {
    const struct text *pictures = NULL, *texts = NULL;
    pool->arena = arena_new();
    if (!pool->arena)
        return no_memory(message);
    pool->random.state = plan->seed;
    pool->seed = plan->seed;
    pool->items = plan->items;
    pool->model = plan->model;
    pool->unique = plan->unique_texts;
    for (int kind = 0; kind < LOAD_KINDS; kind++) {
        pool->mix[kind] = plan->mix[kind];
        pool->mix_sum += plan->mix[kind];
    }
    if ((plan->mix[LOAD_CLASSIFY] || plan->mix[LOAD_IMAGE]) &&
        !(pictures = gather_pictures(pool, plan, message)))
        return false;
    if (plan->mix[LOAD_TEXT] && !(texts = gather_texts(pool, plan, message)))
        return false;
    if ((plan->mix[LOAD_CLASSIFY] && !make_classify(pool, plan, pictures)) ||
        (plan->mix[LOAD_IMAGE] && !make_embeddings(pool, plan, LOAD_IMAGE, pictures, pool->pictures)) ||
        (plan->mix[LOAD_TEXT] && !make_embeddings(pool, plan, LOAD_TEXT, texts, pool->texts)))
        return no_memory(message);
    return true;
}

void pool_close(struct pool *pool) {
    arena_free(pool->arena);
    *pool = (struct pool){0};
}

/* ---- while the load runs */

struct load_request *pool_next(struct pool *pool) {
    uint32_t draw = random_below(&pool->random, pool->mix_sum);
    int kind = 0;
    while (draw >= pool->mix[kind])
        draw -= pool->mix[kind++];
    return &pool->requests[kind][pool->next[kind]++ % pool->n[kind]];
}

bool pool_wants_body(const struct pool *pool, const struct load_request *request) {
    return pool->unique && request->kind == LOAD_TEXT;
}

void pool_unique_body(struct pool *pool, struct buffer *out) {
    json_begin(out, pool->model);
    for (size_t k = 0; k < pool->items; k++)
        buffer_print(out, "%s\"picture %llu of series %llu\"", k ? "," : "\"input\":[",
                     (unsigned long long)pool->serial++, (unsigned long long)pool->seed);
    buffer_string(out, "]}");
}
