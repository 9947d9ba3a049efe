/* Protects: limoe_tune's adapter has the same bits at any number of threads, and after being stopped in any epoch and begun
 * again; a state that is damaged or another run's is not believed; adapters fit their model, of one tower and of two; what is
 * wrong with pictures, labels and arguments is named.
 *
 * The models and their tokenizer are made on the spot, pictures are a few pixels of colour. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "limoe_tune.h"
#include "tests/unit/files.h"
#include "tests/unit/model/fixture.h"
#include "tests/unit/model/support.h"
#include "tests/unit/model/text/piece_model.h"

/* What a tail tells: of the one batch of each epoch, and of its end; on trial, and of all pictures. */
enum { CLASSES = 3, PICTURES = 5, SIDE = 20, EPOCHS = 3, CALLS = 2 * 2 * EPOCHS };

static const char *const names[CLASSES] = {"cat", "dog", "fog"};

static const char one_tower[] =
    "{\"format\":\"limoe-1\",\"name\":\"one\",\"width\":32,\"blocks\":3,\"heads\":2,\"mlp\":40,\"embed\":24,"
    "\"image\":{\"size\":16,\"patch\":8,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"
    "\"text\":{\"vocab\":40,\"length\":6,\"eos_id\":2,\"pad_id\":0},"
    "\"moe\":{\"blocks\":[1],\"experts\":4,\"top_k\":2,\"renormalize\":true}}";

/* Pictures by a class token, texts by their last; experts in both towers. */
static const char two_towers[] =
    "{\"format\":\"limoe-2\",\"name\":\"two\",\"embed\":24,"
    "\"image\":{\"size\":16,\"patch\":8,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5],\"class_token\":true,"
    "\"tower\":{\"width\":32,\"blocks\":3,\"heads\":2,\"mlp\":40,\"pre_norm\":true,\"pool\":\"first\"}},"
    "\"text\":{\"vocab\":40,\"length\":6,\"eos_id\":2,\"pad_id\":0,"
    "\"tower\":{\"width\":24,\"blocks\":2,\"heads\":2,\"mlp\":36,\"causal\":true,\"pool\":\"last\"}},"
    "\"moe\":{\"image\":[2],\"text\":[1],\"experts\":3,\"top_k\":1}}";

/* ---- a model, and folders of pictures */

struct place {
    char dir[FOLDER_SIZE];
    struct fixture model;
};

static char *path_in(const struct place *p, const char *name) {
    static char path[4][256];
    static int next;
    char *to = path[next++ % 4];
    snprintf(to, sizeof *path, "%s/%s", p->dir, name);
    return to;
}

static void write_picture(const struct place *p, const char *name, int class, int number) {
    uint8_t pixels[SIDE * SIDE * 3];
    uint64_t random = (uint64_t)(class * 100 + number) + 1;
    FILE *f = fopen(path_in(p, name), "wb");
    assert_non_null(f);
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)((i % 3 == (size_t) class ? 180 : 30) + random_below(&random, 60));
    fprintf(f, "P6\n%d %d\n255\n", SIDE, SIDE);
    assert_int_equal(fwrite(pixels, 1, sizeof pixels, f), sizeof pixels);
    assert_int_equal(fclose(f), 0);
}

static void write_class(const struct place *p, int class, int pictures) {
    char name[64];
    snprintf(name, sizeof name, "pictures/%s", names[class]);
    assert_int_equal(mkdir(path_in(p, name), 0700), 0);
    for (int i = 0; i < pictures; i++) {
        snprintf(name, sizeof name, "pictures/%s/%d.ppm", names[class], i);
        write_picture(p, name, class, i);
    }
}

static struct place begin(const char *config, int pictures) {
    struct place p;
    struct bytes tokenizer = tiny_model();
    folder_make(p.dir);
    fixture_create(&p.model, config, 7, NULL, 0);
    directory_write(p.model.dir, "tokenizer.model", tokenizer.at, tokenizer.size);
    free(tokenizer.at);
    assert_int_equal(mkdir(path_in(&p, "pictures"), 0700), 0);
    for (int c = 0; c < CLASSES && pictures; c++)
        write_class(&p, c, pictures);
    return p;
}

