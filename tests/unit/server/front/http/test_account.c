/* test_account.c - protects what a quota lets in and when again, that what was not computed is given back, and what headers
 * say. Time is given: nothing here waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "server/front/http/account.h"

static struct account *account_of(uint64_t requests, uint64_t tokens) {
    struct account *account = account_new(text_of("alice"));
    assert_non_null(account);
    account_set_quotas(account, (const uint64_t[ACCOUNT_KINDS]){requests, tokens});
    return account;
}

static unsigned begin(struct account *account, int64_t now) {
    struct account_refusal refusal = {.seconds = 0};
    const bool good = account_begin(account, true, now, &refusal);
    assert_true(good == (refusal.seconds == 0));
    return refusal.seconds;
}

static void requests_come_back_one_by_one(void **state) {
    (void)state;
    struct account *account = account_of(6, 0); /* one in ten seconds */
    const int64_t now = clock_now() + CLOCK_SECOND;
    for (int i = 0; i < 6; i++)
        assert_int_equal(begin(account, now), 0);
    assert_int_equal(begin(account, now), 10);
    assert_int_equal(begin(account, now + 1), 10); /* a nanosecond is no request */
    assert_int_equal(begin(account, now + 4 * CLOCK_SECOND), 6);
    assert_int_equal(begin(account, now + 10 * CLOCK_SECOND), 0);
    assert_int_equal(begin(account, now + 10 * CLOCK_SECOND), 10);
    assert_int_equal(begin(account, now + 5 * CLOCK_SECOND),
                     10);       /* an earlier time than before fills nothing */
    for (int i = 0; i < 6; i++) /* an hour is a minute's worth */
        assert_int_equal(begin(account, now + 3600 * CLOCK_SECOND), 0);
    assert_int_equal(begin(account, now + 3600 * CLOCK_SECOND), 10);
    account_release(account);
}

static void what_takes_too_much_is_paid_afterwards(void **state) {
    (void)state;
    struct account *account = account_of(0, 60); /* one a second */
    struct account_refusal refusal;
    const int64_t now = clock_now() + CLOCK_SECOND;
    assert_int_equal(begin(account, now), 0);
    assert_int_equal(begin(account, now), 0);
    assert_true(account_charge(account, 200, now, &refusal)); /* more than a minute's worth */
    assert_false(account_charge(account, 1, now, &refusal));  /* the other came at once, and is late */
    assert_int_equal(refusal.kind, ACCOUNT_TOKENS);
    assert_int_equal(refusal.quota, 60);
    assert_int_equal(refusal.seconds, 141);
    assert_int_equal(begin(account, now), 141);
    assert_true(account_begin(account, false, now, &refusal)); /* takes no tokens */
    assert_int_equal(begin(account, now + 141 * CLOCK_SECOND), 0);
    account_release(account);
}

static void what_was_not_computed_is_given_back(void **state) {
    (void)state;
    struct account *account = account_of(0, 100);
    struct account_refusal refusal;
    struct account_counts counts;
    const int64_t now = clock_now() + CLOCK_SECOND;
    assert_true(account_charge(account, 100, now, &refusal));
    account_settle(account, true, 100, 3);
    assert_false(account_charge(account, 1, now, &refusal));
    account_settle(account, false, 70, 2);
    assert_true(account_charge(account, 70, now, &refusal));
    account_settle(account, false, 1000, 0); /* never more than a minute's worth */
    assert_true(account_charge(account, 100, now, &refusal));
    assert_false(account_charge(account, 1, now, &refusal));
    account_counts(account, &counts);
    assert_int_equal(counts.tokens, 100);
    assert_int_equal(counts.pictures, 3);
    assert_int_equal(counts.refused[ACCOUNT_TOKENS], 2);
    account_release(account);
}

static void quotas_may_change(void **state) {
    (void)state;
    struct account *account = account_of(0, 0);
    struct account_refusal refusal;
    const int64_t now = clock_now() + CLOCK_SECOND;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(begin(account, now), 0);
    assert_true(account_charge(account, UINT32_MAX, now, &refusal));
    account_set_quotas(account, (const uint64_t[ACCOUNT_KINDS]){2, 2}); /* what was free is not owed */
    assert_int_equal(begin(account, now), 0);
    account_set_quotas(account, (const uint64_t[ACCOUNT_KINDS]){1, 2}); /* no more than there may be */
    assert_int_equal(begin(account, now), 0);
    assert_int_not_equal(begin(account, now), 0);
    account_set_quotas(account, (const uint64_t[ACCOUNT_KINDS]){0, 2});
    assert_int_equal(begin(account, now), 0);
    account_release(account);
}

static void headers_say_what_is_left(void **state) {
    (void)state;
    char policy[ACCOUNT_HEADER_SIZE], left[ACCOUNT_HEADER_SIZE];
    struct account_refusal refusal;
    struct account *account = account_of(60, 1000000000);
    const int64_t now = clock_now() + CLOCK_SECOND;
    for (int i = 0; i < 3; i++)
        assert_int_equal(begin(account, now), 0);
    assert_true(account_charge(account, 2000000000, now, &refusal));
    assert_true(account_headers(account, now, policy, left));
    assert_string_equal(policy, "\"requests\";q=60;w=60, \"tokens\";q=1000000000;w=60");
    assert_string_equal(left, "\"requests\";r=57;t=3, \"tokens\";r=0;t=120");
    account_set_quotas(account, (const uint64_t[ACCOUNT_KINDS]){0, 0});
    assert_false(account_headers(account, now, policy, left));
    account_release(account);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(requests_come_back_one_by_one),
                                       cmocka_unit_test(what_takes_too_much_is_paid_afterwards),
                                       cmocka_unit_test(what_was_not_computed_is_given_back),
                                       cmocka_unit_test(quotas_may_change),
                                       cmocka_unit_test(headers_say_what_is_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
