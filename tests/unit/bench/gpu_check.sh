#!/usr/bin/env bash
# Protects: scripts/gpu-check explains itself, refuses what it does not know, and says plainly that there is no GPU.
# Arguments: the repository, a build. 77: skipped in part, for there is a GPU.
set -euo pipefail
root=$1 build=$2

fail() {
    printf 'gpu_check: %s\n' "$1" >&2
    exit 1
}

# refused STATUS WORDS ARGUMENTS...: it exits so, and its error begins with the words.
refused() {
    local wanted=$1 words=$2 status=0 error
    shift 2
    error=$("$root/scripts/gpu-check" "$@" 2>&1 >/dev/null) || status=$?
    [ "$status" = "$wanted" ] || fail "'$*': exit status $status, not $wanted: $error"
    case "$error" in
    "$words"*) ;;
    *) fail "'$*': '$error' does not begin with '$words'" ;;
    esac
}

unset LIMOE_MODULES
help=$("$root/scripts/gpu-check" --help)
for option in --build --quick --out --scratch --bundle "Exit status"; do
    case "$help" in
    *"$option"*) ;;
    *) fail "--help does not speak of $option" ;;
    esac
done
refused 2 "gpu-check: unexpected '--none'" --none
refused 2 "gpu-check: --build needs a value" --build
refused 2 "gpu-check: /none has no bench/gpu/check" --build /none
[ ! -e /dev/nvidiactl ] || exit 77
refused 2 "no GPU was found: " --build "$build"
