/* inspect_compare.c - items made here, embedded twice. One thread; what is made lies in the arena. */
#include "server/commands/inspect_compare.h"

#include <stdlib.h>
#include <string.h>

#include "server/api/prepare.h"
#include "server/commands/session.h"
#include "server/commands/table.h"

enum { PICTURES = 32, SHAPES = 6 };

static const char *const things[] = {"cat",           "dog",           "red car",    "sailing boat",
                                     "slice of cake", "mountain lake", "old castle", "bowl of soup"};
static const char *const phrases[] = {"%s", "a photo of a %s", "a drawing of a %s, in bright colours",
                                      "many people who look at a %s in the evening"};
enum {
    THINGS = sizeof things / sizeof *things,
    PHRASES = sizeof phrases / sizeof *phrases,
    TEXTS = THINGS * PHRASES,
    ITEMS = PICTURES + TEXTS,
};

/* splitmix64, below n; 0 below 0 */
static uint32_t draw(uint64_t *state, uint32_t n) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32) % (n ? n : 1);
}

/* A slope of colour, and boxes on it. */
static void draw_picture(uint8_t *pixels, uint32_t size, uint64_t seed) {
    uint64_t state = seed;
    uint32_t from[3], to[3];
    for (int c = 0; c < 3; c++) {
        from[c] = draw(&state, 256);
        to[c] = draw(&state, 256);
    }
    for (uint32_t y = 0; y < size; y++)
        for (uint32_t x = 0; x < size; x++)
            for (uint32_t c = 0; c < 3; c++)
                pixels[(y * size + x) * 3 + c] =
                    (uint8_t)((from[c] * (2 * size - x - y) + to[c] * (x + y)) / (2 * size));
    for (int shape = 0; shape < SHAPES; shape++) {
        const uint32_t left = draw(&state, size), top = draw(&state, size), right = left + draw(&state, size),
                       bottom = top + draw(&state, size), colour = draw(&state, 1u << 24);
        for (uint32_t y = top; y < bottom && y < size; y++)
            for (uint32_t x = left; x < right && x < size; x++)
                for (uint32_t c = 0; c < 3; c++)
                    pixels[(y * size + x) * 3 + c] = (uint8_t)(colour >> (8 * c));
    }
}

static bool make_pictures(const struct limoe_info *info, struct arena *arena, struct limoe_item *items) {
    for (uint64_t i = 0; i < PICTURES; i++) {
        uint8_t *pixels = arena_alloc(arena, (size_t)info->image_size * info->image_size * 3);
        if (!pixels)
            return false;
        draw_picture(pixels, info->image_size, i);
        items[i] =
            (struct limoe_item){.modality = LIMOE_IMAGE, .length = info->image_tokens, .pixels = pixels};
    }
    return true;
}

static bool make_texts(const struct limoe_processor *processor, struct arena *arena,
                       struct limoe_item *items) {
    for (size_t i = 0; i < TEXTS; i++) {
        struct usage usage = {0};
        struct api_error error;
        struct buffer text = {0};
        const char *phrase = phrases[i / THINGS], *hole = strstr(phrase, "%s");
        buffer_bytes(&text, phrase, (size_t)(hole - phrase));
        buffer_string(&text, things[i % THINGS]);
        buffer_string(&text, hole + 2);
        const struct request_item input = {
            .modality = LIMOE_TEXT, .bytes = (const uint8_t *)text.data, .size = text.size, .param = "text"};
        const bool ok = !text.failed && prepare_item(processor, &input, arena, &items[i], &usage, &error);
        if (!ok)
            command_complain("%s", text.failed ? "no memory for a text" : error.message);
        buffer_free(&text);
        if (!ok)
            return false;
    }
    return true;
}

/* What is compared: pictures, then texts, each where the model has a tower for them. */
struct made {
    struct limoe_item *items;
    size_t pictures, texts;
};

