/* schemas_upstream.h - the schemas of what a language model is asked, and of what comes of it: rows of schemas.c. Private to that. */
#ifndef LIMOE_SERVER_API_SCHEMAS_UPSTREAM_H
#define LIMOE_SERVER_API_SCHEMAS_UPSTREAM_H

#include "server/api/fields.h"

/* clang-format off */
#define SCHEMA_ANSWER SCHEMA({ \
    "type": "object", \
    "properties": { \
        "object": {"const": "answer"}, \
        "model": {"type": "string", "description": "The model that has seen the picture."}, \
        "answer": {"type": "string"}, \
        "chosen": {"type": ["string", "null"], "description": "The choice that the answer names, where choices were given."}, \
        "prompt": {"type": "string", "description": "What the language model was sent."}, \
        "upstream": { \
            "type": "object", \
            "properties": { \
                "model": {"type": ["string", "null"], "description": "As the language model's server calls it."}, \
                "ms": {"type": "number", "minimum": 0}, \
                "tokens": { \
                    "type": ["object", "null"], \
                    "properties": {"prompt": {"type": "integer", "minimum": 0}, "completion": {"type": "integer", "minimum": 0}}, \
                    "required": ["prompt", "completion"], "additionalProperties": false \
                }, \
                "finish_reason": {"type": ["string", "null"]} \
            }, \
            "required": ["model", "ms", "tokens", "finish_reason"], "additionalProperties": false \
        }, \
        "usage": {"$ref": "#/components/schemas/Usage"} \
    }, \
    "required": ["object", "model", "answer", "prompt", "upstream", "usage"], "additionalProperties": false \
})

#define SCHEMA_CHAT_REQUEST SCHEMA({ \
    "description": "OpenAI's. Members that are not named here pass to the language model's server as they are.", \
    "type": "object", \
    "properties": { \
        "model": {"type": ["string", "null"], "description": "A hosted model, which sees the pictures, or the language model by its own name."}, \
        "messages": {"type": "array", "minItems": 1, "items": { \
            "type": "object", \
            "properties": {"content": {"anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": {"anyOf": [ \
                {"type": "object", "properties": {"type": {"const": "text"}, "text": {"type": "string"}}, "required": ["type", "text"]}, \
                {"type": "object", "properties": {"type": {"const": "refusal"}, "refusal": {"type": "string"}}, "required": ["type", "refusal"]}, \
                {"type": "object", "properties": {"type": {"const": "image_url"}, "image_url": {"anyOf": [ \
                    {"type": "string", "format": "picture"}, \
                    {"type": "object", "properties": {"url": {"type": "string", "format": "picture"}, "detail": {}}, "required": ["url"], "additionalProperties": {"type": "null"}} \
                ]}}, "required": ["type", "image_url"], "additionalProperties": {"type": "null"}} \
            ]}}]}} \
        }}, \
        "stream": {"type": ["boolean", "null"]} \
    }, \
    "required": ["messages"] \
})

#define SCHEMA_CHAT_COMPLETION SCHEMA({ \
    "description": "OpenAI's, as the language model's server answers it.", \
    "type": "object", "properties": {"choices": {"type": "array"}}, "required": ["choices"] \
})
/* clang-format on */

#endif
