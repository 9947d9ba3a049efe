/* model.h - opening a model on a given backend; what limoe_model_open does after choosing one. */
#ifndef LIMOE_MODEL_MODEL_H
#define LIMOE_MODEL_MODEL_H

#include "kernels/kernels.h"
#include "limoe.h"

/* The model owns k from here on, on failure too. Of the options, device, dtype and threads are k's. */
enum limoe_status model_open_on(const char *dir, struct kernels *k, const struct limoe_options *options,
                                struct limoe_model **out, struct limoe_error *err);

/* The dtype to ask the kernels for: AUTO is int8 on CPUs where the checkpoint is. */
enum limoe_dtype model_dtype(enum limoe_dtype asked, enum kernels_kind kind, bool int8);

#endif
