#!/bin/sh
# Self-improvement on composed tasks, with controls: explore, challenge, verify, train on the solutions, evaluate. In later
# rounds the updated model writes new tasks and drops those whose check rejects most of its attempts. It is trained again on
# all solutions, and then on the attempts that passed. Writes a report. A stage is a file in $SCA_RUN; run again to resume.
#   SCA_MODEL=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct sh examples/self-improve.sh   75 minutes of a core a seed, controls apart
# SCA_MODEL=PLUGIN:NAME  challenger and learner, of a plugin that loads trained weights too   SCA_OPTIONS=k=v,…  of it
# SCA_ENV=NAME (calculation)   SCA_RUN=DIR (runs/self-improve)   SCA_SEEDS='0 1 2' (0)   SCA_ROUNDS=N (1)   SCA_EVAL=N (all)
# SCA_EXPLORATIONS=N (64)   SCA_CANDIDATES=N (320)   SCA_CALLS=K  at most (4)   SCA_SAMPLES=K (3)   SCA_CONTROLS=''  none
set -eu
model=${SCA_MODEL:?"name a model, as in SCA_MODEL=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct"}
plugin=${model%%:*} options=${SCA_OPTIONS:+,$SCA_OPTIONS} env=${SCA_ENV:-calculation} run=${SCA_RUN:-runs/self-improve}
unset SCA_MODEL; export SCA_ENV="$env"  # every verb may start it
. "$(dirname -- "$0")/environment.sh"; command -v sca >/dev/null || sca_environment "${SCA_VENV:-$PWD/.venv}" --editable '.[train]'
needs() { [ -s "$1" ] || { echo "$0: $2; a larger model or more candidates may do" >&2; exit 1; }; }
train() { sca train --balance calls --seed "$seed" --resume --times -o "$1.jsonl" --save "$@"; }
evaluate() { sca eval --env "$env" -k 3 ${SCA_EVAL:+-n "$SCA_EVAL"} --max-tokens 256 --seed "$seed" --resume --times "$@"; }
compare() { # with the model as it was, whose attempts in $before are made once a seed
    for file in eval.jsonl eval.jsonl.journal; do cp "$before-$file" "$1-$file"; done
    evaluate --compare "$model$options" "$plugin:$1$options" --against "$here/known.jsonl" \
        --rollouts "$1-eval.jsonl" -o "$1-score.jsonl"
}

for seed in ${SCA_SEEDS:-0}; do
    learner=$model before=$run/seed-$seed/before known= attempts= && mkdir -p "$run/seed-$seed"
    evaluate --model "$model$options" --rollouts "$before-eval.jsonl" -o "$before-score.jsonl"
    for round in $(seq "${SCA_ROUNDS:-1}"); do
        here=$run/seed-$seed/round-$round && mkdir -p "$here"
        sca explore --env "$env" --model "$learner$options" -n "${SCA_EXPLORATIONS:-64}" --seed "$seed$round" \
            -o "$here/explorations.jsonl" --resume --times
        unless_empty sca challenge --method compose --calls "${SCA_CALLS:-4}" -n "${SCA_CANDIDATES:-320}" --all \
            --model "$learner$options" --seed "$seed$round" "$here/explorations.jsonl" ${known:+"$known"} \
            -o "$here/candidates.jsonl" --resume --times
        unless_empty sca verify "$here/candidates.jsonl" ${known:+--seen "$known"} -o "$here/tasks.jsonl" \
            --rejected "$here/fallen.jsonl" --resume --times
        needs "$here/tasks.jsonl" "round $round: no new task proved itself"
        new=$here/tasks.jsonl taught=$here/trained
        if [ -n "$known" ]; then
            unless_empty sca verify --paper --agree "$learner$options" --attempts "${SCA_SAMPLES:-3}" --max-tokens 256 \
                --seed "$seed" "$here/tasks.jsonl" -o "$here/agreed.jsonl" --rejected "$here/disagreed.jsonl" \
                --rollouts "$here/rollouts.jsonl" --resume --times
            needs "$here/agreed.jsonl" "round $round: the updated model reads every task differently"
            cat ${attempts:+"$attempts"} "$here/rollouts.jsonl" >"$here/attempts.jsonl"
            new=$here/agreed.jsonl attempts=$here/attempts.jsonl taught=$here/solutions
        fi
        cat ${known:+"$known"} "$new" >"$here/known.jsonl"
        train "$taught" --base "${model#*:}" --on solutions "$here/known.jsonl"
        [ -z "$attempts" ] || train "$here/trained" --base "$taught" "$attempts"
        compare "$here/trained"
        learner=$plugin:$here/trained known=$here/known.jsonl
    done
    for control in ${SCA_CONTROLS-shuffled-solutions one-call-only random-rollouts}; do
        arm=$here/controls/$control on=solutions data=$here/known.jsonl && mkdir -p "$arm"
        [ "$control" != random-rollouts ] || on=rollouts data=$arm/rollouts.jsonl
        [ $on = solutions ] ||
            sca rollout "$here/known.jsonl" --model "$model$options" -k 2 --direct --seed "$seed" -o "$data" --resume --times
        unless_empty train "$arm/trained" --base "${model#*:}" --on $on "$data" --control "$control" --like "$taught.jsonl"
        [ ! -f "$arm/trained/config.json" ] || compare "$arm/trained"
    done
done
sca report "$run" -o "$run/report.html"
