#!/bin/sh
# Usage: small_root.sh FOLDER [PACKAGE ...]
#
# Puts a Python, the runtime and every library that they load into FOLDER, which then needs nothing else: the root of a
# container FROM scratch, of a chroot or of an initramfs. PACKAGE is what pip installs, without what it depends on:
# `instructor-onnx numpy tokenizers tqdm` unless told. $PYTHON names the Python to take (default: python3); it keeps its
# place in the file system, and /python leads to it.
set -eu
root=${1:?"usage: small_root.sh FOLDER [PACKAGE ...]"}
shift
[ $# -gt 0 ] || set -- instructor-onnx numpy tokenizers tqdm
python=${PYTHON:-python3}
[ ! -e "$root" ] || { echo "$root: there already" >&2; exit 1; }

prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
library=$("$python" -c 'import os; print(os.path.dirname(os.__file__))')
program=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
trap 'rm -rf "$root"' EXIT  # nothing is left of what fails
mkdir -p "$root/tmp" "$root/app" "$root$(dirname "$program")" "$root$library"
cp "$program" "$root$program"
ln -s "$program" "$root/python"

# The standard library, but for its tests, its tools for programmers, and what pip brings.
(cd "$library" && tar cf - --exclude=__pycache__ --exclude=test --exclude=tests --exclude=idlelib --exclude=tkinter \
    --exclude=turtledemo --exclude=ensurepip --exclude=lib2to3 --exclude=pydoc_data --exclude='config-*' \
    --exclude=site-packages --exclude=dist-packages --exclude='_test*' --exclude='_tkinter*' --exclude='*.a' .) |
    tar xf - -C "$root$library"
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --target "$root/app" "$@"
find "$root/app" -type d \( -name tests -o -name testing -o -name bin -o -name include \) -path '*/numpy/*' \
    -prune -exec rm -r {} +
find "$root/app" \( -name '*.pyi' -o -name '*.a' -o -name '*.pyx' -o -name '*.pxd' \) -delete
rm -rf "$root/app/bin"
# Compiled once, here: the file system of a container is written to by nobody. The sources stay, for error messages.
"$python" -m compileall -q --invalidation-mode unchecked-hash "$root$library" "$root/app" || true

# What all of it loads.
find "$root" -type f \( -name '*.so' -o -name '*.so.*' -o -path "$root$program" \) -exec ldd {} \; 2>/dev/null |
    sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (0x.*/\1/p' | sort -u |
    while read -r file; do
        case $file in "$root"/*) continue ;; esac
        mkdir -p "$root$(dirname "$file")"
        cp -L "$file" "$root$file"
    done
# Symbols for debuggers; not of wheels' libraries, which may have been rewritten in ways that strip does not know.
if command -v strip > /dev/null; then
    find "$root" -path "$root/app" -prune -o -type f \( -name '*.so' -o -name '*.so.*' -o -path "$root$program" \) \
        -exec strip --strip-unneeded {} + 2> /dev/null || true
fi
trap - EXIT
du -sm "$root" | sed 's/[[:space:]].*/ MB/'
