#!/bin/sh
# Compare two ways to make training data: the paper's verified tasks (sca) against PAE's (arXiv 2412.13194),
# whose tasks have no check and whose attempts a model judges. Both end in the same held-out evaluation. Run it again
# to resume.
#
#   SCA_MODEL=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct sh examples/experiments/sca-vs-pae.sh
#
# SCA_MODEL=PLUGIN:NAME  challenger, executor, judge and learner
# SCA_BASE=DIR_OR_NAME   the learner's weights, where the model does not say where they are (a server)
# SCA_ENV=NAME           the environment (default: web_browsing)    SCA_RUN=DIR  where everything goes (runs/sca-vs-pae)
# SCA_CANDIDATES=N       candidate tasks of each arm (200)          SCA_METHOD=NAME  method of the sca arm (cat)
# SCA_SAMPLES=K          attempts at each task (4)                  SCA_EVAL=N   held-out tasks (all)
set -eu
model=${SCA_MODEL:?"name a model, as in SCA_MODEL=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct"}
env=${SCA_ENV:-web_browsing}
run=${SCA_RUN:-runs/sca-vs-pae}
n=${SCA_CANDIDATES:-200}
k=${SCA_SAMPLES:-4}
export SCA_ENV="$env"  # every verb may start it
mkdir -p "$run/sca" "$run/pae"

. "$(dirname -- "$0")/../environment.sh"

# The arm's model: the trained one, or the one it began with where no attempt was fit to be learnt from.
learnt() { if [ -f "$run/$1/trained/config.json" ]; then echo "transformers:$run/$1/trained"; else echo "$model"; fi; }

# sca: explore, write tasks with checks, keep those that prove themselves; their own checks reward the attempts.
sca explore --env "$env" --model "$model" -n "$((n / 5 + 1))" -o "$run/sca/explorations.jsonl" --resume
unless_empty sca challenge --method "${SCA_METHOD:-cat}" -n "$n" --all --model "$model" \
    "$run/sca/explorations.jsonl" -o "$run/sca/candidates.jsonl" --resume
unless_empty sca verify "$run/sca/candidates.jsonl" -o "$run/sca/tasks.jsonl" --rejected "$run/sca/fallen.jsonl" --resume
unless_empty sca rollout "$run/sca/tasks.jsonl" -k "$k" --model "$model" -o "$run/sca/rollouts.jsonl" --resume
unless_empty sca train "$run/sca/rollouts.jsonl" --model "$model" ${SCA_BASE:+--base "$SCA_BASE"} --save "$run/sca/trained" \
    -o "$run/sca/checkpoint.jsonl" --resume

# pae: write instructions from the documentation and the first observation; the model itself judges the attempts.
unless_empty sca challenge --method pae --env "$env" -n "$n" --model "$model" -o "$run/pae/tasks.jsonl" --resume
unless_empty sca rollout "$run/pae/tasks.jsonl" -k "$k" --model "$model" --judge "$model" \
    -o "$run/pae/rollouts.jsonl" --resume
unless_empty sca train "$run/pae/rollouts.jsonl" --model "$model" ${SCA_BASE:+--base "$SCA_BASE"} --save "$run/pae/trained" \
    -o "$run/pae/checkpoint.jsonl" --resume

# The model they began with, and both arms on the same tasks with the same seeds: sca minus pae, in pairs.
sca eval --env "$env" -k 4 ${SCA_EVAL:+-n "$SCA_EVAL"} --model "$model" \
    --rollouts "$run/before.jsonl" --resume -o "$run/score-before.jsonl"
sca eval --env "$env" -k 4 ${SCA_EVAL:+-n "$SCA_EVAL"} --compare "$(learnt pae)" "$(learnt sca)" \
    --rollouts "$run/after.jsonl" --resume -o "$run/scores.jsonl"
sca report "$run" -o "$run/report.html"
