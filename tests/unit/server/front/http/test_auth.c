/* test_auth.c - protects which key opens what, what a key file may hold, and that a broken one changes
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "server/front/http/auth.h"
#include "server/front/http/key_line.h"

#define USER  "user-key-0123456789"
#define OTHER "other-key-0123456789"
#define ADMIN "admin-key-0123456789"

struct files {
    char users[32], admins[32];
    struct log *log;
};

static void put(const char *path, const char *text, size_t size) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void put_text(const char *path, const char *text) {
    put(path, text, strlen(text));
}

static int setup(void **state) {
    struct files *files = malloc(sizeof *files);
    assert_non_null(files);
    *files = (struct files){.users = "/tmp/test_auth.XXXXXX", .admins = "/tmp/test_auth.XXXXXX"};
    close(mkstemp(files->users));
    close(mkstemp(files->admins));
    files->log = log_new(STDERR_FILENO, LOG_TEXT, LOG_ERROR);
    put_text(files->users, "# for the tests\n\n" USER "\r\n" OTHER "\n");
    put_text(files->admins, ADMIN); /* no newline at the end */
    *state = files;
    return 0;
}

static int teardown(void **state) {
    struct files *files = *state;
    unlink(files->users);
    unlink(files->admins);
    log_free(files->log);
    free(files);
    return 0;
}

