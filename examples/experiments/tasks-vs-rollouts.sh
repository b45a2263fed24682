#!/bin/sh
# More tasks, or more attempts at each? Two arms with the same number of sampled tokens: all tasks with K attempts each,
# and one task in SCA_FACTOR with K * SCA_FACTOR. The paper finds that more tasks help far more out of distribution. Run
# it again to resume.
#
#   SCA_MODEL=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct sh examples/experiments/tasks-vs-rollouts.sh
#
# Prints for each arm rollouts, tasks, passes and tokens, then the scores of both trained models, more tasks minus more
# attempts in pairs: on held-out tasks of the environments trained on, and of others.
# With the defaults it takes about four hours on two CPU cores: two rollouts, trainings and evaluations of 240 attempts each.
#
# SCA_ENV='A B'    trained on (two families of calculation)     SCA_OTHER='C D'  measured on too (its other two)
# SCA_RUN=DIR      (runs/tasks-vs-rollouts)                     SCA_TASKS=FILE   verified tasks to use instead of new ones
# SCA_CANDIDATES=N (200)   SCA_METHOD=NAME (solution-first)   SCA_SAMPLES=K (4)   SCA_FACTOR=F (4)
# SCA_EVAL=N       held-out tasks (all)
# SCA_BASE=DIR_OR_NAME   weights to train, where the model does not say where they are (a server)
set -eu
cd "$(dirname -- "$0")/../.."
model=${SCA_MODEL:?"name a model, as in SCA_MODEL=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct"}
run=${SCA_RUN:-runs/tasks-vs-rollouts}
n=${SCA_CANDIDATES:-200}
k=${SCA_SAMPLES:-4}
factor=${SCA_FACTOR:-4}
envs=${SCA_ENV:-calculation:family=message_decoder calculation:family=trade_calculator}
others=${SCA_OTHER:-calculation:family=dna_sequencer calculation:family=travel_itinerary}
unset SCA_MODEL; export SCA_ENV="$envs $others"  # every verb may start them
mkdir -p "$run"

. examples/environment.sh
learnt() { if [ -f "$run/$1/config.json" ]; then echo "transformers:$run/$1"; else echo "$model"; fi; }

tasks=${SCA_TASKS:-$run/tasks.jsonl}
if [ -z "${SCA_TASKS:-}" ]; then
    SCA_ENV=$envs sca explore --model "$model" -n "$((n / 5 + 1))" -o "$run/explorations.jsonl" --resume
    unless_empty sca challenge --method "${SCA_METHOD:-solution-first}" -n "$n" --all --model "$model" \
        "$run/explorations.jsonl" -o "$run/candidates.jsonl" --resume
    unless_empty sca verify "$run/candidates.jsonl" -o "$tasks" --resume
fi
[ -s "$tasks" ] || { echo "$0: no task was kept; a larger model or more candidates may do" >&2; exit 1; }
awk -v f="$factor" 'NR % f == 1 || f == 1' "$tasks" >"$run/few.jsonl"

unless_empty sca rollout "$tasks" -k "$k" --model "$model" -o "$run/more-tasks.jsonl" --resume
unless_empty sca rollout "$run/few.jsonl" -k "$((k * factor))" --model "$model" -o "$run/more-attempts.jsonl" --resume
python examples/experiments/arms.py equal "$run/more-tasks.jsonl" "$run/more-attempts.jsonl"
for arm in more-tasks more-attempts; do
    unless_empty sca train "$run/$arm.equal.jsonl" --model "$model" ${SCA_BASE:+--base "$SCA_BASE"} --save "$run/$arm" \
        -o "$run/$arm-checkpoint.jsonl" --resume
done
for place in same other; do
    case $place in same) where=$envs ;; other) where=$others ;; esac
    SCA_ENV=$where sca eval -k 4 ${SCA_EVAL:+-n "$SCA_EVAL"} --against "$tasks" \
        --compare "$(learnt more-attempts)" "$(learnt more-tasks)" \
        --rollouts "$run/$place-eval.jsonl" --resume -o "$run/$place-scores.jsonl"
done
sca report "$run" -o "$run/report.html"
