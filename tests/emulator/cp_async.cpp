/* cp_async.cpp - cp.async: copies of 4, 8 or 16 bytes from global to shared memory that a thread waits for
 * later.
 *
 * The destination is garbage from the instruction on, and the bytes are read and written only by the wait
 * that makes them due, so a read too early, a source overwritten or a wait too lax all show.
 */
#include "tests/emulator/engine.h"

namespace emulator {

void cp_async(void *shared, const void *global, unsigned bytes, bool valid) {
    check_shared(shared, bytes, bytes, "cp.async");
    if (valid && (uintptr_t)global % bytes)
        die("cp.async: the global address %p is not a multiple of %u", global, bytes);
    fill_garbage(shared, bytes);
    running.current->open.push_back({(unsigned char *)shared, (const unsigned char *)global, bytes, valid});
}

void cp_async_commit() {
    thread &t = *running.current;
    t.groups.emplace_back();
    t.groups.back().swap(t.open);
}

void cp_async_wait(unsigned groups) {
    thread &t = *running.current;
    while (t.groups.size() > groups) {
        for (const async_copy &c : t.groups.front())
            if (c.valid)
                memcpy(c.to, c.from, c.bytes);
            else
                memset(c.to, 0, c.bytes);
        t.groups.pop_front();
    }
}

void cp_async_thread_ends(thread &t) {
    size_t left = t.open.size();
    for (const auto &g : t.groups)
        left += g.size();
    if (left)
        die("the thread ends with %zu copies of cp.async that it never waited for", left);
    t.groups.clear();
}

} // namespace emulator
