# gpu.sh - the programs of gpu-check: where they are, and the bundle of them. Sourced by it, after lib.sh.

bundle=$root/build/gpu-check
packed=$bundle.tar.xz
programs=(bench/model bench/synthetic bench/gpu/check bench/gpu/forward bench/gpu/time bench/gpu/card bench/gpu/nccl
    bench/gpu/ladder/ladder tests/unit/kernels/test_kernels_{attention,linear,moe,rows} tests/unit/model/test_{bits,golden}
    limoe limoe-cuda.so limoe-nccl.so)

# Those of them that this build can make: some need nvcc.
build() {
    local targets log
    say "building what gpu-check runs"
    build_in "$root/build" bench/gpu/check --buildtype=release -Db_ndebug=false
    targets=$(ninja -C "$root/build" -t targets all | sed 's/: .*//' | grep -xF -f <(printf '%s\n' "${programs[@]}"))
    log=$(mktemp)
    # shellcheck disable=SC2086 # a word a target
    ninja -C "$root/build" $targets >"$log" 2>&1 || { cat "$log" >&2; die "the build in $root/build failed"; }
    rm -f "$log"
}

# The C library is the machine's own, as the driver's libraries need it; so is C++'s, but where there is none. The kernels are
# in two files, the module and the ladder; xz keeps them once, since its dictionary holds both.
make_bundle() {
    local program library from=$root/build
    need_packages "${build_packages[@]}"
    build
    [ -e "$from/limoe-cuda.so" ] || die "this build has no limoe-cuda.so: there is no nvcc"
    rm -rf "$bundle" "$packed"
    mkdir -p "$bundle/lib/c++"
    for program in "${programs[@]}"; do
        [ -e "$from/$program" ] || continue
        mkdir -p "$bundle/$(dirname "$program")"
        cp "$from/$program" "$bundle/$program"
    done
    find "$bundle" -type f -exec ldd {} + 2>/dev/null | sed -n 's/.* => \(\/[^ ]*\) (.*/\1/p' | sort -u |
        while read -r library; do
            case "${library##*/}" in
            libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | libresolv.so.* | libnccl.so.*) ;;
            libstdc++.so.* | libgcc_s.so.*) cp -L "$library" "$bundle/lib/c++/" ;;
            *) cp -L "$library" "$bundle/lib/" ;;
            esac
        done
    find "$bundle" -type f -exec strip --strip-unneeded {} +
    tar -C "$bundle" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -c . | xz --x86 --lzma2=preset=6e,dict=64MiB >"$packed"
    cksum <"$packed" >"$bundle/.packed"
    say_sizes "$(stat -c %s "$packed")" "$(checkout)"
}

# The bytes of what is tracked, and of what git does not ignore.
checkout() {
    git -C "$root" ls-files -z --cached --others --exclude-standard | (cd "$root" && du -bc --files0-from=- 2>/dev/null) |
        tail -n 1 | cut -f1
}

# say_sizes BUNDLE CHECKOUT
say_sizes() {
    say "$packed: $(($1 / 1048576 + 1)) MiB; with the checkout $((($1 + $2) / 1048576 + 1)) MiB"
    [ $(($1 + $2)) -lt 62914560 ] || say "that is more than the 60 MiB that it is meant to travel in"
}

# Unpacks the bundle where it is not yet, or is another.
unpack() {
    local sum
    sum=$(cksum <"$packed")
    [ "$sum" != "$(cat "$bundle/.packed" 2>/dev/null)" ] || return 0
    rm -rf "$bundle"
    mkdir -p "$bundle"
    if command -v xz >/dev/null; then
        tar -C "$bundle" -xJf "$packed"
    else
        python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$packed" "$bundle"
    fi || die "$packed could not be unpacked: it takes xz or Python 3"
    printf '%s\n' "$sum" >"$bundle/.packed"
}

has_driver() {
    [ -e /dev/nvidiactl ] || [ -e /dev/dxg ] || [ -n "${LIMOE_MODULES-}" ]
}

has_nvcc() {
    command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]
}

# Sets dir to where the programs are. Nothing is installed: a machine with a GPU may have no network, and little time.
find_programs() {
    local missing
    [ ! -e "$packed" ] || unpack
    dir=$bundle
    [ ! -x "$dir/bench/gpu/check" ] || return 0
    dir=$root/build
    missing=$(missing_packages "${build_packages[@]}")
    if has_driver && has_nvcc && [ -z "$missing" ]; then
        build
        return
    fi
    [ ! -x "$dir/bench/gpu/check" ] || return 0
    lack "$missing"
    exit 2
}

# lack PACKAGES: says all that is missing at once.
lack() {
    local absent=()
    has_nvcc || absent+=(nvcc)
    # shellcheck disable=SC2206 # a word a package
    absent+=($1)
    has_driver || echo "no GPU was found: no NVIDIA driver is installed"
    echo "no programs were found: there is neither build/gpu-check.tar.xz nor build/bench/gpu/check"
    [ ${#absent[@]} = 0 ] || echo "nor can they be built here, for want of ${absent[*]}"
    echo "Where they can be built, 'scripts/gpu-check --bundle' makes build/gpu-check.tar.xz: bring it here, with the checkout."
} >&2
