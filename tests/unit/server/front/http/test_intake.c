/* test_intake.c - protects TLS sessions from being touched once the library has freed them, which it does
 * before it says that their connection is closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>

#include "server/front/http/intake.h"

/* In GnuTLS's place: one session, which is there or is not. */
static struct {
    bool freed;
    unsigned touched; /* after it was freed */
    void *pointer;
} session;

void gnutls_session_set_ptr(gnutls_session_t which, void *pointer) {
    assert_ptr_equal(which, &session);
    session.touched += session.freed;
    session.pointer = pointer;
}

static void test_a_session_is_not_touched_once_it_is_freed(void **state) {
    (void)state;
    struct intakes *intakes = intakes_new();
    assert_non_null(intakes);
    for (int fd = 3; fd < 9; fd++) {
        session.freed = false;
        struct intake *intake = intake_open(intakes, fd, (gnutls_session_t)&session);
        assert_non_null(intake);
        assert_ptr_equal(session.pointer, intake);
        session.freed = true;
        intake_close(intakes, intake);
        assert_int_equal(session.touched, 0);
    }
    intakes_free(intakes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_is_not_touched_once_it_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
