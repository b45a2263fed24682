#!/bin/sh
# Self-improvement at the paper's size (arXiv 2506.01716): an 8B model writes tasks, the filter keeps 800 of each
# environment, the model attempts each 15 times (12,000 rollouts), is fine-tuned on what passed (RFT, LoRA), and is
# compared with the model it began with. Run it again to resume.
#
#   sh examples/paper/self-improve.sh --dry-run    what every stage would cost, and the paper's hours
#   sh examples/paper/self-improve.sh              needs SCA_GPUS A100-80G, `sca` with the extras train and vllm
#
set -eu
cd "$(dirname -- "$0")/../.."
. examples/paper/stages.sh

serve 8000 0 "$gpus" 1 "$base" "$base"
for env in $envs; do
    tasks_of "$env"
    stage sca rollout "$run/$env/tasks.jsonl" -k "$samples" --turns 10 --max-tokens 512 --model "$executor" \
        --concurrency "$width" -o "$run/$env/rollouts.jsonl" --resume
done
unserve
for env in $envs; do
    stage sca train "$run/$env/rollouts.jsonl" --base "$base" --model "$executor" --max-length "$longest" \
        --save "$run/$env/trained" -o "$run/$env/checkpoint.jsonl" --resume
done
for env in $envs; do
    compared "$env" trained
done
stage sca report "$run" -o "$run/report.html"
