/* answer.c - the answers' JSON. Each function reads as the object it prints. */
#include "server/api/answer.h"

void answer_list_begin(struct buffer *out) {
    buffer_string(out, "{\"object\":\"list\",\"data\":[");
}

void answer_list_end(struct buffer *out, bool more) {
    buffer_print(out, "],\"has_more\":%s}", more ? "true" : "false");
}

void answer_deleted(struct buffer *out, const char *object, struct text name) {
    buffer_print(out, "{\"object\":\"%s.deleted\",\"name\":", object);
    buffer_json_text(out, name);
    buffer_string(out, ",\"deleted\":true}");
}

void answer_usage(struct buffer *out, const struct usage *usage) {
    buffer_string(out, "{\"prompt_tokens\":");
    buffer_json_unsigned(out, usage->prompt_tokens);
    buffer_string(out, ",\"image_tokens\":");
    buffer_json_unsigned(out, usage->image_tokens);
    buffer_string(out, ",\"total_tokens\":");
    buffer_json_unsigned(out, usage->prompt_tokens + usage->image_tokens);
    buffer_string(out, "}");
}

/* The comma between elements. */
static void separate(struct buffer *out, size_t i) {
    if (i)
        buffer_bytes(out, ",", 1);
}

static void member_unsigned(struct buffer *out, const char *name, uint64_t value) {
    buffer_string(out, ",\"");
    buffer_string(out, name);
    buffer_string(out, "\":");
    buffer_json_unsigned(out, value);
}

static void member_string(struct buffer *out, const char *name, const char *value) {
    buffer_string(out, ",\"");
    buffer_string(out, name);
    buffer_string(out, "\":");
    buffer_json_string(out, value);
}

/* ---- classify */

size_t answer_classify_size(const struct classify_request *request) {
    size_t all = 0, longest = 0;
    for (size_t i = 0; i < request->n_labels; i++) {
        all += request->labels[i].size;
        longest = request->labels[i].size > longest ? request->labels[i].size : longest;
    }
    const size_t most = request->top_k * longest;
    return request->n_images * (64 + request->top_k * 64 + (most < all ? most : all));
}

/* The value of "data". */
static void classifications(struct buffer *out, const struct text *labels, const struct classification *rows,
                            size_t n) {
    buffer_string(out, "[");
    for (size_t i = 0; i < n; i++) {
        separate(out, i);
        buffer_string(out, "{\"object\":\"classification\",\"index\":");
        buffer_json_unsigned(out, rows[i].index);
        buffer_string(out, ",\"predictions\":[");
        for (size_t k = 0; k < rows[i].count; k++) {
            const struct prediction *prediction = &rows[i].predictions[k];
            separate(out, k);
            buffer_string(out, "{\"label\":");
            buffer_json_text(out, labels[prediction->label]);
            buffer_string(out, ",\"score\":");
            buffer_json_float(out, prediction->score);
            buffer_string(out, ",\"cosine\":");
            buffer_json_float(out, prediction->cosine);
            buffer_string(out, "}");
        }
        buffer_string(out, "]}");
    }
    buffer_string(out, "]");
}

void answer_classify(struct buffer *out, const char *model, const struct text *labels,
                     const struct classification *rows, size_t n, const struct usage *usage) {
    buffer_string(out, "{\"object\":\"list\",\"model\":");
    buffer_json_string(out, model);
    buffer_string(out, ",\"data\":");
    classifications(out, labels, rows, n);
    buffer_string(out, ",\"usage\":");
    answer_usage(out, usage);
    buffer_string(out, "}");
}

void answer_variants_begin(struct buffer *out, const char *model) {
    buffer_string(out, "{\"object\":\"list\",\"model\":");
    buffer_json_string(out, model);
    buffer_string(out, ",\"variants\":[");
}

void answer_variant(struct buffer *out, size_t i, struct text adapter, const struct text *labels,
                    const struct classification *rows, size_t n) {
    separate(out, i);
    buffer_string(out, "{\"adapter\":");
    buffer_json_text(out, adapter);
    buffer_string(out, ",\"data\":");
    classifications(out, labels, rows, n);
    buffer_string(out, "}");
}

void answer_variants_end(struct buffer *out, const struct usage *usage) {
    buffer_string(out, "],\"usage\":");
    answer_usage(out, usage);
    buffer_string(out, "}");
}

/* ---- embeddings */

size_t answer_embeddings_size(size_t n, size_t embed, enum request_encoding encoding) {
    return n * (64 + embedding_size(embed, encoding));
}

