/* options.c - limoe_caption_check: defaults, and what is accepted. No state, any thread. */
#include "model/caption/options.h"

#include "base/error.h"

static enum limoe_status check_number(const char *name, uint32_t found, uint32_t least, uint32_t most,
                                      struct limoe_error *err) {
    if (found >= least && found <= most)
        return LIMOE_OK;
    return limoe_fail(err, LIMOE_INVALID, "%s is %u; %u to %u is accepted", name, found, least, most);
}

static void fill_defaults(const struct limoe_info *info, struct limoe_caption_options *o) {
    o->n = o->n ? o->n : 1;
    o->beams = o->beams ? o->beams : 1;
    o->temperature = o->temperature != 0 ? o->temperature : 1;
    o->max_length = o->max_length ? o->max_length : info->caption_length;
}

enum limoe_status limoe_caption_check(const struct limoe_info *info,
                                      const struct limoe_caption_options *asked,
                                      struct limoe_caption_options *o, struct limoe_error *err) {
    enum limoe_status status;
    *o = asked ? *asked : (struct limoe_caption_options){0};
    if (!info->decoder.blocks)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "\"%s\" has no decoder; models whose config.json has \"decoder\" caption pictures",
                          info->name);
    fill_defaults(info, o);
    if ((status = check_number("beams", o->beams, 1, LIMOE_CAPTION_MAX_BEAMS, err)) ||
        (status = check_number("n", o->n, 1, o->top_k ? LIMOE_CAPTION_MAX : o->beams, err)) ||
        (status = check_number("top_k", o->top_k, 0, info->vocab, err)) ||
        (status = check_number("max_length", o->max_length, 1, info->caption_length, err)) ||
        (status = check_number("min_length", o->min_length, 0, o->max_length, err)))
        return status;
    if (o->top_k && o->beams > 1)
        return limoe_fail(err, LIMOE_INVALID,
                          "beams is %u and top_k %u; captions are searched or sampled, by one of the two",
                          o->beams, o->top_k);
    if (!(o->temperature >= 0.01f && o->temperature <= 100))
        return limoe_fail(err, LIMOE_INVALID, "temperature is %g; 0.01 to 100 is accepted",
                          (double)o->temperature);
    return LIMOE_OK;
}
