/* Protects zip files in memory: what they hold comes by name and whole; bombs, paths that lead out, links, doubles, what is
 * encrypted, cut short or too much is refused before it is unpacked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "server/formats/archive.h"

enum { ROOM = 1 << 20, STORED = 0, DEFLATED = 8, UNIX = 3 };

/* An entry as it is to be written; fields that lie have another value than the data's. */
struct made {
    const char *name, *data;
    size_t size;     /* 0: the data's length */
    int method;      /* STORED, DEFLATED, or one that nobody has */
    unsigned flags;  /* 1: encrypted */
    unsigned mode;   /* of Unix; 0: a file's */
    uint32_t claims; /* bytes that the directory says; 0: the truth */
};

struct zip {
    uint8_t bytes[ROOM];
    size_t size;
};

static void put(struct zip *zip, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++)
        zip->bytes[zip->size++] = (uint8_t)(value >> (8 * i));
}

static void put_bytes(struct zip *zip, const void *bytes, size_t size) {
    assert_true(zip->size + size <= ROOM);
    memcpy(zip->bytes + zip->size, bytes, size);
    zip->size += size;
}

/* Raw deflate, as zip files have it; packed[room]. */
static size_t pack(const struct made *entry, size_t size, uint8_t *packed, size_t room) {
    z_stream z = {
        .next_in = (Bytef *)entry->data, .avail_in = (uInt)size, .next_out = packed, .avail_out = (uInt)room};
    if (entry->method != DEFLATED) {
        memcpy(packed, entry->data, size);
        return size;
    }
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

/* What a header of either kind says from the version needed on to the name's length. */
static void put_facts(struct zip *zip, const struct made *entry, size_t packed, size_t size) {
    put(zip, 20, 2);
    put(zip, entry->flags, 2);
    put(zip, (uint32_t)entry->method, 2);
    put(zip, 0, 4); /* the time */
    put(zip, (uint32_t)crc32(0, (const Bytef *)entry->data, (uInt)size), 4);
    put(zip, (uint32_t)packed, 4);
    put(zip, entry->claims ? entry->claims : (uint32_t)size, 4);
    put(zip, (uint32_t)strlen(entry->name), 2);
}

static void put_directory_entry(struct zip *zip, const struct made *entry, size_t packed, size_t size,
                                size_t at) {
    put(zip, 0x02014b50, 4);
    put(zip, UNIX << 8 | 20, 2);
    put_facts(zip, entry, packed, size);
    put(zip, 0, 2); /* extra, comment, disk, internal attributes */
    put(zip, 0, 2);
    put(zip, 0, 2);
    put(zip, 0, 2);
    put(zip, (entry->mode ? entry->mode : 0100644u) << 16, 4);
    put(zip, (uint32_t)at, 4);
    put_bytes(zip, entry->name, strlen(entry->name));
}

static void put_end(struct zip *zip, size_t n, size_t directory, size_t bytes) {
    put(zip, 0x06054b50, 4);
    put(zip, 0, 4);
    put(zip, (uint32_t)n, 2);
    put(zip, (uint32_t)n, 2);
    put(zip, (uint32_t)bytes, 4);
    put(zip, (uint32_t)directory, 4);
    put(zip, 0, 2);
}

static void make(struct zip *zip, const struct made *entry, size_t n) {
    static uint8_t packed[ROOM];
    size_t at[256], sizes[256];
    zip->size = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t size = entry[i].size ? entry[i].size : strlen(entry[i].data);
        at[i] = zip->size;
        sizes[i] = pack(&entry[i], size, packed, sizeof packed);
        put(zip, 0x04034b50, 4);
        put_facts(zip, &entry[i], sizes[i], size);
        put(zip, 0, 2);
        put_bytes(zip, entry[i].name, strlen(entry[i].name));
        put_bytes(zip, packed, sizes[i]);
    }
    const size_t directory = zip->size;
    for (size_t i = 0; i < n; i++)
        put_directory_entry(zip, &entry[i], sizes[i], entry[i].size ? entry[i].size : strlen(entry[i].data),
                            at[i]);
    put_end(zip, n, directory, zip->size - directory);
}

static const struct archive_limits limits = {.entries = 100, .entry_bytes = 4 << 20, .total_bytes = 8 << 20};

/* Opens it from memory of just its size, so that a sanitizer sees what is read past it. */
static enum limoe_status open_copy(const struct zip *zip, size_t size, uint8_t **bytes,
                                   struct archive **archive, struct limoe_error *err) {
    *bytes = malloc(size + !size);
    memcpy(*bytes, zip->bytes, size);
    return archive_open(*bytes, size, &limits, archive, err);
}

static void refuse(const struct zip *zip, enum limoe_status status, const char *words) {
    struct archive *archive;
    struct limoe_error err;
    uint8_t *bytes;
    const enum limoe_status found = open_copy(zip, zip->size, &bytes, &archive, &err);
    if (found != status || !strstr(err.message, words))
        fail_msg("%d, \"%s\"; expected %d, \"%s\"", found, err.message, status, words);
    assert_null(archive);
    free(bytes);
}