void answer_embeddings(struct buffer *out, const char *model, const float *embeddings, const size_t *index,
                       size_t n, size_t embed, enum request_encoding encoding, const struct usage *usage) {
    const bool scaled = (encoding & ~REQUEST_BASE64) == REQUEST_INT8;
    buffer_reserve(out, answer_embeddings_size(n, embed, encoding));
    buffer_string(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        const float *row = embeddings + i * embed;
        separate(out, i);
        buffer_string(out, "{\"object\":\"embedding\",\"index\":");
        buffer_json_unsigned(out, index ? index[i] : i);
        buffer_string(out, ",\"embedding\":");
        const float scale = embedding_write(out, row, embed, encoding);
        if (scaled) {
            buffer_string(out, ",\"scale\":");
            buffer_json_float(out, scale);
        }
        buffer_string(out, "}");
    }
    buffer_string(out, "],\"model\":");
    buffer_json_string(out, model);
    buffer_string(out, ",\"usage\":");
    answer_usage(out, usage);
    buffer_string(out, "}");
}

/* ---- routing */

/* One layer's share of one item: for each token its experts, by descending gate, and their gates. */
static void routing_layer(struct buffer *out, uint32_t block, const int32_t *expert, const float *gate,
                          size_t tokens, size_t top_k) {
    buffer_string(out, "{\"block\":");
    buffer_json_unsigned(out, block);
    buffer_string(out, ",\"experts\":[");
    for (size_t t = 0; t < tokens; t++) {
        separate(out, t);
        buffer_string(out, "[");
        for (size_t k = 0; k < top_k; k++) {
            separate(out, k);
            buffer_json_unsigned(out, (uint64_t)expert[t * top_k + k]);
        }
        buffer_string(out, "]");
    }
    buffer_string(out, "],\"gates\":[");
    for (size_t t = 0; t < tokens; t++) {
        separate(out, t);
        buffer_string(out, "[");
        for (size_t k = 0; k < top_k; k++) {
            separate(out, k);
            buffer_json_float(out, gate[t * top_k + k]);
        }
        buffer_string(out, "]");
    }
    buffer_string(out, "]}");
}

/* What the tokens of one item are: the cells of a grid, row by row, or pieces of the vocabulary. */
static void routing_tokens(struct buffer *out, const struct limoe_info *model,
                           const struct limoe_item *item) {
    member_string(out, "modality", item->modality == LIMOE_IMAGE ? "image" : "text");
    member_unsigned(out, "tokens", item->length);
    if (item->modality == LIMOE_IMAGE) {
        const uint32_t side = model->image_size / model->patch;
        buffer_print(out, ",\"grid\":{\"rows\":%u,\"columns\":%u}", side, side);
        if (item->length > side * side) /* before the grid's first cell */
            buffer_string(out, ",\"class_token\":true");
        return;
    }
    buffer_string(out, ",\"token_ids\":[");
    for (uint32_t t = 0; t < item->length; t++) {
        separate(out, t);
        buffer_json_unsigned(out, (uint64_t)item->tokens[t]);
    }
    buffer_string(out, "]");
}

/* Of two towers, each modality passes its own: the pictures' blocks come first. */
static bool passes(const struct limoe_info *model, enum limoe_modality modality, uint32_t layer) {
    const bool image = model->moe_blocks[layer] < model->tower[LIMOE_IMAGE].blocks;
    return model->towers == 1 || image == (modality == LIMOE_IMAGE);
}

size_t answer_routing_size(const struct limoe_info *model, size_t n, size_t rows) {
    const size_t a_row = 8 + model->moe_layers * (4 + (size_t)model->top_k * 16);
    return n * (128 + (size_t)model->moe_layers * 40) + rows * a_row;
}