static void end(struct place *p) {
    fixture_remove(&p->model);
    assert_int_equal(folder_remove(p->dir), 0);
}

/* ---- a run */

/* Stops after some calls with batches, and remembers all notes. */
struct listener {
    int calls, most; /* most 0: never */
    char note[4096];
};

static bool listen(void *context, const struct limoe_tune_progress *progress) {
    struct listener *l = context;
    if (progress->note)
        snprintf(l->note + strlen(l->note), sizeof l->note - strlen(l->note), "%s\n", progress->note);
    else if (progress->done > 0)
        l->calls++;
    return !l->most || l->calls < l->most;
}

static struct limoe_tune_options options_of(enum limoe_tune_kind kind, uint32_t threads, struct listener *l) {
    return (struct limoe_tune_options){
        .kind = kind, .start_block = 1, .epochs = EPOCHS, .threads = threads, .tell = listen, .context = l};
}

static enum limoe_status run(const struct place *p, const char *out, const struct limoe_tune_options *o,
                             struct limoe_error *err) {
    return limoe_tune(p->model.dir, path_in(p, "pictures"), path_in(p, out), o, err);
}

static void must(enum limoe_status status, const struct limoe_error *err) {
    if (status)
        fail_msg("%s: %s", limoe_status_name(status), err->message);
}

static void must_tune(const struct place *p, const char *out, const struct limoe_tune_options *o) {
    struct limoe_error err;
    must(run(p, out, o, &err), &err);
}

static void expect_same(const struct place *p, const char *a, const char *b) {
    size_t size, other;
    uint8_t *bytes = file_read(path_in(p, a), &size), *others = file_read(path_in(p, b), &other);
    assert_int_equal(size, other);
    assert_memory_equal(bytes, others, size);
    free(bytes);
    free(others);
}

static bool there(const struct place *p, const char *name) {
    return access(path_in(p, name), F_OK) == 0;
}

/* ---- bits */

static void threads_change_no_bits_of(const char *config, enum limoe_tune_kind kind) {
    struct place p = begin(config, PICTURES);
    for (uint32_t threads = 1; threads <= 3; threads++) {
        struct listener l = {0};
        const struct limoe_tune_options o = options_of(kind, threads, &l);
        must_tune(&p, threads == 1 ? "one" : "more", &o);
        assert_true(l.calls > 0 || kind == LIMOE_TUNE_PROBE);
        if (threads > 1)
            expect_same(&p, "one", "more");
    }
    assert_false(there(&p, "one.partial"));
    end(&p);
}

static void threads_change_no_bits(void **state) {
    (void)state;
    threads_change_no_bits_of(one_tower, LIMOE_TUNE_TAIL);
    threads_change_no_bits_of(one_tower, LIMOE_TUNE_AUTO);
    threads_change_no_bits_of(one_tower, LIMOE_TUNE_PROBE);
    threads_change_no_bits_of(two_towers, LIMOE_TUNE_TAIL);
}

