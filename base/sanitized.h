/* sanitized.h - whether this build has a sanitizer that keeps a shadow of the memory.
 *
 * Such builds are for tests. They need more memory, address space and system calls than the program itself,
 * so limits on these are left off in them, in the sandbox and in the tests that measure.
 */
#ifndef LIMOE_BASE_SANITIZED_H
#define LIMOE_BASE_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature) /* clang's way to say so */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
