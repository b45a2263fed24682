#!/bin/sh
# Self-improvement on composed tasks, start to end, with controls: explore, challenge, verify, train on the tasks' own
# solutions, drop the tasks that the updated model reads differently, roll out, train again, evaluate. Leaves a report.
# Run it again: it goes on where it stopped.
#
#   SCA_MODEL=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct sh examples/self-improve.sh     an hour a seed on two cores
#
# SCA_MODEL=PLUGIN:NAME  challenger and learner; models of `transformers`   SCA_ENV=NAME  the environment (calculation)
# SCA_RUN=DIR  where everything goes (runs/self-improve)  SCA_SEEDS='0 1 2'  (0)  SCA_ROUNDS=N  (1)
# SCA_EXPLORATIONS=N (64)  SCA_CANDIDATES=N (240)  SCA_SAMPLES=K  attempts at each task (2)
# SCA_EVAL=N  held-out tasks (all)  SCA_CONTROLS=''  leaves the controls out
# SCA_OPTIONS=k=v,…  of the model, as in threads=1
set -eu
model=${SCA_MODEL:?"name a model, as in SCA_MODEL=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct"}
env=${SCA_ENV:-calculation}
run=${SCA_RUN:-runs/self-improve}
options=${SCA_OPTIONS:+,$SCA_OPTIONS}
controls=${SCA_CONTROLS-shuffled-solutions one-call-only random-rollouts}
unset SCA_ENV SCA_MODEL

# Exit code 1 says "ran but produced nothing", which is a result; anything else stops here.
unless_empty() { "$@" || [ $? -eq 1 ]; }
train() {
    base=$1 save=$2 && shift 2
    sca train --base "$base" --save "$save" -o "$save.jsonl" --seed "$seed" --resume --balance calls --times "$@"
}
evaluate() {
    name=$1 && shift
    sca eval --env "$env" -k 3 ${SCA_EVAL:+-n "$SCA_EVAL"} --seed "$seed" --rollouts "$name-eval.jsonl" --resume \
        -o "$name-score.jsonl" --against "$tasks" --max-tokens 256 "$@"
}

for seed in ${SCA_SEEDS:-0}; do
    learner=$model weights=${model#transformers:} tasks=
    for round in $(seq "${SCA_ROUNDS:-1}"); do
        here=$run/seed-$seed/round-$round
        mkdir -p "$here"
        sca explore --env "$env" --model "$learner$options" -n "${SCA_EXPLORATIONS:-64}" --seed "$seed$round" \
            -o "$here/explorations.jsonl" --resume
        sca challenge --method compose --model "$learner$options" -n "${SCA_CANDIDATES:-240}" --all --seed "$seed$round" \
            "$here/explorations.jsonl" $tasks -o "$here/candidates.jsonl" --resume
        unless_empty sca verify "$here/candidates.jsonl" ${tasks:+--seen "$tasks"} -o "$here/tasks.jsonl" --resume
        tasks=$here/tasks.jsonl
        train "$weights" "$here/solutions" "$tasks" --on solutions
        unless_empty sca verify "$tasks" --paper --attempts 3 --agree "transformers:$here/solutions$options" --seed "$seed" \
            -o "$here/agreed.jsonl" --rejected "$here/disagreed.jsonl" --resume
        unless_empty sca rollout "$here/agreed.jsonl" -k "${SCA_SAMPLES:-2}" --model "transformers:$here/solutions$options" \
            --seed "$seed" --direct -o "$here/rollouts.jsonl" --resume
        train "$here/solutions" "$here/trained" "$here/rollouts.jsonl" --on rollouts
        weights=$here/trained learner=transformers:$here/trained
        evaluate "$here/trained" --compare "$model$options" "$learner$options"
    done
    for control in $controls; do
        arm=$run/seed-$seed/controls/$control
        mkdir -p "$arm"
        data=$tasks on=solutions
        if [ "$control" = random-rollouts ]; then
            data=$arm/rollouts.jsonl on=rollouts
            unless_empty sca rollout "$tasks" -k 2 --direct --model "$model$options" --seed "$seed" -o "$data" --resume
        fi
        train "${model#transformers:}" "$arm/trained" "$data" --on $on --control "$control" --like "$here/solutions.jsonl"
        evaluate "$arm/trained" --model "transformers:$arm/trained$options"
    done
done
sca report "$run" -o "$run/report.html"