/* Stopped after each batch, and at each end of an epoch, on trial and of all pictures; and again and again. */
static void a_stopped_run_goes_on(void **state) {
    (void)state;
    struct place p = begin(one_tower, PICTURES);
    struct limoe_error err;
    struct listener all = {0};
    struct limoe_tune_options o = options_of(LIMOE_TUNE_TAIL, 2, &all);
    must_tune(&p, "whole", &o);
    assert_int_equal(all.calls, CALLS);
    for (int most = 1; most <= all.calls; most++) {
        struct listener l = {.most = most};
        o.context = &l;
        assert_int_equal(run(&p, "parts", &o, &err), LIMOE_LOST);
        assert_false(there(&p, "parts"));
        assert_int_equal(there(&p, "parts.partial"), most > 1);
        l = (struct listener){0};
        must_tune(&p, "parts", &o);
        assert_int_equal(l.calls, CALLS - most / 2 * 2); /* the epoch that was stopped is run again */
        assert_string_equal(l.note, "");
        expect_same(&p, "whole", "parts");
        assert_int_equal(unlink(path_in(&p, "parts")), 0);
    }
    enum limoe_status status = LIMOE_LOST;
    for (int times = 0; status == LIMOE_LOST && times < 20; times++) {
        struct listener l = {.most = 3};
        o.context = &l;
        status = run(&p, "again", &o, &err);
    }
    must(status, &err);
    expect_same(&p, "whole", "again");
    end(&p);
}

/* ---- a state that is not to be believed */

static void leave_state(const struct place *p, struct limoe_tune_options *o) {
    struct listener l = {.most = EPOCHS};
    struct limoe_error err;
    o->context = &l;
    assert_int_equal(run(p, "parts", o, &err), LIMOE_LOST);
}