void answer_routing(struct buffer *out, const struct limoe_info *model, const struct limoe_item *items,
                    size_t n, const struct limoe_routing *routing, const struct usage *usage) {
    size_t rows = 0;
    for (size_t i = 0; i < n; i++)
        rows += items[i].length;
    buffer_reserve(out, answer_routing_size(model, n, rows));

    buffer_string(out, "{\"object\":\"list\",\"model\":");
    buffer_json_string(out, model->name);
    member_unsigned(out, "experts", model->experts);
    member_unsigned(out, "top_k", model->top_k);
    buffer_string(out, ",\"data\":[");
    size_t row = 0;
    for (size_t i = 0; i < n; i++) {
        separate(out, i);
        buffer_string(out, "{\"object\":\"routing\",\"index\":");
        buffer_json_unsigned(out, i);
        routing_tokens(out, model, &items[i]);
        buffer_string(out, ",\"layers\":[");
        for (uint32_t layer = 0, passed = 0; layer < model->moe_layers; layer++) {
            const size_t at = (layer * rows + row) * model->top_k;
            if (!passes(model, items[i].modality, layer))
                continue;
            separate(out, passed++);
            routing_layer(out, model->moe_blocks[layer], routing->expert + at, routing->gate + at,
                          items[i].length, model->top_k);
        }
        buffer_string(out, "]}");
        row += items[i].length;
    }
    buffer_string(out, "],\"usage\":");
    answer_usage(out, usage);
    buffer_string(out, "}");
}

/* ---- models */

static void tower_shape(struct buffer *out, const struct limoe_tower *tower) {
    buffer_print(out, ",\"width\":%u,\"blocks\":%u,\"heads\":%u,\"mlp\":%u", tower->width, tower->blocks,
                 tower->heads, tower->mlp);
}

static void image_shape(struct buffer *out, const struct limoe_info *info) {
    if (!limoe_has(info, LIMOE_IMAGE)) {
        buffer_string(out, ",\"image\":null");
        return;
    }
    buffer_print(out, ",\"image\":{\"size\":%u,\"patch\":%u,\"tokens\":%u", info->image_size, info->patch,
                 info->image_tokens);
    if (info->towers == 2)
        tower_shape(out, &info->tower[LIMOE_IMAGE]);
    buffer_string(out, "}");
}

static void text_shape(struct buffer *out, const struct limoe_info *info) {
    if (!limoe_has(info, LIMOE_TEXT)) {
        buffer_string(out, ",\"text\":null");
        return;
    }
    buffer_print(out, ",\"text\":{\"vocab\":%u,\"length\":%u", info->vocab, info->text_length);
    if (info->towers == 2)
        tower_shape(out, &info->tower[LIMOE_TEXT]);
    buffer_string(out, "}");
}

/* Pictures can be scored by texts. */
static bool classifies(const struct limoe_info *info) {
    return limoe_has(info, LIMOE_IMAGE) && limoe_has(info, LIMOE_TEXT);
}

static void scoring_shape(struct buffer *out, const struct limoe_info *info) {
    if (!classifies(info)) {
        buffer_string(out, ",\"scores\":null,\"logit_scale\":null");
        return;
    }
    member_string(out, "scores", info->scoring.kind == LIMOE_SIGMOID ? "sigmoid" : "softmax");
    buffer_string(out, ",\"logit_scale\":");
    buffer_json_float(out, info->scoring.scale);
    if (info->scoring.kind == LIMOE_SIGMOID) {
        buffer_string(out, ",\"logit_bias\":");
        buffer_json_float(out, info->scoring.bias);
    }
}

/* Only of a model that has one. */
static void decoder_shape(struct buffer *out, const struct limoe_info *info) {
    if (!info->decoder.blocks)
        return;
    buffer_print(out, ",\"decoder\":{\"length\":%u", info->caption_length);
    tower_shape(out, &info->decoder);
    buffer_string(out, "}");
}

/* The members that a running model and a model directory have in common. */
static void model_shape(struct buffer *out, const struct limoe_info *info) {
    member_string(out, "architecture", info->architecture);
    if (info->towers == 1)
        tower_shape(out, &info->tower[LIMOE_IMAGE]);
    member_unsigned(out, "embed", info->embed);
    image_shape(out, info);
    text_shape(out, info);
    buffer_string(out, ",\"moe\":");
    if (info->moe_layers) {
        buffer_string(out, "{\"blocks\":[");
        for (uint32_t i = 0; i < info->moe_layers; i++) {
            separate(out, i);
            buffer_json_unsigned(out, info->moe_blocks[i]);
        }
        buffer_print(out, "],\"experts\":%u,\"top_k\":%u}", info->experts, info->top_k);
    } else
        buffer_string(out, "null");
    buffer_string(out, ",\"parameters\":{\"total\":");
    buffer_json_unsigned(out, info->total_parameters);
    buffer_string(out, ",\"active\":");
    buffer_json_unsigned(out, info->active_parameters);
    buffer_string(out, "}");
    member_unsigned(out, "weight_bytes", info->weight_bytes);
    scoring_shape(out, info);
}

