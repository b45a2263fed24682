# Sourced by the scripts here and by tests/run.sh. Makes a Python environment with sca in it; quick if it exists.
#
#   sca_environment DIR REQUIREMENT...    install into DIR, and set $PATH so that `sca` and `python` are those of DIR
#   unless_empty COMMAND...               accept exit code 1, which means "ran but produced nothing"
#
# Needs sh and Python >= 3.12 (named by $PYTHON, on the PATH, or kept by pyenv or uv).

sca_say() { printf '%s\n' "$@" >&2; }

unless_empty() { "$@" || { code=$?; [ $code -eq 1 ] || exit $code; }; }

# Print the first Python >= 3.12 that starts: a pyenv shim may be on the PATH and start nothing.
sca_python() {
    for candidate in "${PYTHON:-}" python3.12 python3.13 python3.14 python3 python \
        "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.1[2-9]*/bin/python3 \
        "${HOME:-}"/.local/share/uv/python/cpython-3.1[2-9]*/bin/python3; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    sca_say "error: no Python >= 3.12 with venv found; install one, or name it: PYTHON=/path/to/python3.12 sh $0"
    exit 4
}

# nsjail is installed with sca; it needs one system library.
sca_nsjail_library() {
    if "$1/bin/python" -c 'import ctypes; ctypes.CDLL("libnl-route-3.so.200")' 2>/dev/null; then return; fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        sca_say "installing libnl-route-3-200, which nsjail needs"
        { apt-get update -qq && apt-get install -y -qq libnl-route-3-200; } >/dev/null 2>&1 || true
    fi
    if ! "$1/bin/python" -c 'import ctypes; ctypes.CDLL("libnl-route-3.so.200")' 2>/dev/null; then
        sca_say "error: nsjail needs a system library; run: sudo apt-get install libnl-route-3-200"
        exit 4
    fi
}

# Run a step of the installation; where it fails, print its last error and what to do, and exit 4.
sca_install_step() {
    log=$1 && shift
    "$@" >"$log" 2>&1 && return
    free=$(df -Pk "$(dirname -- "$log")" | awk 'NR == 2 { print int($4 / 1048576) }')
    sca_say "error: $(grep -iE 'error|no space|caused by|failed' "$log" | tail -1 | cut -c1-300)"
    sca_say "hint: check the network and the package index (pip's settings), and the disk (${free:-?} GiB free, about 7 are" \
        "      needed with torch); then run the same command again. The whole log: $log"
    exit 4
}

sca_environment() {
    directory=$1
    shift
    root=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
    wanted=$(cat "$root/pyproject.toml" "$root/constraints.txt"; printf '%s ' "$root" "$@")
    if [ ! -f "$directory/sca-installed" ] || [ "$wanted" != "$(cat "$directory/sca-installed")" ]; then
        sca_say "installing into $directory (once; minutes and gigabytes where torch is needed)"
        mkdir -p "$directory" || exit 4
        if [ ! -x "$directory/bin/python" ]; then
            python=$(sca_python) || exit 4
            sca_install_step "$directory/install.log" "$python" -m venv "$directory"
        fi
        sca_install_step "$directory/install.log" \
            "$directory/bin/python" -m pip install -q --disable-pip-version-check 'uv>=0.9'
        # bytecode now makes every later start twice as fast
        (
            export UV_COMPILE_BYTECODE="${UV_COMPILE_BYTECODE:-1}" && cd "$root"
            sca_install_step "$directory/install.log" "$directory/bin/uv" pip install \
                --python "$directory/bin/python" --constraint constraints.txt "$@"
        ) || exit 4
        printf '%s' "$wanted" >"$directory/sca-installed"
    fi
    sca_nsjail_library "$directory"
    PATH=$directory/bin:$PATH
    export PATH
}
