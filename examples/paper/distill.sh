#!/bin/sh
# Distillation at the paper's size (arXiv 2506.01716): the 8B model's own tasks, attempted by a 70B teacher. The 8B
# model is fine-tuned once on the attempts that passed and once on all of them, which the paper found better. The tasks
# are those of self-improve.sh with the same SCA_RUN, made here if they do not exist yet. Run it again to resume.
#
#   sh examples/paper/distill.sh --dry-run         what every stage would cost
#   sh examples/paper/distill.sh                   needs 4 or 8 A100-80G, `sca` with the extras train and vllm
#
# SCA_TEACHER=DIR_OR_NAME   the teacher (meta-llama/Llama-3.1-70B-Instruct), each copy on 4 GPUs
#
set -eu
cd "$(dirname -- "$0")/../.."
. examples/paper/stages.sh
large=${SCA_TEACHER:-meta-llama/Llama-3.1-70B-Instruct}
# its token ids mean nothing to the student, whose own chat template is used
teacher="openai:$large,base_url=http://localhost:8000/v1,concurrency=$width,token_ids=false"
[ "$gpus" -ge 4 ] || { echo "$0: SCA_GPUS=$gpus: the teacher needs 4" >&2; exit 2; }

serve 8000 0 "$gpus" 1 "$base" "$base"
for env in $envs; do
    tasks_of "$env"
done
unserve
serve 8000 0 "$((gpus / 4 * 4))" 4 "$large" "$large"
for env in $envs; do
    stage sca rollout "$run/$env/tasks.jsonl" -k "$samples" --turns 10 --max-tokens 512 --model "$teacher" \
        --concurrency "$width" -o "$run/$env/teacher.jsonl" --resume
done
unserve
for env in $envs; do
    stage sca distill "$run/$env/teacher.jsonl" --student "$base" --max-length "$longest" \
        --save "$run/$env/distilled" -o "$run/$env/distilled.jsonl" --resume
    stage sca distill "$run/$env/teacher.jsonl" --student "$base" --max-length "$longest" --keep-failures \
        --save "$run/$env/distilled-all" -o "$run/$env/distilled-all.jsonl" --resume
done
for env in $envs; do
    compared "$env" distilled
    compared "$env" distilled-all
done
stage sca report "$run" -o "$run/report.html"
