/* emulator_from_c.h - the runtime API called from C, whose headers must be C. */
#ifndef LIMOE_TESTS_EMULATOR_TESTS_EMULATOR_FROM_C_H
#define LIMOE_TESTS_EMULATOR_TESTS_EMULATOR_FROM_C_H

#ifdef __cplusplus
extern "C" {
#endif

/* Sends n numbers to the device and back; the number of those that came back as they were. */
int numbers_there_and_back(int n);

/* Whether a tensor map of rank 1 can be made. */
int tensor_map_from_c(void);

#ifdef __cplusplus
}
#endif
#endif
