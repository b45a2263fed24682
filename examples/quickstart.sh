#!/bin/sh
# A small model improves itself: explore, write tasks, verify them, train on them, measure before and after.
#
#   sh examples/quickstart.sh      about 10 minutes on two CPU cores, set-up included
#
# It makes its own Python environment in .venv. Run it again after an interruption: it resumes. Run it again after the
# end: it shows the result again.
#
# SCA_SEED=N             seed of everything that is drawn (0)
# SCA_MODEL=PLUGIN:NAME  the model (default: where there are a GPU and a model hub,
#                        transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct; else embedded:smollm2-135m, a model of 135M
#                        parameters, which comes from the package index)
# SCA_ENV=NAME           the environment (calculation)   SCA_RUN=DIR  directory of the run (runs/quickstart-seed-N)
# SCA_TASKS=N            candidate tasks                 SCA_EVAL=N   held-out tasks (all)
set -eu
cd "$(dirname -- "$(readlink -f -- "$0")")/.."
. examples/environment.sh

seed=${SCA_SEED:-0} env=${SCA_ENV:-calculation} small=embedded:smollm2-135m
larger=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct
for number in "$seed" "${SCA_TASKS:-1}" "${SCA_EVAL:-1}"; do
    case $number in '' | *[!0-9]*)
        sca_say "error: SCA_SEED, SCA_TASKS and SCA_EVAL are whole numbers, not '$number'"
        exit 2
        ;;
    esac
done
stage() { sca_say "" "[$1/7] $2"; }
say_small() { sca_say "sca: a model of 135M parameters improves itself. This takes about 10 minutes on two CPU cores."; }
say_larger() {
    sca_say "sca: $model improves itself. A similar run of a 0.5B model took 75 minutes on one CPU core and 9 minutes on" \
        "a GPU; a larger model takes longer in proportion."
}
hub_has_larger() { python -c 'import sys, huggingface_hub as hub; hub.HfApi().model_info(sys.argv[1], timeout=5)' "${larger#*:}"; }

# The choice of a larger model needs the packages of stage 1.
model=${SCA_MODEL:-}
case $model in '' | "$small") say_small ;; *) say_larger ;; esac
unset SCA_MODEL; export SCA_ENV="$env"  # every verb may start it

stage 1 "Set up: Python packages in ${SCA_VENV:-.venv}, the jail, and the model's weights."
sca_environment "${SCA_VENV:-$PWD/.venv}" --editable '.[train,embedded,plot]'
export OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false
if [ -z "$model" ] && nvidia-smi >/dev/null 2>&1 && hub_has_larger >/dev/null 2>&1; then
    model=$larger
    sca_say "There are a GPU and a model hub, so a larger model is used (SCA_MODEL=$small: the small one)."
    say_larger
fi
model=${model:-$small}
if [ "$model" = "$small" ]; then
    tasks=${SCA_TASKS:-500} calls=2 base=
    recipe="--lora-rank 0 --batch-size 16 --learning-rate 3e-4 --epochs 1"
else
    tasks=${SCA_TASKS:-320} calls=4 base="--model $model"
    recipe="--epochs 2"
fi

name=quickstart
[ "$env $model" = "calculation $small" ] || name=quickstart-$(printf '%s-%s' "$env" "$model" | tr -c 'A-Za-z0-9.' '-')
run=${SCA_RUN:-runs/$name-seed-$seed}
mkdir -p "$run"
settings="model=$model env=$env seed=$seed tasks=$tasks eval=${SCA_EVAL:-all}"
if [ -s "$run/explorations.jsonl" ] && [ "$settings" != "$(cat "$run/settings")" ]; then
    sca_say "error: $run holds a run with other settings: $(cat "$run/settings")" \
        "hint: name another directory, SCA_RUN=DIR, or remove it"
    exit 2
fi
printf '%s' "$settings" >"$run/settings"
if [ -f "$run/report.html" ]; then
    sca_say "" "This run is done; here is its result again. SCA_SEED=$((seed + 1)) makes another."
    exec python examples/summary.py "$run"
fi

stage 2 "Explore: call the tools of '$env' with values from their documentation and their results."
sca explore --env "$env" --method walk -n 24 --seed "$seed" -o "$run/explorations.jsonl" --resume

stage 3 "Challenge: compose programs of one to $calls calls, each with a question, a check and three failure cases."
unless_empty sca challenge --method compose --calls "$calls" -n "$tasks" $base --seed "$seed" \
    "$run/explorations.jsonl" -o "$run/candidates.jsonl" --resume

stage 4 "Verify: run every program in the jail and keep the tasks that prove themselves."
unless_empty sca verify "$run/candidates.jsonl" -o "$run/tasks.jsonl" --rejected "$run/rejected.jsonl" --resume

stage 5 "Train the model on the solutions of its tasks."
# shellcheck disable=SC2086
sca train "$run/tasks.jsonl" --on solutions --balance calls --model "$model" $recipe --seed "$seed" \
    --save "$run/trained" -o "$run/checkpoint.jsonl" --resume

stage 6 "Evaluate: held-out tasks, before and after. One attempt and one reply each, temperature 0."
sca eval --env "$env" ${SCA_EVAL:+-n "$SCA_EVAL"} --compare "$model" "transformers:$run/trained" -k 1 --turns 1 \
    --temperature 0 --max-tokens 160 --direct --seed "$seed" --against "$run/tasks.jsonl" \
    --rollouts "$run/attempts.jsonl" -o "$run/scores.jsonl" --resume

stage 7 "Report."
python examples/summary.py "$run"
sca report "$run" -o "$run/report.html" --quiet
if [ "$model" = "$small" ]; then
    sca_say "" "The same with a larger model, best on a GPU:" \
        "  SCA_MODEL=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct sh examples/quickstart.sh"
fi
