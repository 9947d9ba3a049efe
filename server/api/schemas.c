/* schemas.c - the schemas of answers, and of those parts of requests that no table of fields has.
 *
 * To add one: a row here, whose name a row of operations.c has. */
#include "server/api/schemas.h"

#include "server/api/fields.h"
#include "server/api/schemas_upstream.h"
#include "server/api/schemas_vocabulary.h"
#include "server/api/schemas_words.h"

/* clang-format off */
const struct schema schemas[] = {
    /* ---- requests */

    {"Item", SCHEMA({
        "description": "One text or picture: exactly one of text, image, url, bytes, image_base64 and image_url. Pictures are data URIs or base64, or URLs (https:, of hosts that the operator allows by --image-hosts; none otherwise).",
        "type": "object",
        "properties": {
            "type": {"type": ["string", "null"], "description": "The member's name, or image for a picture."},
            "text": {"type": ["string", "null"], "minLength": 1, "maxLength": 65536},
            "image": {"type": ["string", "null"], "format": "picture"},
            "url": {"type": ["string", "null"], "format": "picture"},
            "bytes": {"type": ["string", "null"], "format": "picture"},
            "image_base64": {"type": ["string", "null"], "format": "picture"},
            "image_url": {"anyOf": [
                {"type": ["string", "null"], "format": "picture"},
                {"type": "object", "properties": {"url": {"type": "string", "format": "picture"}, "detail": {}}, "required": ["url"], "additionalProperties": {"type": "null"}}
            ]}
        },
        "additionalProperties": {"type": "null"}
    })},
    {"EmptyText", SCHEMA({
        "description": "Beside a text or a picture in Messages: nothing.",
        "type": "object",
        "properties": {"text": {"const": ""}, "type": {"const": "text"}},
        "required": ["text"], "additionalProperties": false
     })},
    {"Messages", SCHEMA({
        "description": "One message with one text or picture.",
        "type": "array", "minItems": 1, "maxItems": 1,
        "items": {
            "type": "object",
            "properties": {
                "role": {},
                "content": {"anyOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "array", "minItems": 1, "maxItems": 1, "items": {"anyOf": [{"type": "string", "minLength": 1}, {"$ref": "#/components/schemas/Item"}]}},
                    {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [{"$ref": "#/components/schemas/EmptyText"}, {"$ref": "#/components/schemas/Item"}]},
                    {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [{"$ref": "#/components/schemas/Item"}, {"$ref": "#/components/schemas/EmptyText"}]}
                ]}
            },
            "required": ["content"],
            "additionalProperties": {"type": "null"}
        }
    })},

    /* ---- answers */

    {"Usage", SCHEMA({
        "type": "object",
        "properties": {
            "prompt_tokens": {"type": "integer", "minimum": 0},
            "image_tokens": {"type": "integer", "minimum": 0},
            "total_tokens": {"type": "integer", "minimum": 0}
        },
        "required": ["prompt_tokens", "image_tokens", "total_tokens"], "additionalProperties": false
    })},
    {"Classification", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "classification"},
            "index": {"type": "integer", "minimum": 0},
            "predictions": {"type": "array", "description": "By descending score.", "items": {
                "type": "object",
                "properties": {
                    "label": {"type": "string"},
                    "score": {"type": "number", "minimum": 0, "maximum": 1},
                    "cosine": {"type": "number", "minimum": -1.001, "maximum": 1.001}
                },
                "required": ["label", "score", "cosine"], "additionalProperties": false
            }}
        },
        "required": ["object", "index", "predictions"], "additionalProperties": false
    })},
    {"Classifications", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "list"},
            "model": {"type": "string"},
            "data": {"type": "array", "description": "One for each picture, in the order of the request.", "items": {"$ref": "#/components/schemas/Classification"}},
            "variants": {"type": "array", "description": "In place of data: by each adapter of a list, in its order.", "items": {
                "type": "object",
                "properties": {
                    "adapter": {"type": "string"},
                    "data": {"type": "array", "items": {"$ref": "#/components/schemas/Classification"}}
                },
                "required": ["adapter", "data"], "additionalProperties": false
            }},
            "usage": {"$ref": "#/components/schemas/Usage"}
        },
        "required": ["object", "model", "usage"],
        "oneOf": [{"required": ["data"]}, {"required": ["variants"]}],
        "additionalProperties": false
    })},
    {"Embeddings", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "description": "One for each item, in the order of the request.", "items": {
                "type": "object",
                "properties": {
                    "object": {"const": "embedding"},
                    "index": {"type": "integer", "minimum": 0},
                    "embedding": {"anyOf": [
                        {"type": "array", "items": {"type": "number"}},
                        {"type": "string", "description": "Base64, where that was asked for."}
                    ]},
                    "scale": {"type": "number", "description": "Of int8 numbers: what they are multiplied with."}
                },
                "required": ["object", "index", "embedding"], "additionalProperties": false
            }},
            "model": {"type": "string"},
            "usage": {"$ref": "#/components/schemas/Usage"}
        },
        "required": ["object", "data", "model", "usage"], "additionalProperties": false
    })},
    {"Word", SCHEMA({
        "type": "object",
        "properties": {
            "term": {"type": "string"},
            "cosine": {"type": "number", "minimum": -1.001, "maximum": 1.001},
            "score": {"type": "number", "description": "How many deviations the cosine is above what is expected of the term."}
        },
        "required": ["term", "cosine", "score"], "additionalProperties": false
    })},
    {"Descriptions", SCHEMA_DESCRIPTIONS},
    {"Captions", SCHEMA_CAPTIONS},
    {"ChatRequest", SCHEMA_CHAT_REQUEST},
    {"ChatCompletion", SCHEMA_CHAT_COMPLETION},
    {"Answer", SCHEMA_ANSWER},
    {"Attention", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "attention"},
            "model": {"type": "string"},
            "kind": {"const": "contribution"},
            "method": {"enum": ["mean", "class_token", "attention"], "description": "What a patch's share is, which follows from how the model pools."},
            "rows": {"type": "integer", "minimum": 1},
            "columns": {"type": "integer", "minimum": 1},
            "data": {"type": "array", "description": "In the order of texts.", "items": {
                "type": "object",
                "properties": {
                    "object": {"const": "contribution"},
                    "index": {"type": "integer", "minimum": 0},
                    "cosine": {"type": "number"},
                    "rest": {"type": "number", "description": "Of the cosine, what no patch accounts for: it is spread equally over the grid."},
                    "grid": {"type": "array", "description": "Each patch's share, row by row. They sum to the cosine.", "items": {"type": "array", "items": {"type": "number"}}}
                },
                "required": ["object", "index", "cosine", "rest", "grid"], "additionalProperties": false
            }},
            "usage": {"$ref": "#/components/schemas/Usage"}
        },
        "required": ["object", "model", "kind", "method", "rows", "columns", "data", "usage"],
        "additionalProperties": false
    })},
    {"Routing", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "list"},
            "model": {"type": "string"},
            "experts": {"type": "integer", "minimum": 0},
            "top_k": {"type": "integer", "minimum": 0},
            "data": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "object": {"const": "routing"},
                    "index": {"type": "integer", "minimum": 0},
                    "modality": {"enum": ["image", "text"]},
                    "tokens": {"type": "integer", "minimum": 0},
                    "grid": {
                        "type": "object",
                        "properties": {"rows": {"type": "integer"}, "columns": {"type": "integer"}},
                        "required": ["rows", "columns"], "additionalProperties": false
                    },
                    "class_token": {"const": true},
                    "token_ids": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                    "layers": {"type": "array", "items": {
                        "type": "object",
                        "properties": {
                            "block": {"type": "integer", "minimum": 0},
                            "experts": {"type": "array", "description": "For each token, its experts by descending gate.", "items": {"type": "array", "items": {"type": "integer", "minimum": 0}}},
                            "gates": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
                        },
                        "required": ["block", "experts", "gates"], "additionalProperties": false
                    }}
                },
                "required": ["object", "index", "modality", "tokens", "layers"], "additionalProperties": false
            }},
            "usage": {"$ref": "#/components/schemas/Usage"}
        },
        "required": ["object", "model", "experts", "top_k", "data", "usage"], "additionalProperties": false
    })},
    {"Ranking", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "list"},
            "model": {"type": "string"},
            "results": {"type": "array", "minItems": 1, "description": "By descending score.", "items": {
                "type": "object",
                "properties": {
                    "index": {"type": "integer", "minimum": 0, "description": "Of the document in the request."},
                    "relevance_score": {"type": "number", "description": "The cosine, from -1 to 1."},
                    "document": {"type": "object", "minProperties": 1, "maxProperties": 1, "properties": {
                        "text": {"type": "string"},
                        "image": {"type": "string"}
                    }, "additionalProperties": false}
                },
                "required": ["index", "relevance_score"], "additionalProperties": false
            }},
            "usage": {"$ref": "#/components/schemas/Usage"}
        },
        "required": ["object", "model", "results", "usage"], "additionalProperties": false
    })},
    {"Classifier", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "classifier"},
            "name": {"type": "string"},
            "labels": {"type": "array", "minItems": 1, "items": {"type": "string"}},
            "templates": {"type": "array", "minItems": 1, "items": {"type": "string"}},
            "created": {"type": "integer", "description": "Unix seconds."},
            "updated": {"type": "integer", "description": "Unix seconds."},
            "model": {"type": "string"}
        },
        "required": ["object", "name", "labels", "templates", "created", "updated", "model"],
        "additionalProperties": false
    })},
    {"Classifiers", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "object": {"const": "classifier"},
                    "name": {"type": "string"},
                    "label_count": {"type": "integer", "minimum": 1},
                    "template_count": {"type": "integer", "minimum": 1},
                    "created": {"type": "integer"},
                    "updated": {"type": "integer"}
                },
                "required": ["object", "name", "label_count", "template_count", "created", "updated"],
                "additionalProperties": false
            }},
            "has_more": {"type": "boolean"}
        },
        "required": ["object", "data", "has_more"], "additionalProperties": false
    })},
    {"ClassifierDeleted", SCHEMA({
        "type": "object",
        "properties": {"object": {"const": "classifier.deleted"}, "name": {"type": "string"}, "deleted": {"const": true}},
        "required": ["object", "name", "deleted"], "additionalProperties": false
    })},
    {"Vocabulary", SCHEMA_VOCABULARY},
    {"Vocabularies", SCHEMA_VOCABULARIES},
    {"VocabularyDeleted", SCHEMA_VOCABULARY_DELETED},
    {"AdapterFile", SCHEMA({"type": "string", "format": "binary", "description": "A safetensors file of format limoe-adapter-1, or a zip file that has adapter_config.json and adapter_model.safetensors, as PEFT saves a LoRA."})},
    {"Adapter", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "adapter"},
            "name": {"type": "string"},
            "model": {"type": ["string", "null"], "description": "By which it is served. Null: it is of another model."},
            "state": {"enum": ["queued", "training", "ready", "failed", "cancelled"], "description": "Of the last job that is known; ready where none is."},
            "created": {"type": "integer", "description": "Unix seconds."},
            "file_bytes": {"type": "integer", "minimum": 1},
            "kind": {"enum": ["probe", "tail", "lora"]},
            "base": {"type": "string", "description": "The model that it was made of."},
            "start_block": {"type": "integer", "minimum": 0, "description": "Of a tail."},
            "alpha": {"type": "number", "description": "Of a LoRA."},
            "rank": {"type": "integer", "description": "Of a LoRA."},
            "rslora": {"type": "boolean", "description": "Of a LoRA: whether it is rank-stabilised."},
            "strength": {"type": "number", "minimum": 0, "maximum": 1, "description": "Unless a request says another."},
            "parameters": {"type": "integer", "minimum": 1},
            "bytes": {"type": "integer", "minimum": 1, "description": "Of its tensors."},
            "tensors": {"type": "integer", "minimum": 1},
            "labels": {"type": "array", "items": {"type": "string"}},
            "templates": {"type": "array", "items": {"type": "string"}},
            "training": {"type": ["object", "null"], "description": "How it was made."},
            "progress": {"type": "number", "minimum": 0, "maximum": 1, "description": "Of a job, as all below."},
            "seconds": {"type": "number", "minimum": 0, "description": "Of training."},
            "stage": {"type": ["string", "null"]},
            "epoch": {"type": ["integer", "null"], "minimum": 0, "description": "Of the stage."},
            "epochs": {"type": ["integer", "null"], "minimum": 0},
            "loss": {"type": ["number", "null"]},
            "notes": {"type": "array", "maxItems": 8, "items": {"type": "string"}},
            "reason": {"type": ["string", "null"], "description": "Why it has failed."},
            "held_out": {
                "type": ["object", "null"], "description": "Per cent right of the pictures held out.",
                "properties": {"before": {"type": ["number", "null"]}, "after": {"type": "number"}},
                "required": ["before", "after"], "additionalProperties": false
            }
        },
        "required": ["object", "name", "model", "state", "created"],
        "dependentRequired": {
            "kind": ["file_bytes", "base", "strength", "parameters", "bytes", "tensors", "labels", "templates", "training"],
            "progress": ["seconds", "stage", "epoch", "epochs", "loss", "notes", "reason", "held_out"]
        },
        "anyOf": [{"required": ["kind"]}, {"required": ["progress"]}],
        "additionalProperties": false
    })},
    {"AdapterJob", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "adapter.job"},
            "name": {"type": "string"},
            "state": {"const": "queued"},
            "created": {"type": "integer", "description": "Unix seconds."}
        },
        "required": ["object", "name", "state", "created"], "additionalProperties": false
    })},
    {"Adapters", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "object": {"const": "adapter"},
                    "name": {"type": "string"},
                    "model": {"type": ["string", "null"]},
                    "state": {"enum": ["queued", "training", "ready", "failed", "cancelled"], "description": "Of the last job that is known; ready where none is."},
                    "created": {"type": "integer"},
                    "file_bytes": {"type": "integer", "minimum": 1},
                    "kind": {"enum": ["probe", "tail", "lora"]},
                    "strength": {"type": "number", "minimum": 0, "maximum": 1},
                    "label_count": {"type": "integer", "minimum": 0}
                },
                "required": ["object", "name", "model", "state", "created"],
                "dependentRequired": {"kind": ["file_bytes", "strength", "label_count"], "file_bytes": ["kind"]},
                "additionalProperties": false
            }},
            "has_more": {"type": "boolean"}
        },
        "required": ["object", "data", "has_more"], "additionalProperties": false
    })},
    {"AdapterDeleted", SCHEMA({
        "type": "object",
        "properties": {"object": {"const": "adapter.deleted"}, "name": {"type": "string"}, "deleted": {"const": true}},
        "required": ["object", "name", "deleted"], "additionalProperties": false
    })},
    {"Tower", SCHEMA({
        "description": "The sizes for one modality; with two towers also those of its own. Null: the model takes no such input.",
        "type": ["object", "null"],
        "properties": {
            "size": {"type": "integer"}, "patch": {"type": "integer"}, "tokens": {"type": "integer"},
            "vocab": {"type": "integer"}, "length": {"type": "integer"},
            "width": {"type": "integer"}, "blocks": {"type": "integer"}, "heads": {"type": "integer"}, "mlp": {"type": "integer"}
        },
        "additionalProperties": false
    })},
    {"Decoder", SCHEMA_DECODER},
    {"Model", SCHEMA({
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "model"},
            "created": {"type": "integer", "description": "When it was loaded, in Unix seconds."},
            "owned_by": {"const": "limoe"},
            "ready": {"type": "boolean", "description": "Its engine answers, and the server takes requests."},
            "aliases": {"type": "array", "items": {"type": "string"}},
            "capabilities": {"type": "array", "items": {"enum": ["classify", "embeddings", "routing", "attention", "captions"]}},
            "dtype": {"type": "string"},
            "backend": {"type": "string"},
            "fingerprint": {"type": "string", "description": "Of config, tokenizer and weights: equal ones give equal vectors."},
            "threads": {"type": "integer", "minimum": 0},
            "ranks": {"type": "integer", "minimum": 1},
            "by_rank": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "rank": {"type": "integer"}, "experts": {"type": "integer"},
                    "dense_bytes": {"type": "integer"}, "expert_bytes": {"type": "integer"}
                },
                "required": ["rank", "experts", "dense_bytes", "expert_bytes"], "additionalProperties": false
            }},
            "architecture": {"type": "string"},
            "width": {"type": "integer"}, "blocks": {"type": "integer"}, "heads": {"type": "integer"}, "mlp": {"type": "integer"},
            "embed": {"type": "integer", "minimum": 1},
            "image": {"$ref": "#/components/schemas/Tower"},
            "text": {"$ref": "#/components/schemas/Tower"},
            "moe": {
                "type": ["object", "null"],
                "properties": {
                    "blocks": {"type": "array", "items": {"type": "integer"}},
                    "experts": {"type": "integer"}, "top_k": {"type": "integer"}
                },
                "required": ["blocks", "experts", "top_k"], "additionalProperties": false
            },
            "parameters": {
                "type": "object",
                "properties": {"total": {"type": "integer"}, "active": {"type": "integer"}},
                "required": ["total", "active"], "additionalProperties": false
            },
            "weight_bytes": {"type": "integer"},
            "scores": {"enum": ["softmax", "sigmoid", null]},
            "logit_scale": {"type": ["number", "null"]},
            "logit_bias": {"type": "number"},
            "decoder": {"$ref": "#/components/schemas/Decoder"}
        },
        "required": ["id", "object", "created", "owned_by", "ready", "aliases", "capabilities", "dtype", "backend", "fingerprint",
            "threads", "ranks", "by_rank", "architecture", "embed", "image", "text", "moe", "parameters", "weight_bytes",
            "scores", "logit_scale"],
        "additionalProperties": false
    })},
    {"Models", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "minItems": 1, "description": "The default first.", "items": {"$ref": "#/components/schemas/Model"}}
        },
        "required": ["object", "data"], "additionalProperties": false
    })},
    {"Load", SCHEMA({
        "type": "object",
        "properties": {
            "format": {"const": "limoe-load-1"},
            "load": {"type": "array", "description": "For each MoE block, the tokens that each expert was given.", "items": {"type": "array", "items": {"type": "integer", "minimum": 0}}}
        },
        "required": ["format", "load"], "additionalProperties": false
    })},
    {"Reloaded", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "model.reload"}, "model": {"type": "string"},
            "generation": {"type": "integer", "minimum": 1}, "fingerprint": {"type": "string"}
        },
        "required": ["object", "model", "generation", "fingerprint"], "additionalProperties": false
    })},
    {"Reload", SCHEMA({
        "description": "A list where all of several models were reloaded.",
        "anyOf": [
            {"$ref": "#/components/schemas/Reloaded"},
            {
                "type": "object",
                "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {"$ref": "#/components/schemas/Reloaded"}}},
                "required": ["object", "data"], "additionalProperties": false
            }
        ]
    })},
    {"Latencies", SCHEMA({
        "description": "Quantiles, in milliseconds; null where nothing was counted.",
        "type": "object",
        "properties": {
            "p50": {"type": ["number", "null"]}, "p90": {"type": ["number", "null"]}, "p99": {"type": ["number", "null"]},
            "p999": {"type": ["number", "null"]}, "max": {"type": ["number", "null"]}, "min": {"type": ["number", "null"]},
            "mean": {"type": ["number", "null"]}
        },
        "required": ["p50", "p90", "p99", "p999", "max", "min", "mean"], "additionalProperties": false
    })},
    {"LoadtestProgress", SCHEMA({
        "description": "A line of limoe bench --json-lines.",
        "type": ["object", "null"],
        "properties": {
            "object": {"const": "bench.progress"},
            "phase": {"enum": ["warmup", "load", "drain"]},
            "seconds": {"type": "number"}, "span_s": {"type": "number"}, "fraction": {"type": "number"},
            "interrupted": {"type": "boolean"},
            "offered": {"type": "integer"}, "ok": {"type": "integer"}, "refused": {"type": "integer"}, "failed": {"type": "integer"},
            "in_flight": {"type": "integer"}, "waiting": {"type": "integer"},
            "latency_ms": {"$ref": "#/components/schemas/Latencies"},
            "server_ms": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Latencies"}},
            "all": {
                "type": "object",
                "properties": {
                    "sent": {"type": "integer"}, "ok": {"type": "integer"}, "refused": {"type": "integer"},
                    "failed": {"type": "integer"}, "dropped": {"type": "integer"},
                    "answers": {"type": "object", "additionalProperties": {"type": "integer"}},
                    "latency_ms": {"$ref": "#/components/schemas/Latencies"},
                    "latency_sum_ms": {"type": "number"},
                    "latency_counts": {"type": "array", "items": {"type": "integer"}}
                },
                "required": ["sent", "ok", "refused", "failed", "dropped", "answers", "latency_ms", "latency_sum_ms", "latency_counts"],
                "additionalProperties": false
            }
        },
        "required": ["object", "phase", "seconds", "fraction", "offered", "ok", "latency_ms", "server_ms", "all"],
        "additionalProperties": false
    })},
    {"LoadtestResult", SCHEMA({
        "description": "What limoe bench --json prints: docs/benchmarks.md.",
        "type": ["object", "null"],
        "properties": {
            "sent": {"type": "integer"}, "ok": {"type": "integer"}, "refused": {"type": "integer"}, "failed": {"type": "integer"},
            "dropped": {"type": "integer"}, "latency_ms": {"$ref": "#/components/schemas/Latencies"}
        },
        "required": ["sent", "ok", "refused", "failed", "dropped", "latency_ms"]
    })},
    {"Loadtest", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "loadtest"},
            "id": {"type": "string"},
            "state": {"enum": ["queued", "running", "stopping", "done", "stopped", "failed"]},
            "created": {"type": "integer", "description": "Unix seconds."},
            "ended": {"type": ["integer", "null"], "description": "Unix seconds."},
            "reason": {"type": ["string", "null"]},
            "request": {
                "type": "object",
                "properties": {
                    "rate": {"type": "number"}, "duration": {"type": "number"}, "arrivals": {"enum": ["poisson", "constant"]},
                    "mix": {"type": "object", "additionalProperties": {"type": "integer"}},
                    "target": {"type": ["string", "null"]}, "model": {"type": ["string", "null"]}
                },
                "required": ["rate", "duration", "arrivals", "mix", "target", "model"], "additionalProperties": false
            },
            "progress": {"$ref": "#/components/schemas/LoadtestProgress"},
            "result": {"$ref": "#/components/schemas/LoadtestResult"}
        },
        "required": ["object", "id", "state", "created", "ended", "reason", "request", "progress", "result"],
        "additionalProperties": false
    })},
    {"Loadtests", SCHEMA({
        "type": "object",
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "description": "The newest first.", "items": {"$ref": "#/components/schemas/Loadtest"}}
        },
        "required": ["object", "data"], "additionalProperties": false
    })},
    {"Health", SCHEMA({
        "type": "object",
        "properties": {
            "status": {"enum": ["ok", "degraded", "starting", "draining", "failing"]},
            "reason": {"type": "string"},
            "models": {"type": "array", "description": "Each, where there are several.", "items": {
                "type": "object",
                "properties": {"id": {"type": "string"}, "status": {"enum": ["ok", "failing"]}, "reason": {"type": "string"}},
                "required": ["id", "status"], "additionalProperties": false
            }}
        },
        "required": ["status"], "additionalProperties": false
    })},
    {"Metrics", SCHEMA({"type": "string", "description": "Prometheus' text format: docs/metrics.md."})},
    {"Alive", SCHEMA({
        "type": "object",
        "properties": {"status": {"const": "alive"}},
        "required": ["status"], "additionalProperties": false
    })},
    {"PageFile", SCHEMA({"description": "Of the type that Content-Type states."})},
    {"Error", SCHEMA({
        "type": "object",
        "properties": {"error": {
            "type": "object",
            "properties": {
                "message": {"type": "string", "minLength": 1, "description": "What was wrong, and what is accepted."},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The field at fault."},
                "code": {"$ref": "#/components/schemas/ErrorCode"}
            },
            "required": ["message", "type", "param", "code"], "additionalProperties": false
        }},
        "required": ["error"], "additionalProperties": false
    })},
    {"OpenAPI", SCHEMA({
        "description": "This document.",
        "type": "object",
        "properties": {"openapi": {"const": "3.1.0"}},
        "required": ["openapi", "info", "paths", "components"]
    })},
};
/* clang-format on */
const size_t schema_count = sizeof schemas / sizeof *schemas;
