/* test_classifiers_disk.c - protects the store from its disk: its bytes are bounded, a full disk still
 * takes a DELETE, and one that hangs holds nobody up. */
#include "tests/unit/server/front/store/classifiers_fixture.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void w14_their_bytes_are_bounded(void **state) {
    (void)state;
    char name[16];
    unsigned n = 0;
    const uint64_t limit = UINT64_C(1) << 20;
    const struct classifiers_options options = {.dir = dir, .disk_bytes = limit};
    struct classifiers_state found;
    struct stat size;
    classifiers_close(store);
    assert_int_equal(classifiers_open(&options, &store, &err), LIMOE_OK);
    for (; n < 1000; n++) {
        snprintf(name, sizeof name, "c%u", n);
        const enum store_outcome outcome = try_put(store, name, MOST_LABELS - 1, NULL);
        if (outcome == STORE_FULL)
            break;
        assert_int_equal(outcome, STORE_DONE);
    }
    assert_in_range(n, 10, 999);
    assert_int_equal(err.status, LIMOE_TOO_LARGE);
    assert_non_null(strstr(err.message, "--classifier-bytes"));
    assert_int_equal(stat(file, &size), 0);
    assert_true((uint64_t)size.st_size <= limit);
    classifiers_state(store, &found);
    assert_int_equal(found.limit_bytes, limit);
    assert_in_range(found.bytes, limit / 2, limit);

    put(store, "c0", 0); /* a smaller one in place of another has room, and so has one after a DELETE */
    assert_true(erase(store, "c1"));
    put(store, "again", MOST_LABELS - 1);
    assert_stored(store, "again", MOST_LABELS - 1);
    assert_stored(store, "c2", MOST_LABELS - 1);
}

/* ---- a full disk, and one that hangs: SQLite's default VFS, with files that cannot grow while `full` is
 * set, and whose locks are not even answered while `hangs` is */

static atomic_bool full, hangs;

struct tight_file {
    sqlite3_file base;
    sqlite3_file *real;
};

static sqlite3_io_methods tight_methods;
static sqlite3_vfs tight_vfs;

static sqlite3_file *real_of(sqlite3_file *of) {
    return ((struct tight_file *)of)->real;
}

static int tight_close(sqlite3_file *of) {
    return real_of(of)->pMethods->xClose(real_of(of));
}
static int tight_read(sqlite3_file *of, void *out, int n, sqlite3_int64 at) {
    return real_of(of)->pMethods->xRead(real_of(of), out, n, at);
}
static int tight_write(sqlite3_file *of, const void *bytes, int n, sqlite3_int64 at) {
    sqlite3_int64 size = 0;
    real_of(of)->pMethods->xFileSize(real_of(of), &size);
    if (full && at + n > size)
        return SQLITE_FULL;
    return real_of(of)->pMethods->xWrite(real_of(of), bytes, n, at);
}
static int tight_truncate(sqlite3_file *of, sqlite3_int64 size) {
    return real_of(of)->pMethods->xTruncate(real_of(of), size);
}
static int tight_sync(sqlite3_file *of, int flags) {
    return real_of(of)->pMethods->xSync(real_of(of), flags);
}
static int tight_size(sqlite3_file *of, sqlite3_int64 *size) {
    return real_of(of)->pMethods->xFileSize(real_of(of), size);
}
static int tight_lock(sqlite3_file *of, int level) {
    while (atomic_load(&hangs))
        usleep(10000);
    return real_of(of)->pMethods->xLock(real_of(of), level);
}
static int tight_unlock(sqlite3_file *of, int level) {
    return real_of(of)->pMethods->xUnlock(real_of(of), level);
}
static int tight_reserved(sqlite3_file *of, int *out) {
    return real_of(of)->pMethods->xCheckReservedLock(real_of(of), out);
}
static int tight_control(sqlite3_file *of, int operation, void *argument) {
    return real_of(of)->pMethods->xFileControl(real_of(of), operation, argument);
}
static int tight_sector(sqlite3_file *of) {
    return real_of(of)->pMethods->xSectorSize(real_of(of));
}
static int tight_traits(sqlite3_file *of) {
    return real_of(of)->pMethods->xDeviceCharacteristics(real_of(of));
}

