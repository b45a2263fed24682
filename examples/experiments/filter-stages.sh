#!/bin/sh
# Measure the effect of each stage of the filter: each proof after the paper's filter is skipped once, and a stronger
# model audits the tasks that are then kept. Run it again to resume.
#
#   SCA_MODEL=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct \
#   SCA_AUDITOR=transformers:Qwen/Qwen2.5-Coder-1.5B-Instruct sh examples/experiments/filter-stages.sh
#
# Prints for the paper's filter, all proofs, all but one, and --strict: tasks kept, and of them the share mislabelled
# (most of the auditor's attempts have one outcome, which the check rejects) and unsolved; $SCA_RUN/by-eye.txt holds
# a sample of tasks to read. Then held-out scores of the model trained on the tasks that the paper's filter keeps, and on
# those that all proofs keep, each compared with the untrained model.
# With the defaults it takes about four hours on two CPU cores, one of them the audit (600 attempts of a 1.5B model).
#
# SCA_ENV=NAME (calculation)    SCA_RUN=DIR (runs/filter-stages)    SCA_CANDIDATES=N (200)
# SCA_METHOD=NAME (solution-first)
# SCA_ATTEMPTS=N  the auditor's at each task (5)    SCA_DRAW=N  tasks to read (20)
# SCA_SAMPLES=K   the model's at each task (4)      SCA_EVAL=N  held-out tasks (all)
# SCA_BASE=DIR_OR_NAME   weights to train, where the model does not say where they are (a server)
set -eu
cd "$(dirname -- "$0")/../.."
model=${SCA_MODEL:?"name a model, as in SCA_MODEL=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct"}
auditor=${SCA_AUDITOR:?"name a stronger model, as in SCA_AUDITOR=transformers:Qwen/Qwen2.5-Coder-1.5B-Instruct"}
env=${SCA_ENV:-calculation}
run=${SCA_RUN:-runs/filter-stages}
n=${SCA_CANDIDATES:-200}
unset SCA_MODEL; export SCA_ENV="$env"  # every verb may start it
mkdir -p "$run"

. examples/environment.sh

sca explore --env "$env" --model "$model" -n "$((n / 5 + 1))" -o "$run/explorations.jsonl" --resume
unless_empty sca challenge --method "${SCA_METHOD:-solution-first}" -n "$n" --all --model "$model" \
    "$run/explorations.jsonl" -o "$run/candidates.jsonl" --resume

# The filters. What the paper's keeps is audited once; all others keep some of it.
filters='paper all strict no-no-op no-random no-wrong no-deterministic no-tools no-leak no-duplicate'
set --
for filter in $filters; do
    case $filter in all) option= ;; no-*) option="--skip ${filter#no-}" ;; *) option=--$filter ;; esac
    # shellcheck disable=SC2086  an option and its value are two words
    unless_empty sca verify -q $option "$run/candidates.jsonl" -o "$run/kept-$filter.jsonl" --resume
    set -- "$@" "$filter=$run/kept-$filter.jsonl"
done
[ -s "$run/kept-paper.jsonl" ] || { echo "$0: no task was kept; a larger model or more candidates may do" >&2; exit 1; }
unless_empty sca verify --paper --all --agree "$auditor" --attempts "${SCA_ATTEMPTS:-5}" "$run/kept-paper.jsonl" \
    -o "$run/audited.jsonl" --resume
python examples/experiments/audit.py "$run/audited.jsonl" "$@" --draw "${SCA_DRAW:-20}" >"$run/by-eye.txt"

# What the difference is worth in training: the same attempts, less those at tasks that the proofs turn down.
unless_empty sca rollout "$run/kept-paper.jsonl" -k "${SCA_SAMPLES:-4}" --model "$model" -o "$run/paper.jsonl" --resume
python examples/experiments/arms.py of "$run/kept-all.jsonl" "$run/paper.jsonl" >"$run/all.jsonl"
for arm in paper all; do
    unless_empty sca train "$run/$arm.jsonl" --model "$model" ${SCA_BASE:+--base "$SCA_BASE"} --save "$run/$arm" \
        -o "$run/$arm-checkpoint.jsonl" --resume
    [ ! -f "$run/$arm/config.json" ] || sca eval --env "$env" -k 4 ${SCA_EVAL:+-n "$SCA_EVAL"} \
        --against "$run/paper.jsonl" --compare "$model" "transformers:$run/$arm" \
        --rollouts "$run/$arm-eval.jsonl" --resume -o "$run/$arm-scores.jsonl"
done
sca report "$run" -o "$run/report.html"
