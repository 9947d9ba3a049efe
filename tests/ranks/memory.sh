#!/bin/sh
# memory.sh SYNTHETIC TOKENIZER COMMAND… - writes a model that is nearly all experts, runs COMMAND… on it, and
# removes it.
set -e
synthetic=$1 tokenizer=$2
shift 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$synthetic" --preset small --out "$dir/model" --tokenizer "$tokenizer" --width 256 --heads 4 --mlp 1024 \
    --embed 64 --blocks 8 --moe-layers 4 --experts 64 --image-size 32 --patch 8 --vocab 12000 >&2
"$@" "$dir/model"