/* What each of n ranks holds. */
static void rank_list(struct buffer *out, const struct limoe_rank *rank, uint32_t n) {
    buffer_string(out, "[");
    for (uint32_t r = 0; r < n; r++) {
        separate(out, r);
        buffer_string(out, "{\"rank\":");
        buffer_json_unsigned(out, r);
        member_unsigned(out, "experts", rank[r].experts);
        member_unsigned(out, "dense_bytes", rank[r].dense_bytes);
        member_unsigned(out, "expert_bytes", rank[r].expert_bytes);
        buffer_string(out, "}");
    }
    buffer_string(out, "]");
}

static void member_aliases(struct buffer *out, const struct answer_model *model) {
    struct model_alias entry;
    size_t n = 0;
    buffer_string(out, ",\"aliases\":[");
    for (const char *list = model->models->aliases; model_names_next(&list, &entry);) {
        if (!model_names_is_of(model->models, &entry, model->index))
            continue;
        separate(out, n++);
        buffer_json_text(out, entry.alias);
    }
    buffer_string(out, "]");
}

/* What requests may ask the model for. */
static void member_capabilities(struct buffer *out, const struct limoe_info *info) {
    buffer_string(out, classifies(info) ? ",\"capabilities\":[\"classify\",\"embeddings\""
                                        : ",\"capabilities\":[\"embeddings\"");
    if (info->moe_layers)
        buffer_string(out, ",\"routing\"");
    if (classifies(info) && info->shares != LIMOE_SHARES_NONE)
        buffer_string(out, ",\"attention\"");
    if (info->decoder.blocks)
        buffer_string(out, ",\"captions\"");
    buffer_string(out, "]");
}

void answer_model(struct buffer *out, const struct answer_model *model) {
    buffer_string(out, "{\"id\":");
    buffer_json_string(out, model->info->name);
    buffer_print(out, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"limoe\"",
                 (long long)model->created);
    buffer_string(out, model->ready ? ",\"ready\":true" : ",\"ready\":false");
    member_aliases(out, model);
    member_capabilities(out, model->info);
    member_string(out, "dtype", model->dtype);
    member_string(out, "backend", model->backend);
    member_string(out, "fingerprint", model->fingerprint);
    member_unsigned(out, "threads", model->threads);
    member_unsigned(out, "ranks", model->ranks);
    buffer_string(out, ",\"by_rank\":");
    rank_list(out, model->rank, model->ranks);
    model_shape(out, model->info);
    decoder_shape(out, model->info);
    buffer_string(out, "}");
}

void answer_models(struct buffer *out, const struct answer_model *models, size_t n) {
    buffer_string(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        separate(out, i);
        answer_model(out, &models[i]);
    }
    buffer_string(out, "]}");
}

/* "ranks": what each holds; "placement": by layer and expert, the ranks that hold it. */
static void member_ranks(struct buffer *out, const struct limoe_placement *ranks) {
    member_string(out, "dtype", limoe_dtype_name(ranks->dtype));
    member_unsigned(out, "expert_bytes", ranks->expert_bytes);
    buffer_string(out, ",\"ranks\":");
    rank_list(out, ranks->rank, ranks->ranks);
    buffer_string(out, ",\"placement\":[");
    for (uint32_t layer = 0; layer < ranks->layers; layer++) {
        const uint32_t *first = ranks->first + (size_t)layer * ranks->experts;
        separate(out, layer);
        buffer_string(out, "[");
        for (uint32_t e = 0; e < ranks->experts; e++) {
            separate(out, e);
            buffer_string(out, "[");
            for (uint32_t i = first[e]; i < first[e + 1]; i++) {
                separate(out, i - first[e]);
                buffer_json_unsigned(out, ranks->owner[i]);
            }
            buffer_string(out, "]");
        }
        buffer_string(out, "]");
    }
    buffer_string(out, "]");
    if (!ranks->imbalance)
        return;
    buffer_string(out, ",\"imbalance\":[");
    for (uint32_t layer = 0; layer < ranks->layers; layer++) {
        separate(out, layer);
        buffer_json_float(out, (float)ranks->imbalance[layer]);
    }
    buffer_string(out, "]");
}

uint32_t answer_fullest_card(const struct limoe_cards *cards) {
    uint32_t fullest = 0;
    for (uint32_t r = 1; r < cards->ranks; r++)
        if (cards->card[r].bytes > cards->card[fullest].bytes)
            fullest = r;
    return fullest;
}

