#!/bin/sh
# Distillation in small: a 0.5B student writes the tasks, a 1.5B teacher attempts them, and the student learns from the
# attempts that passed, and from all of them (the paper: keeping the failures is better). Run it again to
# resume.
#
#   SCA_MODEL=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct \
#   SCA_TEACHER=transformers:Qwen/Qwen2.5-Coder-1.5B-Instruct sh examples/experiments/distill-1.5b.sh
#
# Prints held-out scores in pairs: the teacher, the student that learnt from passes, and the one that learnt from all
# attempts, each minus the untrained student.
# With the defaults it takes about five hours on two CPU cores, half of them evaluation (480 attempts a model).
#
# SCA_ENV=NAME (calculation)       SCA_RUN=DIR (runs/distill-1.5b)     SCA_CANDIDATES=N  candidate tasks (200)
# SCA_SAMPLES=K  the teacher's attempts at each task (4)               SCA_EVAL=N        held-out tasks (all)
# SCA_METHOD=NAME        how tasks are made (solution-first)
# SCA_BASE=DIR_OR_NAME   the student's weights, where SCA_MODEL does not end in them (options, a server)
set -eu
cd "$(dirname -- "$0")/../.."
model=${SCA_MODEL:?"name the student, as in SCA_MODEL=transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct"}
teacher=${SCA_TEACHER:?"name the teacher, as in SCA_TEACHER=transformers:Qwen/Qwen2.5-Coder-1.5B-Instruct"}
plain=${model%%,*}
student=${SCA_BASE:-${plain#*:}}
env=${SCA_ENV:-calculation}
run=${SCA_RUN:-runs/distill-1.5b}
n=${SCA_CANDIDATES:-200}
unset SCA_MODEL; export SCA_ENV="$env"  # every verb may start it
mkdir -p "$run"

. examples/environment.sh

sca explore --env "$env" --model "$model" -n "$((n / 5 + 1))" -o "$run/explorations.jsonl" --resume
unless_empty sca challenge --method "${SCA_METHOD:-solution-first}" -n "$n" --all --model "$model" \
    "$run/explorations.jsonl" -o "$run/candidates.jsonl" --resume
unless_empty sca verify "$run/candidates.jsonl" -o "$run/tasks.jsonl" --resume
[ -s "$run/tasks.jsonl" ] || { echo "$0: no task was kept; a larger model or more candidates may do" >&2; exit 1; }
unless_empty sca rollout "$run/tasks.jsonl" -k "${SCA_SAMPLES:-4}" --model "$teacher" -o "$run/teacher.jsonl" --resume

# compared NAME MODEL: a model beside the student as it was.
compared() {
    sca eval --env "$env" -k 4 ${SCA_EVAL:+-n "$SCA_EVAL"} --against "$run/tasks.jsonl" --compare "$model" "$2" \
        --rollouts "$run/$1-eval.jsonl" --resume -o "$run/$1-scores.jsonl"
}
compared teacher "$teacher"
for arm in passes all; do
    case $arm in passes) failures= ;; all) failures=--keep-failures ;; esac
    unless_empty sca distill "$run/teacher.jsonl" --student "$student" ${failures:+"$failures"} --save "$run/$arm" \
        -o "$run/$arm-checkpoint.jsonl" --resume
    [ ! -f "$run/$arm/config.json" ] || compared "$arm" "transformers:$run/$arm"
done
sca report "$run" -o "$run/report.html"