static int tight_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *of, int flags, int *out) {
    struct tight_file *opened = (struct tight_file *)of;
    sqlite3_vfs *real = vfs->pAppData;
    opened->real = (sqlite3_file *)(opened + 1);
    const int code = real->xOpen(real, name, opened->real, flags, out);
    opened->base.pMethods = opened->real->pMethods ? &tight_methods : NULL;
    return code;
}

static void use_tight_vfs(bool use) {
    sqlite3_vfs *real = sqlite3_vfs_find("unix");
    if (!use) {
        sqlite3_vfs_unregister(&tight_vfs);
        sqlite3_vfs_register(real, 1);
        return;
    }
    tight_vfs = *real;
    tight_vfs.pNext = NULL;
    tight_vfs.zName = "tight";
    tight_vfs.szOsFile = (int)sizeof(struct tight_file) + real->szOsFile;
    tight_vfs.pAppData = real;
    tight_vfs.xOpen = tight_open;
    tight_methods = (sqlite3_io_methods){
        .iVersion = 1,
        .xClose = tight_close,
        .xRead = tight_read,
        .xWrite = tight_write,
        .xTruncate = tight_truncate,
        .xSync = tight_sync,
        .xFileSize = tight_size,
        .xLock = tight_lock,
        .xUnlock = tight_unlock,
        .xCheckReservedLock = tight_reserved,
        .xFileControl = tight_control,
        .xSectorSize = tight_sector,
        .xDeviceCharacteristics = tight_traits,
    };
    sqlite3_vfs_register(&tight_vfs, 1);
}

static void w6_a_disk_that_hangs_holds_up_nobody(void **state) {
    (void)state;
    const struct classifier *found;
    struct classifiers_state health;
    classifiers_close(store);
    use_tight_vfs(true);
    store = open_with(0, 0);
    put(store, "a", 1);
    atomic_store(&hangs, true);
    const struct timespec began = now();
    assert_int_equal(try_put(store, "b", 2, NULL), STORE_BUSY);
    assert_int_equal(try_get(store, "c", &model, &found), STORE_BUSY);
    assert_true(seconds_since(&began) < 10);
    classifiers_state(store, &health);
    assert_false(health.writing);
    assert_stored(store, "a", 1);
    atomic_store(&hangs, false);
    wait_until_good();
    assert_absent(store, "c");
    put(store, "b", 3);
    assert_stored(store, "b", 3);
    classifiers_close(store);
    use_tight_vfs(false);
    store = open_with(0, 0);
    assert_stored(store, "b", 3);
}

static void w14_a_full_disk_takes_a_delete(void **state) {
    (void)state;
    char name[16];
    classifiers_close(store);
    use_tight_vfs(true);
    store = open_with(0, 0);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "c%u", i);
        put(store, name, MOST_LABELS - 1 - i);
    }
    full = true;
    assert_int_equal(try_put(store, "more", MOST_LABELS - 1, NULL), STORE_FULL);
    assert_stored(store, "c7", MOST_LABELS - 1 - 7); /* nothing is lost by it */
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "c%u", i);
        assert_true(erase(store, name));
        assert_absent(store, name);
    }
    put(store, "more", 3); /* what was deleted has made room */
    assert_stored(store, "more", 3);
    full = false;
    classifiers_close(store);
    use_tight_vfs(false);
    store = open_with(0, 0);
    assert_absent(store, "c7");
    assert_stored(store, "c20", MOST_LABELS - 1 - 20);
    assert_stored(store, "more", 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(w14_their_bytes_are_bounded),
        TEST(w6_a_disk_that_hangs_holds_up_nobody),
        TEST(w14_a_full_disk_takes_a_delete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