static void refuse_entries(const struct made *entry, size_t n, enum limoe_status status, const char *words) {
    static struct zip zip;
    make(&zip, entry, n);
    refuse(&zip, status, words);
}

static void test_files_come_by_name(void **state) {
    (void)state;
    static struct zip zip;
    static char zeros[300000];
    const struct made entries[] = {
        {.name = "pets/dog", .data = "woof"},
        {.name = "pets/", .data = "", .mode = 040755},
        {.name = "pets/cat", .data = zeros, .size = sizeof zeros, .method = DEFLATED},
        {.name = "empty", .data = ""},
        {.name = "\xe7\x8c\xab", .data = "neko", .method = DEFLATED}};
    static const char *const names[] = {"empty", "pets/cat", "pets/dog", "\xe7\x8c\xab"};
    static char got[sizeof zeros];
    struct archive *archive;
    struct limoe_error err;
    uint8_t *bytes;
    memset(zeros, 'm', sizeof zeros);
    for (size_t i = 0; i < sizeof zeros; i += 97) /* less than a hundredfold */
        zeros[i] = (char)(i * 31);
    make(&zip, entries, 5);
    assert_true(archive_is_one(zip.bytes, zip.size));
    assert_int_equal(open_copy(&zip, zip.size, &bytes, &archive, &err), LIMOE_OK);
    assert_int_equal(archive_count(archive), 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(archive_at(archive, i)->name, names[i]);
    assert_int_equal(archive_at(archive, 1)->bytes, sizeof zeros);
    assert_int_equal(archive_read(archive, 1, got, &err), LIMOE_OK);
    assert_memory_equal(got, zeros, sizeof zeros);
    assert_int_equal(archive_read(archive, 0, NULL, &err), LIMOE_OK);
    FILE *file = tmpfile();
    assert_int_equal(archive_unpack(archive, 1, fileno(file), &err), LIMOE_OK);
    memset(got, 0, sizeof got);
    assert_int_equal(pread(fileno(file), got, sizeof got, 0), sizeof got);
    assert_memory_equal(got, zeros, sizeof zeros);
    assert_int_equal(archive_read(archive, 3, got, &err), LIMOE_OK); /* in any order, again */
    assert_memory_equal(got, "neko", 4);
    fclose(file);
    archive_close(archive);
    free(bytes);
}

static void test_what_is_none(void **state) {
    (void)state;
    static struct zip zip;
    const struct made entry = {.name = "a", .data = "some bytes of a file"};
    make(&zip, &entry, 1);
    const size_t whole = zip.size;
    for (zip.size = 0; zip.size < whole; zip.size++)
        refuse(&zip, LIMOE_CORRUPT, "cut short");
    memset(zip.bytes, 0, whole);
    refuse(&zip, LIMOE_CORRUPT, "no zip file");
    assert_false(archive_is_one("PK\3\4", 4));
    assert_false(archive_is_one("PK\3\4\0\0\0\0{", 9)); /* a safetensors file of a long header */
}

static void test_names_and_kinds(void **state) {
    (void)state;
    static const char *const out[] = {"/etc/passwd", "../a", "a/../../b", "a//b", "./a",
                                      "a/.",         "..",   "/",         "a/../"};
    char name[ARCHIVE_NAME_BYTES + 2];
    for (size_t i = 0; i < sizeof out / sizeof *out; i++)
        refuse_entries(&(struct made){.name = out[i], .data = "x"}, 1, LIMOE_CORRUPT, "a path that is");
    refuse_entries(&(struct made){.name = "a\\b", .data = "x"}, 1, LIMOE_CORRUPT,
                   "a control character or a backslash");
    refuse_entries(&(struct made){.name = "a\tb", .data = "x"}, 1, LIMOE_CORRUPT, "\"a?b\"");
    /* Of another code, which a guess would turn into words of no language. */
    refuse_entries(&(struct made){.name = "\x94\x4c.png", .data = "x"}, 1, LIMOE_CORRUPT,
                   "\"?L.png\" has a name that is not UTF-8");
    refuse_entries(&(struct made){.name = "", .data = "x"}, 1, LIMOE_CORRUPT, "an empty or a long name");
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    refuse_entries(&(struct made){.name = name, .data = "x"}, 1, LIMOE_CORRUPT, "an empty or a long name");
    refuse_entries(&(struct made){.name = "l", .data = "/etc", .mode = 0120777}, 1, LIMOE_CORRUPT,
                   "is a link");
    refuse_entries(&(struct made){.name = "d", .data = "x", .mode = 020666}, 1, LIMOE_CORRUPT, "is a device");
    const struct made twice[] = {
        {.name = "a", .data = "1"}, {.name = "b", .data = "2"}, {.name = "a", .data = "3"}};
    refuse_entries(twice, 3, LIMOE_CORRUPT, "two entries \"a\"");
    refuse_entries(&(struct made){.name = "s", .data = "x", .flags = 1}, 1, LIMOE_UNSUPPORTED,
                   "is encrypted");
    refuse_entries(&(struct made){.name = "z", .data = "x", .method = 93}, 1, LIMOE_UNSUPPORTED,
                   "by method 93");
}

static void test_more_than_is_accepted(void **state) {
    (void)state;
    static struct zip zip;
    static char zeros[3 << 20];
    struct made many[101];
    char names[101][8];
    for (size_t i = 0; i < 101; i++) {
        snprintf(names[i], sizeof names[i], "%zu", i);
        many[i] = (struct made){.name = names[i], .data = "x"};
    }
    refuse_entries(many, 101, LIMOE_TOO_LARGE, "101 entries; up to 100");
    refuse_entries(&(struct made){.name = "b", .data = "x", .claims = (4 << 20) + 1}, 1, LIMOE_TOO_LARGE,
                   "\"b\" has 4194305");
    for (size_t i = 0; i < 3; i++)
        many[i].claims = 3 << 20;
    many[3].data = zeros; /* no more than a hundredfold */
    many[3].size = 100000;
    refuse_entries(many, 4, LIMOE_TOO_LARGE, "more than 8388608 bytes");
    const struct made bomb = {.name = "b", .data = zeros, .size = sizeof zeros, .method = DEFLATED};
    refuse_entries(&bomb, 1, LIMOE_TOO_LARGE, "more than 100 times");
    make(&zip, many, 1); /* a directory whose count is a lie: 16 bits of a larger number */
    zip.bytes[zip.size - 10 + 3] = 1;
    refuse(&zip, LIMOE_TOO_LARGE, "directory has");
    make(&zip, many, 1);
    memmove(zip.bytes + zip.size - 2, zip.bytes + zip.size - 22, 22);
    memset(zip.bytes + zip.size - 22, 0, 20);
    memcpy(zip.bytes + zip.size - 22, "PK\6\7", 4);
    zip.size += 20;
    refuse(&zip, LIMOE_UNSUPPORTED, "ZIP64");
    make(&zip, many, 1);
    for (int i = 0; i < 5; i++)
        put_end(&zip, 1, 0, 0);
    refuse(&zip, LIMOE_CORRUPT, "seems to end 6 times");
}

/* Entries that share their packed bytes make much of few. */
static void test_overlaps(void **state) {
    (void)state;
    static struct zip zip;
    const struct made entries[] = {
        {.name = "a", .data = "packed only once, and claimed by both of the entries there are"},
        {.name = "b", .data = "x"}};
    make(&zip, entries, 2);
    for (size_t at = 0; at + 46 < zip.size; at++)
        if (memcmp(zip.bytes + at, "PK\1\2", 4) == 0)
            zip.bytes[at + 20] = zip.bytes[at + 24] = 180;
    refuse(&zip, LIMOE_CORRUPT, "they overlap");
}

static void test_damage_shows_when_it_is_unpacked(void **state) {
    (void)state;
    static struct zip zip;
    char got[64];
    struct archive *archive;
    struct limoe_error err;
    uint8_t *bytes;
    struct made entry = {.name = "a", .data = "some bytes of a file"};
    make(&zip, &entry, 1);
    zip.bytes[31] ^= 1;
    assert_int_equal(open_copy(&zip, zip.size, &bytes, &archive, &err), LIMOE_OK);
    assert_int_equal(archive_read(archive, 0, got, &err), LIMOE_CORRUPT);
    assert_non_null(strstr(err.message, "\"a\" is damaged"));
    archive_close(archive);
    free(bytes);
    for (uint32_t claims = 19; claims <= 21; claims += 2) { /* fewer, and more, than there are */
        entry =
            (struct made){.name = "a", .data = "some bytes of a file", .method = DEFLATED, .claims = claims};
        make(&zip, &entry, 1);
        assert_int_equal(open_copy(&zip, zip.size, &bytes, &archive, &err), LIMOE_OK);
        assert_int_equal(archive_read(archive, 0, got, &err), LIMOE_CORRUPT);
        archive_close(archive);
        free(bytes);
    }
    entry = (struct made){.name = "a", .data = "x"};
    make(&zip, &entry, 1);
    assert_int_equal(open_copy(&zip, zip.size, &bytes, &archive, &err), LIMOE_OK);
    assert_int_equal(archive_unpack(archive, 0, -1, &err), LIMOE_IO);
    archive_close(archive);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_come_by_name), cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_names_and_kinds),    cmocka_unit_test(test_more_than_is_accepted),
        cmocka_unit_test(test_overlaps),           cmocka_unit_test(test_damage_shows_when_it_is_unpacked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
