#!/bin/sh
# Show that each algorithm of `sca train` learns: a model of 135M parameters chooses among four tools.
#
#     sh run.sh DIR [SEED...]      # DIR holds the results; by default the seeds 0 1 2
#
# A warm start teaches the form of the reply on 64 solutions. The model then passes on a part of the tasks, because it
# often chooses a wrong tool. Each algorithm starts there. Run it again to resume; plot.py draws the result.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
shift
[ $# -gt 0 ] || set -- 0 1 2
mkdir -p "$out"
cd "$out"
export SCA_ENV=python:$here/tools.py  # the environment that the tasks name may start
algorithms=${ALGORITHMS:-"sft rft dpo kto reinforce rloo grpo ppo"}
act="--prompt $here/prompts --turns 1 --max-tokens 28"

tasks() { # tasks NAME COUNT SEED
    [ -s "$1.jsonl" ] || python "$here/tasks.py" "$2" "$3" | sca verify -q --skip duplicate -o "$1.jsonl"
}

rollouts() { # rollouts SEED: attempts of the warm model
    sca rollout train.jsonl -k 4 -m transformers:warm --temperature 1 --seed "$1" $act -q -o "rollouts-$1.jsonl" --resume
}

score() { # score DIR
    [ -s "$1-score.jsonl" ] || sca eval test.jsonl -m "transformers:$1" -k 2 --temperature 1 $act -q -o "$1-score.jsonl"
}

tasks warm 64 11
tasks train "${TASKS:-128}" 3
tasks test 128 "${TEST:-8}"  # TEST=4 makes other tasks, on which the settings below were chosen
[ -s warm.json ] || sca train warm.jsonl --algo sft --base embedded:smollm2-135m --prompt "$here/prompts" --epochs 3 \
    --learning-rate 3e-4 --save warm -o warm.json --resume
score warm
for seed in "$@"; do
    for algo in $algorithms; do
        save=$algo-$seed
        case $algo in
        sft) set -- train.jsonl --learning-rate 2e-4 --epochs 3 --prompt "$here/prompts" ;;
        rft) rollouts "$seed"; set -- "rollouts-$seed.jsonl" --keep-solved --learning-rate 2e-4 --epochs 3 ;;
        dpo) rollouts "$seed"; set -- "rollouts-$seed.jsonl" --learning-rate 3e-4 --epochs 2 ;;
        kto) rollouts "$seed"; set -- "rollouts-$seed.jsonl" --learning-rate 1e-4 --epochs 2 ;;
        *) set -- train.jsonl --learning-rate 1e-4 --epochs 1 --batch-size 4 $act ;;
        esac
        [ -s "$save.json" ] || sca train "$@" --algo "$algo" --base warm --seed "$seed" \
            --save "$save" -o "$save.json" --resume
        score "$save"
    done
done
