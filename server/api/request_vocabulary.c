/* request_vocabulary.c - PUT /v1/vocabularies/{name}: terms, or objects and what they have; and the query of GET. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/classifier.h"
#include "server/api/request_parts.h"
#include "server/api/vocabularies.h"
#include "server/vocabulary/vocabulary.h"

_Static_assert(VOCABULARY_MOST_OBJECTS == 4096 && REQUEST_MAX_LABEL_BYTES == 1024 &&
                   VOCABULARY_MOST_TERMS == 100000,
               "as the schemas have it");

#define OBJECT_JOINS " with "

const struct json_limits request_vocabulary_limits = {
    /* Of objects each list is a value, too; and what stands beside the terms. Twice as many are read, so that a list that is too
     * long is told so by its name. */
    .values = 2 * VOCABULARY_MOST_TERMS + VOCABULARY_MOST_OBJECTS + 64,
    .members = VOCABULARY_MOST_OBJECTS};

struct reader {
    const struct json_value *terms, *objects; /* read last */
    struct vocabulary_definition *out;
    struct arena *arena;
    struct api_error *error;
};

/* ---- terms */

static bool refuse_count(size_t n, const char *field, struct api_error *error) {
    return api_fail(error, 400, "too_many_terms", field, "%zu terms; up to %u are accepted", n,
                    VOCABULARY_MOST_TERMS);
}

static bool read_terms(struct reader *r, struct text **terms, size_t *n) {
    const struct json_value *list = r->terms;
    if (list->type != JSON_ARRAY)
        return request_refuse_type("terms", "a list of strings", list->type, r->error);
    if (list->count > VOCABULARY_MOST_TERMS)
        return refuse_count(list->count, "terms", r->error);
    *terms = arena_array(r->arena, list->count, sizeof **terms);
    if (!*terms)
        return api_fail_memory(r->error);
    for (const struct json_value *item = list->child; item; item = item->next) {
        char param[48];
        snprintf(param, sizeof param, "terms[%zu]", *n);
        if (item->type != JSON_STRING)
            return request_refuse_type(param, "a string", item->type, r->error);
        if (!request_check_text(item->string, "terms", *n, "empty_terms", r->error))
            return false;
        (*terms)[(*n)++] = item->string;
    }
    return true;
}

/* ---- objects: "cat" and "pointed ears" → "cat with pointed ears" */

/* "objects.cat", so short that an index fits behind it. */
static const char *name_object(struct text name, char param[24]) {
    char quoted[16];
    snprintf(param, 24, "objects.%s", text_quote(name, quoted, sizeof quoted));
    return param;
}

static bool join(struct reader *r, struct text object, struct text what, struct text *out) {
    const size_t between = sizeof OBJECT_JOINS - 1;
    char *joined = arena_alloc(r->arena, object.size + between + what.size);
    if (!joined)
        return api_fail_memory(r->error);
    memcpy(joined, object.data, object.size);
    memcpy(joined + object.size, OBJECT_JOINS, between);
    memcpy(joined + object.size + between, what.data, what.size);
    *out = (struct text){.data = joined, .size = object.size + between + what.size};
    return true;
}

static bool read_object(struct reader *r, const struct json_value *object, struct text *terms, size_t *n) {
    char param[24];
    name_object(object->name, param);
    if (text_blank(object->name))
        return api_fail(r->error, 400, "empty_terms", "objects", "an object has no name");
    size_t i = 0;
    for (const struct json_value *item = object->child; item; item = item->next, i++) {
        if (item->type != JSON_STRING) {
            char one[48];
            snprintf(one, sizeof one, "%s[%zu]", param, i);
            return request_refuse_type(one, "a string", item->type, r->error);
        }
        if (!request_check_text(item->string, param, i, "empty_terms", r->error) ||
            !join(r, object->name, item->string, &terms[*n]) ||
            !request_check_text(terms[*n], param, i, "empty_terms", r->error))
            return false;
        ++*n;
    }
    return true;
}

static bool read_objects(struct reader *r, struct text **terms, size_t *n) {
    char param[24];
    size_t count = 0;
    if (r->objects->type != JSON_OBJECT)
        return request_refuse_type("objects", "an object of lists of strings", r->objects->type, r->error);
    for (const struct json_value *object = r->objects->child; object; object = object->next) {
        if (object->type != JSON_ARRAY)
            return request_refuse_type(name_object(object->name, param), "a list of strings", object->type,
                                       r->error);
        count += object->count;
    }
    if (count > VOCABULARY_MOST_TERMS)
        return refuse_count(count, "objects", r->error);
    *terms = arena_array(r->arena, count, sizeof **terms);
    if (!*terms)
        return api_fail_memory(r->error);
    for (const struct json_value *object = r->objects->child; object; object = object->next)
        if (!read_object(r, object, *terms, n))
            return false;
    return true;
}