static struct auth *open_both(const struct files *files) {
    struct auth *auth = NULL;
    struct limoe_error err = {0};
    if (auth_new(files->users, files->admins, files->log, &auth, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return auth;
}

static enum auth_level level_of(struct auth *auth, const char *authorization) {
    struct account *account;
    const enum auth_level level = auth_check(auth, authorization, &account);
    account_release(account);
    return level;
}

static void each_key_has_its_level(void **state) {
    struct auth *auth = open_both(*state);
    assert_int_equal(level_of(auth, "Bearer " USER), AUTH_USER);
    assert_int_equal(level_of(auth, "Bearer " OTHER), AUTH_USER);
    assert_int_equal(level_of(auth, "bearer   " OTHER), AUTH_USER);
    assert_int_equal(level_of(auth, "Bearer " ADMIN), AUTH_ADMIN);
    auth_free(auth);
}

static void nothing_else_is_a_key(void **state) {
    struct auth *auth = open_both(*state);
    static const char *const others[] = {
        NULL,
        "",
        "Bearer",
        "Bearer ",
        USER,
        "Basic " USER,
        "Bearer" USER,
        "Bearer " USER " ",
        "Bearer " USER "x",
        "Bearer user-key-012345678",
        "Bearer User-key-0123456789",
        "Bearer # for the tests",
        "Bearer " USER "\r\n" OTHER,
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (level_of(auth, others[i]) != AUTH_NONE)
            fail_msg("%s is a key", others[i]);
    auth_free(auth);
}

static int status_of(struct auth *auth, enum auth_level level, const char *authorization) {
    struct api_error error = {.status = 200};
    struct account *account;
    bool allowed = auth_allow(auth, level, authorization, &account, &error);
    assert_null(account); /* no key has a name */
    assert_true(allowed == (error.status == 200));
    if (!allowed && authorization)
        assert_null(strstr(error.message, authorization + strlen("Bearer ")));
    return error.status;
}

static void what_needs_a_key_is_refused_without(void **state) {
    const struct files *files = *state;
    static const struct {
        bool users, admins;
        enum auth_level level;
        int without, wrong, user, admin;
    } table[] = {{true, true, AUTH_NONE, 200, 200, 200, 200},   {true, true, AUTH_USER, 401, 401, 200, 200},
                 {true, true, AUTH_ADMIN, 401, 401, 403, 200},  {true, false, AUTH_USER, 401, 401, 200, 401},
                 {true, false, AUTH_ADMIN, 403, 403, 403, 403}, {false, true, AUTH_USER, 200, 200, 200, 200},
                 {false, true, AUTH_ADMIN, 401, 401, 401, 200}, {false, false, AUTH_USER, 200, 200, 200, 200},
                 {false, false, AUTH_ADMIN, 403, 403, 403, 403}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct auth *auth = NULL;
        assert_int_equal(auth_new(table[i].users ? files->users : NULL,
                                  table[i].admins ? files->admins : NULL, files->log, &auth, NULL),
                         LIMOE_OK);
        assert_int_equal(status_of(auth, table[i].level, NULL), table[i].without);
        assert_int_equal(status_of(auth, table[i].level, "Bearer not-one-of-the-keys"), table[i].wrong);
        assert_int_equal(status_of(auth, table[i].level, "Bearer " USER), table[i].user);
        assert_int_equal(status_of(auth, table[i].level, "Bearer " ADMIN), table[i].admin);
        auth_free(auth);
    }
}

static void a_broken_file_is_named_and_changes_nothing(void **state) {
    const struct files *files = *state;
    struct auth *auth = open_both(files);
    static const struct {
        const char *text, *message;
    } broken[] = {
        {"", "holds no key"},
        {"# only this\n\n", "holds no key"},
        {USER "\nfifteen-bytes-x\n", ":2: the key has 15 bytes; accepted are 16 to 512"},
        {"\n" USER "\nwith space 0123456789\n", ":3: the key has 4 bytes"},
        {"caf\xC3\xA9-0123456789abcdef\n", ":1: byte 4 of the line is not accepted"},
        {"tab-0123456789abcdef\t\n", ":1: byte 21 of the line is not accepted"},
        {USER "\n" OTHER "\n# twice\n" USER "\n", ":4: the key is that of line 1"},
        {USER " name=a\n" OTHER " name=a\n", ":2: the name \"a\" is also that of line 1"},
        {USER " " OTHER "\n", ":1: word 1 behind the key is not accepted"},
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct limoe_error err = {0};
        put_text(files->users, broken[i].text);
        assert_int_not_equal(auth_reload(auth, &err), LIMOE_OK);
        if (!strstr(err.message, broken[i].message) || !strstr(err.message, files->users))
            fail_msg("\"%s\" does not say \"%s\"", err.message, broken[i].message);
        assert_null(strstr(err.message, "0123456789"));
        assert_int_equal(level_of(auth, "Bearer " OTHER), AUTH_USER);
        assert_int_equal(level_of(auth, "Bearer " ADMIN), AUTH_ADMIN);
    }
    struct limoe_error err = {0};
    static const char with_nul[] = USER "\0hidden\n" OTHER "\n";
    put(files->users, with_nul, sizeof with_nul - 1);
    assert_int_equal(auth_reload(auth, &err), LIMOE_INVALID);
    assert_non_null(strstr(err.message, ":1: byte 20 of the line"));
    auth_free(auth);
}

static void a_key_is_not_both(void **state) {
    const struct files *files = *state;
    struct auth *auth = NULL;
    struct limoe_error err = {0};
    put_text(files->admins, "# first\n" OTHER "\n");
    assert_int_equal(auth_new(files->users, files->admins, files->log, &auth, &err), LIMOE_INVALID);
    assert_non_null(strstr(err.message, ":2: the key is also in the API keys' file (line 4)"));
}

static void too_long_lines_are_refused_and_long_comments_are_not(void **state) {
    const struct files *files = *state;
    struct auth *auth = open_both(files);
    struct limoe_error err = {0};
    char text[3000];
    memset(text, 'k', sizeof text);
    text[KEY_MOST_BYTES + 1] = '\n';
    put(files->users, text, KEY_MOST_BYTES + 2);
    assert_int_equal(auth_reload(auth, &err), LIMOE_INVALID);
    assert_non_null(strstr(err.message, ":1: the key has 513 bytes"));
    put(files->users, text + 1, KEY_MOST_BYTES + 1);
    assert_int_equal(auth_reload(auth, &err), LIMOE_OK);
    memset(text, '#', sizeof text);
    memcpy(text + sizeof text - sizeof "\n" USER, "\n" USER, sizeof "\n" USER);
    put(files->users, text, sizeof text - 1);
    assert_int_equal(auth_reload(auth, &err), LIMOE_OK);
    assert_int_equal(level_of(auth, "Bearer " USER), AUTH_USER);
    auth_free(auth);
}

static void a_reload_replaces_all_keys(void **state) {
    const struct files *files = *state;
    struct auth *auth = open_both(files);
    put_text(files->users, "a-new-key-0123456789\n");
    assert_int_equal(level_of(auth, "Bearer " USER), AUTH_USER);
    assert_int_equal(auth_reload(auth, NULL), LIMOE_OK);
    assert_int_equal(level_of(auth, "Bearer " USER), AUTH_NONE);
    assert_int_equal(level_of(auth, "Bearer a-new-key-0123456789"), AUTH_USER);
    unlink(files->admins);
    struct limoe_error err = {0};
    assert_int_equal(auth_reload(auth, &err), LIMOE_NOT_FOUND);
    assert_non_null(strstr(err.message, files->admins));
    assert_int_equal(level_of(auth, "Bearer " ADMIN), AUTH_ADMIN);
    auth_free(auth);
}

static struct account *account_at(struct auth *auth, const char *authorization) {
    struct account *account;
    assert_int_equal(auth_check(auth, authorization, &account), AUTH_USER);
    return account;
}

/* Counters and balances outlive a reload, whatever key the name then goes by; a name that is gone takes them with it. */
static void a_name_keeps_its_account(void **state) {
    const struct files *files = *state;
    struct account_refusal refusal;
    struct account_counts counts;
    struct account *listed[AUTH_MOST_NAMES];
    put_text(files->users, USER " name=alice requests-per-minute=1\n" OTHER "\n");
    struct auth *auth = open_both(files);
    struct account *alice = account_at(auth, "Bearer " USER);
    assert_string_equal(account_name(alice), "alice");
    assert_null(account_at(auth, "Bearer " OTHER));
    assert_int_equal(auth_accounts(auth, listed), 1);
    assert_ptr_equal(listed[0], alice);
    account_release(listed[0]);
    assert_true(account_begin(alice, false, clock_now(), &refusal));
    assert_false(account_begin(alice, false, clock_now(), &refusal));

    put_text(files->users, "a-new-key-0123456789 name=alice requests-per-minute=1\n");
    assert_int_equal(auth_reload(auth, NULL), LIMOE_OK);
    struct account *again = account_at(auth, "Bearer a-new-key-0123456789");
    assert_ptr_equal(again, alice);
    assert_false(account_begin(again, false, clock_now(), &refusal));
    account_counts(again, &counts);
    assert_int_equal(counts.requests, 1);
    assert_int_equal(counts.refused[ACCOUNT_REQUESTS], 2);
    account_release(again);

    put_text(files->users, USER " name=bob\n");
    assert_int_equal(auth_reload(auth, NULL), LIMOE_OK);
    assert_int_equal(auth_accounts(auth, listed), 1);
    assert_string_equal(account_name(listed[0]), "bob");
    account_release(listed[0]);
    assert_string_equal(account_name(alice), "alice"); /* a request's own reference */
    account_release(alice);
    auth_free(auth);
}

static void names_are_of_both_files_and_bounded(void **state) {
    const struct files *files = *state;
    struct auth *auth = NULL;
    struct limoe_error err = {0};
    put_text(files->users, USER " name=a\n");
    put_text(files->admins, ADMIN " name=a\n");
    assert_int_equal(auth_new(files->users, files->admins, files->log, &auth, &err), LIMOE_INVALID);
    assert_non_null(strstr(err.message, ":1: the name \"a\" is also that of line 1 of the API keys' file"));

    FILE *file = fopen(files->users, "w");
    for (int i = 0; i <= AUTH_MOST_NAMES; i++)
        fprintf(file, "key-0123456789-%05d name=n%d\n", i, i);
    fclose(file);
    assert_int_equal(auth_new(files->users, NULL, files->log, &auth, &err), LIMOE_TOO_LARGE);
    assert_non_null(strstr(err.message, ":1001: more than 1000 keys with names"));
}

static void a_file_for_all_to_read_is_warned_of(void **state) {
    const struct files *files = *state;
    for (unsigned readable = 0; readable < 2; readable++) {
        FILE *written = tmpfile();
        struct log *log = log_new(fileno(written), LOG_TEXT, LOG_WARNING);
        struct auth *auth = NULL;
        char text[512] = "";
        chmod(files->users, readable ? 0644 : 0640);
        assert_int_equal(auth_new(files->users, NULL, log, &auth, NULL), LIMOE_OK);
        rewind(written);
        size_t size = fread(text, 1, sizeof text - 1, written);
        assert_int_equal(size > 0, readable);
        assert_true(!readable || strstr(text, files->users));
        auth_free(auth);
        log_free(log);
        fclose(written);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_key_has_its_level, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_else_is_a_key, setup, teardown),
        cmocka_unit_test_setup_teardown(what_needs_a_key_is_refused_without, setup, teardown),
        cmocka_unit_test_setup_teardown(a_broken_file_is_named_and_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_is_not_both, setup, teardown),
        cmocka_unit_test_setup_teardown(too_long_lines_are_refused_and_long_comments_are_not, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_reload_replaces_all_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_keeps_its_account, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_of_both_files_and_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_for_all_to_read_is_warned_of, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
