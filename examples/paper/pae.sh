#!/bin/sh
# The baseline at the paper's size: PAE (arXiv 2412.13194). The 8B model proposes 800 instructions from documentation
# and first observation, without a check; it attempts each 15 times, judges its own attempts, and is fine-tuned on those
# that it calls a success. The evaluation is that of self-improve.sh. Run it again to resume.
#
#   sh examples/paper/pae.sh --dry-run             what every stage would cost
#   sh examples/paper/pae.sh                       needs SCA_GPUS A100-80G, `sca` with the extras train and vllm
#
set -eu
cd "$(dirname -- "$0")/../.."
. examples/paper/stages.sh

serve 8000 0 "$gpus" 1 "$base" "$base"
for env in $envs; do
    [ "$listing" ] || mkdir -p "$run/$env/pae"
    stage sca challenge --method pae --env "$env" -n "$tasks" --model "$executor" --concurrency "$width" \
        -o "$run/$env/pae/tasks.jsonl" --resume
    stage sca rollout "$run/$env/pae/tasks.jsonl" -k "$samples" --turns 10 --max-tokens 512 --model "$executor" \
        --judge "$executor" --concurrency "$width" -o "$run/$env/pae/rollouts.jsonl" --resume
done
unserve
for env in $envs; do
    stage sca train "$run/$env/pae/rollouts.jsonl" --base "$base" --model "$executor" --max-length "$longest" \
        --save "$run/$env/pae-trained" -o "$run/$env/pae/checkpoint.jsonl" --resume
done
for env in $envs; do
    compared "$env" pae-trained
done
stage sca report "$run" -o "$run/report.html"
