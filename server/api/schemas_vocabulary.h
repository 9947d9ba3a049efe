/* schemas_vocabulary.h - the schemas of vocabularies: rows of schemas.c. Private to that. */
#ifndef LIMOE_SERVER_API_SCHEMAS_VOCABULARY_H
#define LIMOE_SERVER_API_SCHEMAS_VOCABULARY_H

#include "server/api/fields.h"

/* clang-format off */
#define SCHEMA_VOCABULARY SCHEMA({ \
    "type": "object", \
    "properties": { \
        "object": {"const": "vocabulary"}, \
        "name": {"type": "string"}, \
        "size": {"type": "integer", "minimum": 1, "description": "Terms."}, \
        "template": {"type": "string"}, \
        "threshold": {"anyOf": [{"const": "auto"}, {"type": "number", "minimum": -1, "maximum": 1}]}, \
        "shipped": {"type": "boolean", "description": "It comes with the program; then it has no times and no models."}, \
        "created": {"type": "integer", "description": "Unix seconds."}, \
        "updated": {"type": "integer", "description": "Unix seconds."}, \
        "terms": {"type": "array", "items": {"type": "string"}}, \
        "models": {"type": "array", "items": { \
            "type": "object", \
            "properties": { \
                "model": {"type": "string"}, \
                "state": {"enum": ["waiting", "embedding", "ready", "failed"]}, \
                "embedded": {"type": "integer", "minimum": 0, "description": "Terms."}, \
                "reason": {"type": ["string", "null"], "description": "Why it has failed."} \
            }, \
            "required": ["model", "state", "embedded", "reason"], "additionalProperties": false \
        }} \
    }, \
    "required": ["object", "name", "size", "template", "threshold", "shipped"], "additionalProperties": false \
})
#define SCHEMA_VOCABULARIES SCHEMA({ \
    "type": "object", \
    "properties": { \
        "object": {"const": "list"}, \
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/Vocabulary"}}, \
        "has_more": {"type": "boolean"} \
    }, \
    "required": ["object", "data", "has_more"], "additionalProperties": false \
})
#define SCHEMA_VOCABULARY_DELETED SCHEMA({ \
    "type": "object", \
    "properties": {"object": {"const": "vocabulary.deleted"}, "name": {"type": "string"}, "deleted": {"const": true}}, \
    "required": ["object", "name", "deleted"], "additionalProperties": false \
})
/* clang-format on */

#endif