static void write_state(const struct place *p, const uint8_t *bytes, size_t size) {
    FILE *f = fopen(path_in(p, "parts.partial"), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void expect_new_beginning(const struct place *p, struct limoe_tune_options *o, const char *note) {
    struct listener l = {0};
    o->context = &l;
    must_tune(p, "parts", o);
    assert_int_equal(l.calls, CALLS);
    if (!strstr(l.note, note))
        fail_msg("\"%s\", where \"%s\" is expected", l.note, note);
    expect_same(p, "whole", "parts");
}

static void a_damaged_state_is_not_believed(void **state) {
    (void)state;
    struct place p = begin(one_tower, PICTURES);
    struct listener all = {0};
    struct limoe_tune_options o = options_of(LIMOE_TUNE_TAIL, 1, &all);
    size_t size;
    must_tune(&p, "whole", &o);
    leave_state(&p, &o);
    uint8_t *bytes = file_read(path_in(&p, "parts.partial"), &size);
    const struct {
        size_t at; /* whose bits are turned */
        const char *note;
    } damage[] = {{0, "is not the state of a run"},
                  {20, "is of a run with other pictures"},
                  {32, "contradicts the run"}, /* part */
                  {37, "contradicts the run"}, /* epochs */
                  {43, "contradicts the run"}, /* right */
                  {64, "contradicts the run"}, /* elements */
                  {100, "is damaged"},
                  {size / 2, "is damaged"},
                  {size - 1, "is damaged"}};
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        bytes[damage[i].at] ^= 0x20;
        write_state(&p, bytes, size);
        bytes[damage[i].at] ^= 0x20;
        expect_new_beginning(&p, &o, damage[i].note);
    }
    const size_t cuts[] = {0, 71, 72, size / 2, size - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        write_state(&p, bytes, cuts[i]);
        expect_new_beginning(&p, &o, "bytes");
    }
    free(bytes);
    end(&p);
}

/* Of other arguments or pictures. */
static void another_runs_state_is_not_believed(void **state) {
    (void)state;
    struct place p = begin(one_tower, PICTURES);
    struct listener l = {0};
    struct limoe_tune_options o = options_of(LIMOE_TUNE_TAIL, 1, &l);
    leave_state(&p, &o);
    o.seed = 1;
    o.context = &l;
    must_tune(&p, "whole", &o);
    expect_new_beginning(&p, &o, "is of a run with other pictures, another model or other arguments");
    leave_state(&p, &o);
    write_picture(&p, "pictures/cat/0.ppm", 0, 77);
    o.context = &l;
    must_tune(&p, "whole", &o);
    expect_new_beginning(&p, &o, "is of a run with other pictures");
    end(&p);
}

/* ---- what comes out */

/* What a model answers for the pictures of the first class: the embeddings' first numbers. */
static void embed(const char *dir, float z[24]) {
    uint8_t pixels[16 * 16 * 3];
    struct limoe_model *model;
    struct limoe_error err;
    memset(pixels, 90, sizeof pixels);
    const struct limoe_options options = {.device = "cpu", .dtype = LIMOE_FLOAT32, .threads = 1};
    must(limoe_model_open(dir, &options, &model, &err), &err);
    const struct limoe_item item = {
        .modality = LIMOE_IMAGE, .length = limoe_model_info(model)->image_tokens, .pixels = pixels};
    must(limoe_model_embed(model, &item, 1, z, NULL, &err), &err);
    limoe_model_close(model);
}

static void a_tail_fits_its_model(void **state) {
    (void)state;
    const char *const configs[] = {one_tower, two_towers};
    for (int i = 0; i < 2; i++) {
        struct place p = begin(configs[i], PICTURES);
        struct limoe_adapter *adapter;
        struct limoe_error err;
        struct listener l = {0};
        struct limoe_tune_options o = options_of(LIMOE_TUNE_TAIL, 2, &l);
        const char *const templates[] = {"{}", "a {}"}, *const labels[] = {"fog=a fox"};
        float before[24], after[24];
        o.templates = templates;
        o.n_templates = 2;
        o.labels = labels;
        o.n_labels = 1;
        must_tune(&p, "tail", &o);
        must(limoe_adapter_open(path_in(&p, "tail"), &adapter, &err), &err);
        const struct limoe_adapter_info *info = limoe_adapter_about(adapter);
        assert_int_equal(info->kind, LIMOE_ADAPTER_TAIL);
        assert_int_equal(info->start_block, 1);
        assert_int_equal(info->n_labels, CLASSES);
        assert_string_equal(info->labels[0], "cat");
        assert_string_equal(info->labels[2], "a fox");
        assert_int_equal(info->n_templates, 2);
        assert_non_null(strstr(info->training, "\"held_out\":{\"pictures\":3"));
        must(limoe_merge(p.model.dir, adapter, 1, path_in(&p, "merged"), NULL, NULL, &err), &err);
        limoe_adapter_close(adapter);
        embed(p.model.dir, before);
        embed(path_in(&p, "merged"), after);
        assert_memory_not_equal(before, after, sizeof before);
        end(&p);
    }
}

/* Three colours are told apart by anything that learns. */
static void a_probe_learns_its_pictures(void **state) {
    (void)state;
    struct place p = begin(one_tower, PICTURES);
    struct limoe_adapter *adapter;
    struct limoe_error err;
    struct listener l = {0};
    const struct limoe_tune_options o = options_of(LIMOE_TUNE_AUTO, 1, &l);
    must_tune(&p, "probe", &o);
    must(limoe_adapter_open(path_in(&p, "probe"), &adapter, &err), &err);
    const struct limoe_adapter_info *info = limoe_adapter_about(adapter);
    assert_int_equal(info->kind, LIMOE_ADAPTER_PROBE); /* both are right, and a probe costs less */
    assert_int_equal(info->embed, 24);
    assert_non_null(strstr(info->training, "\"probe\":{\"right\":100,"));
    assert_non_null(strstr(info->training, "\"tail\":{\"right\":"));
    limoe_adapter_close(adapter);
    end(&p);
}

/* Three pictures a class: none can be spared. */
static void few_pictures_are_all_learnt(void **state) {
    (void)state;
    struct place p = begin(one_tower, 3);
    struct limoe_adapter *adapter;
    struct limoe_error err;
    struct listener l = {0};
    struct limoe_tune_options o = options_of(LIMOE_TUNE_AUTO, 1, &l);
    must_tune(&p, "few", &o);
    assert_non_null(strstr(l.note, "nothing is held out"));
    must(limoe_adapter_open(path_in(&p, "few"), &adapter, &err), &err);
    assert_int_equal(limoe_adapter_about(adapter)->kind, LIMOE_ADAPTER_PROBE);
    assert_null(strstr(limoe_adapter_about(adapter)->training, "held_out"));
    limoe_adapter_close(adapter);
    o.kind = LIMOE_TUNE_TAIL;
    must_tune(&p, "few", &o);
    must(limoe_adapter_open(path_in(&p, "few"), &adapter, &err), &err);
    assert_int_equal(limoe_adapter_about(adapter)->kind, LIMOE_ADAPTER_TAIL);
    assert_true(limoe_adapter_about(adapter)->strength == 1);
    limoe_adapter_close(adapter);
    end(&p);
}

/* ---- examples that are no files */

/* What the folders hold, and one label without pictures, if it is wanted. */
struct gallery {
    const struct place *place;
    char name[CLASSES * PICTURES][32];
    const char *names[CLASSES * PICTURES];
    uint32_t of[CLASSES * PICTURES];
    const char *classes[CLASSES + 1];
};

static enum limoe_status read_picture(void *context, size_t example,
                                      const struct limoe_image_settings *settings, uint8_t *pixels,
                                      struct limoe_error *err) {
    const struct gallery *g = context;
    char path[256]; /* not path_in's, of which the run has one still */
    size_t size;
    snprintf(path, sizeof path, "%s/pictures/%s/%zu.ppm", g->place->dir, names[example / PICTURES],
             example % PICTURES);
    uint8_t *bytes = file_read(path, &size);
    const enum limoe_status status = limoe_process_image_by(settings, bytes, size, pixels, err);
    free(bytes);
    return status;
}

static struct limoe_tune_examples gallery_of(const struct place *p, struct gallery *g) {
    *g = (struct gallery){.place = p, .classes = {"cat", "dog", "fog", "hog"}};
    for (uint32_t i = 0; i < CLASSES * PICTURES; i++) {
        snprintf(g->name[i], sizeof g->name[i], "example %u", i);
        g->names[i] = g->name[i];
        g->of[i] = i / PICTURES;
    }
    return (struct limoe_tune_examples){.classes = g->classes,
                                        .names = g->names,
                                        .of = g->of,
                                        .n_classes = CLASSES,
                                        .n = CLASSES * PICTURES,
                                        .read = read_picture,
                                        .context = g};
}

static enum limoe_status run_from(const struct place *p, const struct limoe_tune_examples *examples,
                                  const char *out, const struct limoe_tune_options *o,
                                  struct limoe_error *err) {
    return limoe_tune_from(p->model.dir, examples, path_in(p, out), o, err);
}

static void examples_come_to_the_bits_of_folders(void **state) {
    (void)state;
    struct place p = begin(one_tower, PICTURES);
    struct gallery gallery;
    struct limoe_error err;
    struct listener l = {0};
    char first[256];
    const struct limoe_tune_examples examples = gallery_of(&p, &gallery);
    struct limoe_tune_options o = options_of(LIMOE_TUNE_AUTO, 1, &l);
    must_tune(&p, "folders", &o);
    snprintf(first, sizeof first, "%s", path_in(&p, "first"));
    o.first = first;
    must(run_from(&p, &examples, "examples", &o, &err), &err);
    expect_same(&p, "folders", "examples");
    assert_true(there(&p, "first")); /* a probe, before a tail was tried: its record has none */
    o.kind = LIMOE_TUNE_PROBE;
    must(run_from(&p, &examples, "probe", &o, &err), &err);
    expect_same(&p, "first", "probe");
    end(&p);
}

static void a_class_may_have_no_examples_and_nothing_be_held_out(void **state) {
    (void)state;
    struct place p = begin(one_tower, PICTURES);
    struct gallery gallery;
    struct limoe_adapter *adapter;
    struct limoe_error err;
    struct listener l = {0};
    struct limoe_tune_examples examples = gallery_of(&p, &gallery);
    struct limoe_tune_options o = options_of(LIMOE_TUNE_PROBE, 1, &l);
    examples.n_classes = CLASSES + 1;
    o.held_out = 0.4;
    must(run_from(&p, &examples, "held", &o, &err), &err);
    must(limoe_adapter_open(path_in(&p, "held"), &adapter, &err), &err);
    assert_int_equal(limoe_adapter_about(adapter)->n_labels, CLASSES + 1);
    assert_non_null(
        strstr(limoe_adapter_about(adapter)->training, "\"held_out\":{\"pictures\":6,")); /* 2 of 5 */
    limoe_adapter_close(adapter);
    o.held_out = -1;
    must(run_from(&p, &examples, "all", &o, &err), &err);
    assert_non_null(strstr(l.note, "nothing is held out, as asked"));
    o.held_out = 0.6;
    assert_int_equal(run_from(&p, &examples, "more", &o, &err), LIMOE_INVALID);
    assert_non_null(strstr(err.message, "a share of 0.6 to hold out; up to 0.5 is accepted"));
    o.held_out = 0;
    o.base = "0123456789abcdef0123456789abcdef";
    assert_int_equal(run_from(&p, &examples, "more", &o, &err), LIMOE_INVALID);
    assert_non_null(strstr(err.message, ", where 0123456789abcdef0123456789abcdef is to be taught"));
    end(&p);
}

/* ---- refusals */

static void expect_refusal(const struct place *p, const struct limoe_tune_options *o,
                           enum limoe_status status, const char *part) {
    struct limoe_error err;
    expect_failure("tune", run(p, "out", o, &err), &err, status, part);
    assert_false(there(p, "out") || there(p, "out.new") || there(p, "out.partial") ||
                 there(p, "out.partial.new"));
}

static void folders_are_checked(void **state) {
    (void)state;
    struct place p = begin(one_tower, 0);
    struct listener l = {0};
    const struct limoe_tune_options o = options_of(LIMOE_TUNE_AUTO, 1, &l);
    expect_refusal(&p, &o, LIMOE_INVALID, "has no folders; 2 to 1000 folders of pictures");
    write_class(&p, 0, 2);
    write_picture(&p, "pictures/aside.ppm", 0, 9);
    expect_refusal(&p, &o, LIMOE_INVALID, "has 1 folder; 2 to 1000");
    write_class(&p, 1, 0);
    expect_refusal(&p, &o, LIMOE_INVALID, "pictures/dog has no pictures");
    write_picture(&p, "pictures/dog/notes.txt", 1, 1);
    expect_refusal(&p, &o, LIMOE_INVALID, "pictures/dog has no pictures");
    assert_int_equal(folder_remove(path_in(&p, "pictures")), 0);
    expect_refusal(&p, &o, LIMOE_NOT_FOUND, "cannot read the folder");
    end(&p);
}

static void pictures_are_checked(void **state) {
    (void)state;
    struct place p = begin(one_tower, 2);
    struct listener l = {0};
    struct limoe_tune_options o = options_of(LIMOE_TUNE_PROBE, 1, &l);
    write_picture(&p, "pictures/dog/copy.ppm", 0, 1);
    expect_refusal(&p, &o, LIMOE_INVALID, "cat/1.ppm and ");
    expect_refusal(&p, &o, LIMOE_INVALID, "dog/copy.ppm are the same picture in two classes");
    write_picture(&p, "pictures/dog/copy.ppm", 1, 1);
    must_tune(&p, "once", &o);
    assert_non_null(strstr(l.note, "dog/copy.ppm counts once: it is the same picture as"));
    FILE *f = fopen(path_in(&p, "pictures/fog/0.ppm"), "wb");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    expect_refusal(&p, &o, LIMOE_BAD_IMAGE, "fog/0.ppm: ");
    o.skip_broken = true;
    must_tune(&p, "skipped", &o);
    assert_int_equal(unlink(path_in(&p, "pictures/fog/1.ppm")), 0);
    expect_refusal(&p, &o, LIMOE_BAD_IMAGE, "class \"fog\" has no picture that can be read");
    assert_non_null(strstr(l.note, "fog/0.ppm is left out: "));
    end(&p);
}

static void arguments_are_checked(void **state) {
    (void)state;
    struct place p = begin(one_tower, 2);
    struct listener l = {0};
    const struct limoe_tune_options good = options_of(LIMOE_TUNE_TAIL, 1, &l);
    struct limoe_tune_options o = good;
    const char *texts[] = {"a"};
    o.start_block = 4;
    expect_refusal(&p, &o, LIMOE_INVALID, "start block 4; 0 to 3 are accepted of \"one\"");
    o = good, o.epochs = 1001;
    expect_refusal(&p, &o, LIMOE_INVALID, "1001 epochs; 1 to 1000");
    o = good, o.rate = -1;
    expect_refusal(&p, &o, LIMOE_INVALID, "a learning rate of -1");
    o = good, o.templates = texts, o.n_templates = 1;
    expect_refusal(&p, &o, LIMOE_INVALID, "template \"a\" has {} nowhere");
    o = good, o.labels = texts, o.n_labels = 1;
    expect_refusal(&p, &o, LIMOE_INVALID, "label \"a\" names no folder");
    texts[0] = "cat=dog";
    expect_refusal(&p, &o, LIMOE_INVALID, "folders \"cat\" and \"dog\" have one label");
    texts[0] = "cat=\xff";
    expect_refusal(&p, &o, LIMOE_INVALID, "is not UTF-8");
    texts[0] = "cat=";
    expect_refusal(&p, &o, LIMOE_INVALID, "is 0 bytes");
    struct limoe_error err;
    assert_int_equal(run(&p, "missing/out", &good, &err), LIMOE_IO);
    assert_non_null(strstr(err.message, "missing/out.partial: No such file or directory"));
    assert_int_equal(run(&p, "pictures", &good, &err), LIMOE_INVALID);
    end(&p);
}

/* A model of pictures alone has no texts to tune by: a probe is what it can learn. */
static void what_a_model_cannot_learn_is_said(void **state) {
    (void)state;
    static const char pictures_alone[] =
        "{\"format\":\"limoe-2\",\"name\":\"alone\",\"embed\":24,"
        "\"image\":{\"size\":16,\"patch\":8,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5],"
        "\"tower\":{\"width\":32,\"blocks\":1,\"heads\":2,\"mlp\":40}}}";
    char *limited = edit(one_tower, "\"renormalize\":true", "\"renormalize\":true,\"capacity\":1.5");
    struct place p = begin(pictures_alone, PICTURES), q = begin(limited, PICTURES);
    struct listener l = {0};
    struct limoe_tune_options o = options_of(LIMOE_TUNE_TAIL, 1, &l);
    expect_refusal(&p, &o, LIMOE_UNSUPPORTED, "text");
    o.kind = LIMOE_TUNE_AUTO;
    must_tune(&p, "probe", &o);
    assert_non_null(strstr(l.note, "a probe alone is learnt: "));
    expect_refusal(&q, &o, LIMOE_UNSUPPORTED, "\"one\" has \"moe.capacity\"");
    free(limited);
    end(&p);
    end(&q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_change_no_bits),
        cmocka_unit_test(a_stopped_run_goes_on),
        cmocka_unit_test(a_damaged_state_is_not_believed),
        cmocka_unit_test(another_runs_state_is_not_believed),
        cmocka_unit_test(a_tail_fits_its_model),
        cmocka_unit_test(a_probe_learns_its_pictures),
        cmocka_unit_test(few_pictures_are_all_learnt),
        cmocka_unit_test(examples_come_to_the_bits_of_folders),
        cmocka_unit_test(a_class_may_have_no_examples_and_nothing_be_held_out),
        cmocka_unit_test(folders_are_checked),
        cmocka_unit_test(pictures_are_checked),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(what_a_model_cannot_learn_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
