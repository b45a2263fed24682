#!/bin/sh
# The main job, start to end: a model explores, writes tasks, keeps those that prove themselves, trains on its own
# successful attempts, and is measured on held-out tasks before and after. Run it again: it goes on where it stopped.
#
#   sh examples/quickstart.sh            an hour or so on two CPU cores
#
# SCA_MODEL=PLUGIN:NAME  the model (default: a 0.5B model from a model hub; without a hub an embedded 135M one)
# SCA_ENV=NAME           the environment (default: calculation)   SCA_RUN=DIR  where everything goes (runs/quickstart)
# SCA_CANDIDATES=N       candidate tasks (200)    SCA_SAMPLES=K  attempts at each task (4)    SCA_EVAL=N  held-out tasks (all)
set -eu
cd "$(dirname -- "$0")/.."
. examples/environment.sh
sca_environment "${SCA_VENV:-$PWD/.venv}" --editable '.[train,embedded]'
export OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false

run=${SCA_RUN:-runs/quickstart}
env=${SCA_ENV:-calculation}
candidates=${SCA_CANDIDATES:-200}
mkdir -p "$run"

hub_model=Qwen/Qwen2.5-Coder-0.5B-Instruct
if [ -n "${SCA_MODEL:-}" ]; then
    model=$SCA_MODEL
elif [ -f "$run/model" ]; then
    model=$(cat "$run/model")
elif HF_HUB_ETAG_TIMEOUT=5 HF_HUB_DOWNLOAD_TIMEOUT=60 python -c \
    'import sys; from huggingface_hub import snapshot_download; snapshot_download(sys.argv[1])' "$hub_model" >/dev/null 2>&1; then
    model=transformers:$hub_model
else
    model=embedded:smollm2-135m
    sca_say "No model hub answers: going on with the embedded 135M model. It shows the plumbing, not the gain."
fi
printf '%s' "$model" >"$run/model"

sca explore --env "$env" --model "$model" -n "$((candidates / 5 + 1))" -o "$run/explorations.jsonl" --resume
sca challenge --method solution-first -n "$candidates" --all --model "$model" \
    "$run/explorations.jsonl" -o "$run/candidates.jsonl" --resume
unless_empty sca verify "$run/candidates.jsonl" -o "$run/tasks.jsonl" --rejected "$run/fallen.jsonl" --resume
unless_empty sca rollout "$run/tasks.jsonl" -k "${SCA_SAMPLES:-4}" --model "$model" -o "$run/rollouts.jsonl" --resume
sca train "$run/rollouts.jsonl" --model "$model" --save "$run/trained" -o "$run/checkpoint.jsonl" --resume || {
    [ $? -eq 1 ] && sca_say "None of the model's attempts passed. A larger model (SCA_MODEL) or more candidates may do."
    exit 1
}
sca_say "" "Held-out tasks, before and after:"
sca eval --env "$env" -k 4 ${SCA_EVAL:+-n "$SCA_EVAL"} --compare "$model" "transformers:$run/trained" \
    --rollouts "$run/eval.jsonl" --resume -o "$run/scores.jsonl"
sca_say "" "The funnel of the filter:"
unless_empty sca verify "$run/candidates.jsonl" -o "$run/tasks.jsonl" --rejected "$run/fallen.jsonl" --resume