/* ---- each once */

struct place {
    struct text term;
    size_t at;
};

static int compare(const void *left, const void *right) {
    const struct place *a = left, *b = right;
    const size_t size = a->term.size < b->term.size ? a->term.size : b->term.size;
    const int order = memcmp(a->term.data, b->term.data, size);
    if (order || a->term.size != b->term.size)
        return order ? order : (a->term.size > b->term.size) - (a->term.size < b->term.size);
    return (a->at > b->at) - (a->at < b->at);
}

/* Of terms that are alike the first stays; the others keep their order. */
static bool keep_once(struct reader *r, struct text *terms, size_t *n) {
    struct place *places = arena_array(r->arena, *n, sizeof *places);
    size_t kept = 0;
    if (!places)
        return api_fail_memory(r->error);
    for (size_t i = 0; i < *n; i++)
        places[i] = (struct place){.term = terms[i], .at = i};
    qsort(places, *n, sizeof *places, compare);
    for (size_t i = 1; i < *n; i++)
        if (text_equal(places[i].term, places[i - 1].term))
            terms[places[i].at].data = NULL;
    for (size_t i = 0; i < *n; i++)
        if (terms[i].data)
            terms[kept++] = terms[i];
    *n = kept;
    return true;
}

static bool check_bytes(const struct reader *r, const struct text *terms, size_t n) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += terms[i].size;
    return bytes <= VOCABULARY_MOST_BYTES ||
           api_fail(r->error, 400, "too_many_terms", r->terms ? "terms" : "objects",
                    "the terms have %llu bytes in all; up to %u are accepted", (unsigned long long)bytes,
                    VOCABULARY_MOST_BYTES);
}

static bool read_all(struct reader *r) {
    struct text *terms = NULL;
    size_t n = 0;
    if (r->terms && r->objects)
        return api_fail(r->error, 400, "conflicting_fields", "objects",
                        "both terms and objects are given; one of them is accepted");
    if (!r->terms && !r->objects)
        return api_fail(
            r->error, 400, "missing_field", "terms",
            "there are no terms; \"terms\" takes a list of them, \"objects\" lists of what each has");
    if (!(r->terms ? read_terms(r, &terms, &n) : read_objects(r, &terms, &n)) || !check_bytes(r, terms, n))
        return false;
    if (n == 0)
        return api_fail(r->error, 400, "empty_terms", r->terms ? "terms" : "objects",
                        "there are no terms; 1 to %u are accepted", VOCABULARY_MOST_TERMS);
    if (!keep_once(r, terms, &n))
        return false;
    r->out->terms = terms;
    r->out->n = n;
    return true;
}

/* ---- PUT's fields */

static bool take_terms(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->terms = value;
    return true;
}

static bool take_objects(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->objects = value;
    return true;
}

static bool read_template(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    char quoted[64];
    if (value->type != JSON_STRING)
        return request_refuse_type("template", "a string", value->type, r->error);
    const size_t n = request_placeholders(value->string);
    r->out->template = value->string;
    if (value->string.size > REQUEST_MAX_LABEL_BYTES)
        return api_fail(r->error, 400, "too_long", "template",
                        "template has %zu bytes; up to %u are accepted", value->string.size,
                        REQUEST_MAX_LABEL_BYTES);
    return n == 1 ||
           api_fail(r->error, 400, "invalid_template", "template",
                    "template (\"%s\") has %zu \"{}\"; exactly one is accepted, where the term goes",
                    text_quote(value->string, quoted, sizeof quoted), n);
}

static bool read_threshold(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    const bool number = value->type == JSON_NUMBER && value->number >= -1 && value->number <= 1;
    r->out->automatic = value->type == JSON_STRING && text_is(value->string, "auto");
    r->out->threshold = number ? (float)value->number : 0;
    return number || r->out->automatic ||
           api_fail(r->error, 400, "invalid_value", "threshold",
                    "threshold must be \"auto\" or a cosine, -1 to 1");
}

