/* test_adapters_store.c - protects adapters' files in the state directory: what was kept is there when the store is opened again,
 * and what was not is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/front/store/adapters.h"
#include "tests/unit/files.h"

static char state_dir[FOLDER_SIZE];

static int set_up(void **state) {
    (void)state;
    folder_make(state_dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return folder_remove(state_dir);
}

static struct adapters *open_store(size_t most, uint64_t disk) {
    const struct adapters_options options = {.state_dir = state_dir, .most = most, .disk_bytes = disk};
    struct adapters *store;
    struct limoe_error err;
    if (adapters_open(&options, &store, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return store;
}

/* A probe of one class, whose bias makes it unlike others. Returns its bytes. */
static size_t make_probe(char file[512], float bias) {
    static const char header[] =
        "{\"__metadata__\":{\"limoe-adapter\":\"{\\\"format\\\":\\\"limoe-adapter-1\\\",\\\"kind\\\":"
        "\\\"probe\\\","
        "\\\"base\\\":\\\"00112233445566778899aabbccddeeff\\\",\\\"labels\\\":[\\\"cat\\\"],\\\"strength\\\":"
        "0.5}\"},"
        "\"probe.weight\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
        "\"probe.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}";
    const uint64_t size = sizeof header - 1;
    const float values[] = {1, 2, bias};
    memcpy(file, &size, 8);
    memcpy(file + 8, header, size);
    memcpy(file + 8 + size, values, sizeof values);
    return 8 + size + sizeof values;
}

