/* schemas_words.h - the schemas of pictures in words, and of what writes captions: rows of schemas.c. Private to that. */
#ifndef LIMOE_SERVER_API_SCHEMAS_WORDS_H
#define LIMOE_SERVER_API_SCHEMAS_WORDS_H

#include "server/api/fields.h"

/* clang-format off */
#define SCHEMA_DESCRIPTIONS SCHEMA({ \
    "type": "object", \
    "properties": { \
        "object": {"const": "list"}, \
        "model": {"type": "string"}, \
        "data": {"type": "array", "description": "One for each picture, in the order of the request; words by descending cosine.", "items": { \
            "type": "object", \
            "properties": { \
                "object": {"const": "description"}, \
                "index": {"type": "integer", "minimum": 0}, \
                "tags": {"type": "array", "maxItems": 50, "items": {"$ref": "#/components/schemas/Word"}}, \
                "attributes": {"type": "array", "maxItems": 50, "items": {"$ref": "#/components/schemas/Word"}}, \
                "captions": {"type": "array", "maxItems": 50, "items": { \
                    "type": "object", \
                    "properties": { \
                        "text": {"type": "string"}, \
                        "cosine": {"type": "number", "minimum": -1.001, "maximum": 1.001}, \
                        "score": {"type": "number"}, \
                        "source": {"const": "bank", "description": "Taken from a vocabulary of captions."} \
                    }, \
                    "required": ["text", "cosine", "score", "source"], "additionalProperties": false \
                }}, \
                "prompt": {"type": "string", "description": "Where one was asked for."} \
            }, \
            "required": ["object", "index", "tags", "attributes", "captions"], "additionalProperties": false \
        }}, \
        "usage": {"$ref": "#/components/schemas/Usage"} \
    }, \
    "required": ["object", "model", "data", "usage"], "additionalProperties": false \
})

#define SCHEMA_CAPTIONS SCHEMA({ \
    "type": "object", \
    "properties": { \
        "object": {"const": "list"}, \
        "model": {"type": "string"}, \
        "data": {"type": "array", "description": "One for each picture, in the order of the request.", "items": { \
            "type": "object", \
            "properties": { \
                "object": {"const": "captions"}, \
                "index": {"type": "integer", "minimum": 0}, \
                "captions": {"type": "array", "maxItems": 64, "description": "Of a search by descending logprob for a token; drawn ones in the order of their numbers; of a bank by descending cosine.", "items": {"anyOf": [ \
                    { \
                        "type": "object", \
                        "properties": { \
                            "text": {"type": "string"}, \
                            "logprob": {"type": "number", "description": "The natural logarithm of its probability by the model, the end included."}, \
                            "tokens": {"type": "integer", "minimum": 0, "maximum": 256}, \
                            "ended": {"type": "boolean", "description": "False: it was cut at max_tokens."}, \
                            "source": {"const": "decoder"} \
                        }, \
                        "required": ["text", "logprob", "tokens", "ended", "source"], "additionalProperties": false \
                    }, \
                    { \
                        "type": "object", \
                        "properties": { \
                            "text": {"type": "string"}, \
                            "cosine": {"type": "number", "minimum": -1.001, "maximum": 1.001}, \
                            "score": {"type": "number"}, \
                            "source": {"const": "bank"} \
                        }, \
                        "required": ["text", "cosine", "score", "source"], "additionalProperties": false \
                    } \
                ]}} \
            }, \
            "required": ["object", "index", "captions"], "additionalProperties": false \
        }}, \
        "usage": { \
            "type": "object", \
            "properties": { \
                "image_tokens": {"type": "integer", "minimum": 0}, \
                "completion_tokens": {"type": "integer", "minimum": 0, "description": "Of the decoder's captions, their ends included."}, \
                "total_tokens": {"type": "integer", "minimum": 0} \
            }, \
            "required": ["image_tokens", "completion_tokens", "total_tokens"], "additionalProperties": false \
        } \
    }, \
    "required": ["object", "model", "data", "usage"], "additionalProperties": false \
})

#define SCHEMA_DECODER SCHEMA({ \
    "description": "What writes captions of up to `length` tokens; only of a model that has one.", \
    "type": "object", \
    "properties": { \
        "length": {"type": "integer"}, "width": {"type": "integer"}, "blocks": {"type": "integer"}, \
        "heads": {"type": "integer"}, "mlp": {"type": "integer"} \
    }, \
    "required": ["length", "width", "blocks", "heads", "mlp"], "additionalProperties": false \
})
/* clang-format on */

#endif