static const struct field put[] = {
    {.name = "terms",
     .forms = FIELD_JSON,
     .kind = FIELD_LABELS,
     .least = 1,
     .most = VOCABULARY_MOST_TERMS,
     .bytes = REQUEST_MAX_LABEL_BYTES,
     .what = "The words. One that comes again is taken once.",
     .read = take_terms},
    {.name = "objects",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .schema = "{\"type\":\"object\",\"minProperties\":1,\"maxProperties\":4096,"
               "\"additionalProperties\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":1,"
               "\"maxLength\":1024}}}",
     .what = "In place of terms: objects, and of each a list of what it has. \"cat\" and \"pointed ears\" "
             "become the term \"cat with pointed ears\".",
     .read = take_objects},
    {.name = "template",
     .forms = FIELD_JSON,
     .kind = FIELD_STRING,
     .least = 2,
     .most = REQUEST_MAX_LABEL_BYTES,
     .fallback = "\"{}\"",
     .what = "What is embedded of a term, which stands for its one {}.",
     .read = read_template},
    {.name = "threshold",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .schema = "{\"anyOf\":[{\"const\":\"auto\"},{\"type\":\"number\",\"minimum\":-1,\"maximum\":1}]}",
     .fallback = "\"auto\"",
     .what = "What a cosine must reach where a description does not say: a number, or what is unusual for "
             "the term.",
     .read = read_threshold},
};
const struct field_table request_vocabulary_fields = {FIELD_TABLE(put)};

bool request_vocabulary_object(const struct json_value *object, struct arena *arena,
                               struct vocabulary_definition *out, struct api_error *error) {
    struct reader reader = {.out = out, .arena = arena, .error = error};
    *out = (struct vocabulary_definition){.template = text_of("{}"), .automatic = true};
    return field_read_object(object, &request_vocabulary_fields, &reader, error) && read_all(&reader);
}

bool request_vocabulary_name(struct text name, struct api_error *error) {
    char quoted[64];
    if (!classifier_check_name(name, "name", error))
        return false;
    return !vocabulary_find(name) ||
           api_fail(error, 409, "vocabulary_shipped", "name",
                    "\"%s\" comes with the program, and is neither replaced nor deleted; take another name",
                    text_quote(name, quoted, sizeof quoted));
}

bool request_vocabulary_json(struct text name, const char *body, size_t size, struct arena *arena,
                             struct vocabulary_request *out, struct api_error *error) {
    const struct json_value *object;
    *out = (struct vocabulary_request){.name = name};
    return request_vocabulary_name(name, error) &&
           request_read_large_object(body, size, &request_vocabulary_limits, arena, &object, error) &&
           request_vocabulary_object(object, arena, &out->definition, error);
}

/* ---- the query of GET */

static const struct field page[] = {
    {.name = "offset",
     .forms = FIELD_QUERY,
     .kind = FIELD_WHOLE,
     .most = VOCABULARY_MOST_TERMS,
     .fallback = "0",
     .what = "The first term that is told."},
    {.name = "limit",
     .forms = FIELD_QUERY,
     .kind = FIELD_WHOLE,
     .most = VOCABULARY_MOST_PAGE,
     .fallback = "0",
     .what = "How many terms are told."},
};
const struct field_table request_vocabulary_page_fields = {FIELD_TABLE(page)};

static bool read_whole(const struct field *field, struct text text, size_t *out, struct api_error *error) {
    size_t number = 0;
    bool good = text.size >= 1 && text.size <= 6;
    for (size_t i = 0; i < text.size && good; i++) {
        good = text.data[i] >= '0' && text.data[i] <= '9';
        number = number * 10 + (size_t)(text.data[i] - '0');
    }
    *out = number;
    return (good && number <= field->most) ||
           api_fail(error, 400, "invalid_limit", field->name, "%s must be a whole number from 0 to %zu",
                    field->name, (size_t)field->most);
}

bool request_vocabulary_page(struct text name, const struct request_field *args, size_t n,
                             struct vocabulary_request *out, struct api_error *error) {
    char names[60];
    bool given[2] = {false, false};
    *out = (struct vocabulary_request){.name = name};
    if (!classifier_check_name(name, "name", error))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct text value = {.data = (const char *)args[i].bytes, .size = args[i].size};
        const struct field *field =
            field_find(&request_vocabulary_page_fields, text_of(args[i].name), FIELD_QUERY);
        if (!field)
            return request_refuse_field(
                args[i].name, strlen(args[i].name),
                field_names(&request_vocabulary_page_fields, FIELD_QUERY, names, sizeof names), error);
        bool *again = &given[field == &page[1]];
        if (*again)
            return api_fail(error, 400, "duplicate_field", args[i].name,
                            "%s is given more than once; once is accepted", args[i].name);
        *again = true;
        if (!read_whole(field, value, field == &page[1] ? &out->limit : &out->offset, error))
            return false;
    }
    return true;
}