static bool make_items(const struct session *session, struct arena *arena, struct made *made) {
    const struct limoe_info *info = limoe_model_info(session->model);
    made->pictures = info->tower[LIMOE_IMAGE].blocks ? PICTURES : 0;
    made->texts = info->tower[LIMOE_TEXT].blocks ? TEXTS : 0;
    if (made->pictures && !make_pictures(info, arena, made->items)) {
        command_complain("no memory for %d pictures", PICTURES);
        return false;
    }
    return !made->texts || make_texts(session->processor, arena, made->items + made->pictures);
}

/* Items too, where there are none yet. */
static bool embed_in(const char *dir, const struct limoe_options *options, struct arena *arena,
                     struct made *made, float **embeddings, struct answer_comparison *out) {
    struct session session = {0};
    const struct session_options shared = {.model = dir, .compute = *options};
    bool ok = session_open(&session, &shared);
    const bool first = !made->pictures && !made->texts;
    ok = ok && (!first || make_items(&session, arena, made));
    if (ok) {
        const size_t n = made->pictures + made->texts;
        out->embed = limoe_model_info(session.model)->embed;
        *embeddings = arena_array(arena, n * out->embed, sizeof **embeddings);
        if (!*embeddings)
            command_complain("no memory for %zu embeddings", n);
        ok = *embeddings && session_embed(&session, made->items, n, *embeddings);
        *(first ? &out->dtype : &out->beside) = limoe_model_dtype(session.model);
    }
    session_close(&session);
    return ok;
}

/* Vectors of length 1. */
static struct answer_cosines cosines(const float *a, const float *b, size_t n, size_t embed) {
    struct answer_cosines c = {.items = n, .least = 1};
    for (size_t i = 0; i < n; i++) {
        double dot = 0;
        for (size_t k = 0; k < embed; k++)
            dot += (double)a[i * embed + k] * b[i * embed + k];
        c.least = dot < c.least ? dot : c.least;
        c.mean += dot / (double)n;
    }
    return c;
}

bool inspect_compare(const char *dir, const struct limoe_options *options, enum limoe_dtype beside,
                     struct arena *arena, struct answer_comparison *out) {
    struct limoe_options other = *options;
    struct made made = {.items = arena_array(arena, ITEMS, sizeof *made.items)};
    float *a, *b;
    other.dtype = beside;
    *out = (struct answer_comparison){0};
    if (!made.items) {
        command_complain("no memory for %d items", ITEMS);
        return false;
    }
    if (!embed_in(dir, options, arena, &made, &a, out) || !embed_in(dir, &other, arena, &made, &b, out))
        return false;
    const size_t texts = made.pictures * out->embed;
    out->pictures = cosines(a, b, made.pictures, out->embed);
    out->texts = cosines(a + texts, b + texts, made.texts, out->embed);
    return true;
}

bool inspect_compare_print(const struct answer_comparison *comparison, struct arena *arena,
                           struct buffer *out) {
    static const bool right[] = {false, true, true, true};
    static const char *const names[] = {"pictures", "texts"};
    const char *cells[12] = {"cosines", "items", "least", "mean"};
    const struct answer_cosines *const rows[] = {&comparison->pictures, &comparison->texts};
    size_t n = 1;
    for (int r = 0; r < 2; r++) {
        const char **row = cells + 4 * n;
        if (!rows[r]->items)
            continue;
        row[0] = names[r];
        n++;
        row[1] = arena_print(arena, "%zu", rows[r]->items);
        row[2] = arena_print(arena, "%.4f", rows[r]->least);
        row[3] = arena_print(arena, "%.5f", rows[r]->mean);
        if (!row[1] || !row[2] || !row[3])
            return false;
    }
    buffer_print(out, "\n%s beside %s, of vectors of items made here:\n", limoe_dtype_name(comparison->dtype),
                 limoe_dtype_name(comparison->beside));
    table_append(out, 0, 4, right, cells, n);
    return true;
}