static void card_object(struct buffer *out, uint32_t rank, const struct limoe_card *card) {
    buffer_print(out, "{\"rank\":%u", rank);
    member_unsigned(out, "dense_bytes", card->dense_bytes);
    member_unsigned(out, "expert_bytes", card->expert_bytes);
    member_unsigned(out, "workspace_bytes", card->workspace_bytes);
    member_unsigned(out, "exchange_bytes", card->exchange_bytes);
    member_unsigned(out, "staging_bytes", card->staging_bytes);
    member_unsigned(out, "set_aside_bytes", card->set_aside_bytes);
    member_unsigned(out, "bytes", card->bytes);
    buffer_string(out, "}");
}

/* "gpus": what each rank takes, and whether cards of a given memory hold it. */
static void member_cards(struct buffer *out, const struct answer_cards *answer) {
    const struct limoe_cards *cards = answer->cards;
    buffer_print(out, ",\"gpus\":{\"step_tokens\":%llu,\"by_rank\":[",
                 (unsigned long long)cards->step_tokens);
    for (uint32_t r = 0; r < cards->ranks; r++) {
        separate(out, r);
        card_object(out, r, &cards->card[r]);
    }
    buffer_string(out, "]");
    if (answer->card_bytes) {
        const uint64_t fullest = cards->card[answer_fullest_card(cards)].bytes;
        member_unsigned(out, "card_bytes", answer->card_bytes);
        buffer_print(out, ",\"fits\":%s", fullest <= answer->card_bytes ? "true" : "false");
        if (answer->fewest_ranks)
            member_unsigned(out, "fewest_ranks", answer->fewest_ranks);
        else
            buffer_string(out, ",\"fewest_ranks\":null");
    }
    buffer_string(out, "}");
}

static void member_cosines(struct buffer *out, const char *name, const struct answer_cosines *cosines) {
    if (!cosines->items)
        return;
    buffer_print(out, ",\"%s\":{\"items\":%zu,\"least\":", name, cosines->items);
    buffer_json_float(out, (float)cosines->least);
    buffer_string(out, ",\"mean\":");
    buffer_json_float(out, (float)cosines->mean);
    buffer_string(out, "}");
}

static void member_comparison(struct buffer *out, const struct answer_comparison *comparison) {
    buffer_string(out, ",\"cosines\":{\"dtype\":");
    buffer_json_string(out, limoe_dtype_name(comparison->dtype));
    member_string(out, "beside", limoe_dtype_name(comparison->beside));
    member_cosines(out, "pictures", &comparison->pictures);
    member_cosines(out, "texts", &comparison->texts);
    buffer_string(out, "}");
}

void answer_inspection(struct buffer *out, const struct limoe_inspection *inspection,
                       const struct limoe_placement *ranks, const struct answer_cards *cards,
                       const struct answer_comparison *comparison) {
    buffer_string(out, "{\"id\":");
    buffer_json_string(out, inspection->info.name);
    buffer_string(out, ",\"object\":\"model_directory\"");
    member_string(out, "checkpoint_dtypes", inspection->checkpoint_dtypes);
    model_shape(out, &inspection->info);
    decoder_shape(out, &inspection->info);
    buffer_string(out, ",\"by_block\":[");
    for (uint32_t i = 0; i < inspection->info.blocks; i++) {
        const struct limoe_block_info *block = &inspection->block[i];
        separate(out, i);
        buffer_string(out, "{\"block\":");
        buffer_json_unsigned(out, i);
        member_string(out, "kind", block->moe ? "moe" : "dense");
        member_unsigned(out, "attention_parameters", block->attention_parameters);
        member_unsigned(out, "router_parameters", block->router_parameters);
        member_unsigned(out, "mlp_parameters", block->mlp_parameters);
        member_unsigned(out, "active_mlp_parameters", block->active_mlp_parameters);
        buffer_string(out, "}");
    }
    buffer_string(out, "]");
    if (ranks)
        member_ranks(out, ranks);
    if (cards)
        member_cards(out, cards);
    if (comparison)
        member_comparison(out, comparison);
    buffer_string(out, "}");
}

/* ---- errors */

void answer_error(struct buffer *out, const struct api_error *error) {
    buffer_string(out, "{\"error\":{\"message\":");
    buffer_json_string(out, error->message);
    member_string(out, "type", api_error_type(error->status));
    member_string(out, "param", *error->param ? error->param : NULL);
    member_string(out, "code", error->code);
    buffer_string(out, "}}");
}