static const struct adapter *draft(struct adapters *store, float bias) {
    char file[512];
    const struct adapter *out;
    struct limoe_error err;
    bool full;
    if (adapters_draft(store, file, make_probe(file, bias), &out, &full, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return out;
}

static enum limoe_status put(struct adapters *store, const char *name, float bias, bool *full) {
    const struct adapter *kept;
    struct limoe_error err;
    const enum limoe_status status =
        adapters_keep(store, draft(store, bias), text_of(name), &kept, full, &err);
    if (!status)
        adapter_release(kept);
    return status;
}

static size_t files(void) {
    char path[FOLDER_SIZE + 16];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/adapters", state_dir);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *file; (file = readdir(dir));)
        n += file->d_name[0] != '.' || strncmp(file->d_name, ADAPTERS_NEW_FILE, 5) == 0;
    closedir(dir);
    return n;
}

static void expect_list(struct adapters *store, const char *names) {
    const struct adapter *list[8];
    char found[64] = "";
    bool more;
    const size_t n = adapters_list(store, text_of(""), 8, list, &more);
    assert_false(more);
    for (size_t i = 0; i < n; i++) {
        strcat(strcat(found, list[i]->name), " ");
        adapter_release(list[i]);
    }
    assert_string_equal(found, names);
}

static void what_is_kept_outlives_the_store(void **state) {
    (void)state;
    struct adapters *store = open_store(0, 0);
    bool full;
    assert_int_equal(put(store, "b", 1, &full), LIMOE_OK);
    assert_int_equal(put(store, "a", 2, &full), LIMOE_OK);
    assert_int_equal(put(store, "c", 2, &full), LIMOE_OK); /* the same file by another name */
    expect_list(store, "a b c ");
    adapters_close(store);
    store = open_store(0, 0);
    expect_list(store, "a b c ");
    const struct adapter *found = adapters_find(store, text_of("b"));
    assert_non_null(found);
    assert_int_equal(found->kind, LIMOE_ADAPTER_PROBE);
    assert_string_equal(found->base, "00112233445566778899aabbccddeeff");
    assert_true(found->strength == 0.5F && found->n_labels == 1 && found->embed == 2 && found->probe);
    adapters_close(store);
    assert_string_equal(found->name, "b"); /* what was given out stays */
    adapter_release(found);
}

static void a_draft_that_is_not_kept_is_gone(void **state) {
    (void)state;
    struct adapters *store = open_store(0, 0);
    const struct adapter *one = draft(store, 1);
    assert_int_equal(files(), 1);
    adapters_discard(one);
    assert_int_equal(files(), 0);
    adapter_release(draft(store, 2)); /* as if the process had ended here */
    assert_int_equal(files(), 1);
    adapters_close(store);
    adapters_close(open_store(0, 0));
    assert_int_equal(files(), 0);
}

static void one_in_place_of_another_leaves_one_file(void **state) {
    (void)state;
    struct adapters *store = open_store(0, 0);
    bool full, found;
    for (int i = 0; i < 3; i++)
        assert_int_equal(put(store, "a", (float)(i / 2), &full),
                         LIMOE_OK); /* the second is the first again */
    assert_int_equal(files(), 1);
    assert_int_equal(adapters_state(store).n, 1);
    assert_int_equal(adapters_delete(store, text_of("a"), &found, NULL), LIMOE_OK);
    assert_true(found);
    assert_int_equal(adapters_delete(store, text_of("a"), &found, NULL), LIMOE_OK);
    assert_false(found);
    assert_int_equal(files(), 0);
    assert_int_equal(adapters_state(store).bytes, 0);
    adapters_close(store);
}

/* Cut off between the rename of the new file and the removal of the old. */
static void two_files_of_a_name_are_settled(void **state) {
    (void)state;
    char old[256], spare[FOLDER_SIZE + 16];
    bool full;
    struct adapters *store = open_store(0, 0);
    assert_int_equal(put(store, "a", 1, &full), LIMOE_OK);
    const struct adapter *first = adapters_find(store, text_of("a"));
    snprintf(old, sizeof old, "%s", first->path);
    snprintf(spare, sizeof spare, "%s/spare", state_dir);
    assert_int_equal(link(old, spare), 0);
    adapter_release(first);
    assert_int_equal(put(store, "a", 2, &full), LIMOE_OK);
    const struct adapter *second = adapters_find(store, text_of("a"));
    adapters_close(store);
    assert_int_equal(rename(spare, old), 0);
    const struct timespec before[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, old, before, 0), 0);
    store = open_store(0, 0);
    const struct adapter *kept = adapters_find(store, text_of("a"));
    assert_memory_equal(kept->sha256, second->sha256, TAIL_KEY_DIGEST);
    assert_int_equal(files(), 1);
    adapter_release(kept);
    adapter_release(second);
    adapters_close(store);
}

static void what_is_too_much_is_refused(void **state) {
    (void)state;
    char file[512];
    const uint64_t size = make_probe(file, 1);
    bool full;
    struct adapters *store = open_store(2, 0);
    assert_int_equal(put(store, "a", 1, &full), LIMOE_OK);
    assert_int_equal(put(store, "b", 2, &full), LIMOE_OK);
    assert_int_equal(put(store, "c", 3, &full), LIMOE_TOO_LARGE);
    assert_false(full);
    assert_int_equal(put(store, "b", 4, &full), LIMOE_OK);
    assert_int_equal(files(), 2);
    adapters_close(store);
    store = open_store(0, 2 * size + 1);
    assert_int_equal(put(store, "c", 3, &full), LIMOE_TOO_LARGE);
    assert_true(full);
    assert_int_equal(put(store, "b", 5, &full), LIMOE_OK);
    assert_int_equal(files(), 2);
    adapters_close(store);
}

static void what_is_no_adapter_is_no_draft(void **state) {
    (void)state;
    struct adapters *store = open_store(0, 0);
    const struct adapter *out;
    struct limoe_error err;
    bool full;
    char nearest[129];
    assert_int_not_equal(adapters_draft(store, "nonsense", 8, &out, &full, &err), LIMOE_OK);
    assert_null(strstr(err.message, ADAPTERS_NEW_FILE));
    assert_int_not_equal(adapters_draft(store, NULL, 0, &out, &full, &err), LIMOE_OK);
    assert_int_equal(files(), 0);
    assert_int_equal(put(store, "pets", 1, &full), LIMOE_OK);
    assert_true(adapters_nearest(store, text_of("pet"), nearest));
    assert_string_equal(nearest, "pets");
    assert_false(adapters_nearest(store, text_of("elephants"), nearest));
    adapters_close(store);
}

static void *put_many(void *argument) {
    bool full;
    for (int i = 0; i < 20; i++)
        put(argument, i % 2 ? "a" : "b", (float)i, &full);
    return NULL;
}

static void changes_at_once_leave_whole_ones(void **state) {
    (void)state;
    struct adapters *store = open_store(0, 0);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, store), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    expect_list(store, "a b ");
    assert_int_equal(files(), 2);
    adapters_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_kept_outlives_the_store, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_draft_that_is_not_kept_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_in_place_of_another_leaves_one_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_files_of_a_name_are_settled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_too_much_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_adapter_is_no_draft, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changes_at_once_leave_whole_ones, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
