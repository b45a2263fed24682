# shellcheck shell=sh disable=SC2034  # its variables are used by the scripts that source it
# Sourced by the scripts of this directory: settings, stages, servers, and the tasks that two of them share.
#
# SCA_BASE=DIR_OR_NAME  challenger, executor and learner (meta-llama/Llama-3.1-8B-Instruct)
# SCA_ENVS='A B'        environments (calculation web_browsing retail airline)   SCA_RUN=DIR  everything (runs/paper)
# SCA_GPUS=N            GPUs, at least 2 (8)                 SCA_SAMPLES=K      attempts at each task (15)
# SCA_TASKS=N           tasks of each environment (800)      SCA_CANDIDATES=N   candidates (by the paper's yield, 5.2 %)
# SCA_CODE_ACT=DIR SCA_TAU_BENCH=DIR   checkouts: measure on the benchmarks' own tasks, not on those that ship
# SCA_TOKENIZER=DIR     counts the tokens of --dry-run (SCA_BASE's, if it is on this machine)
#
# --dry-run prints what every stage would cost, --commands what it would run; neither starts anything.
command -v sca >/dev/null || { echo "$0: no sca on the PATH; run: pip install '.[train,openai,vllm]'" >&2; exit 4; }
listing=
case $# in 0) set -- --run ;; 1) ;; *) set -- "$*" ;; esac
case $1 in
    --run) ;;
    --commands) listing=yes ;;
    --dry-run)
        commands=$(sh "$0" --commands)
        printf '%s\n' "$commands" | python examples/paper/cost.py --gpus "${SCA_GPUS:-8}" \
            --tokenizer "${SCA_TOKENIZER:-${SCA_BASE:-meta-llama/Llama-3.1-8B-Instruct}}"
        exit ;;
    -h | --help) sed -n 's/^# \{0,1\}//p' "$0" examples/paper/stages.sh; exit ;;
    *) printf '%s\n' "$0: unknown option '$1'" "hint: --dry-run, --commands, --help, or none to run" >&2; exit 2 ;;
esac

base=${SCA_BASE:-meta-llama/Llama-3.1-8B-Instruct}
envs=${SCA_ENVS:-calculation web_browsing retail airline}
run=${SCA_RUN:-runs/paper}
gpus=${SCA_GPUS:-8}
tasks=${SCA_TASKS:-800}
candidates=${SCA_CANDIDATES:-$((tasks * 1000 / 52 + 1))}
samples=${SCA_SAMPLES:-15}
width=$((64 * gpus)) # conversations at once: 64 a GPU
calculation=message_decoder+cryptobotanists_plant_dna_sequencer+trade_calculator+travel_itinerary_planning
longest=16384 # tokens of a conversation, served and trained
executor="openai:$base,base_url=http://localhost:8000/v1,concurrency=$width"
unset SCA_MODEL; export SCA_ENV="$envs"  # every verb may start them
export CUDA_VISIBLE_DEVICES=0 # of training; servers get their own
[ "$gpus" -ge 2 ] || { echo "$0: SCA_GPUS=$gpus: two models are served side by side" >&2; exit 2; }

. examples/environment.sh

# Run one stage, or print it.
stage() {
    if [ "$listing" ]; then printf '%s\n' "$*"; else unless_empty "$@"; fi
}

# first N FILE OUT: the first N records of a file.
first() {
    head -n "$1" "$2" >"$3"
    [ "$(wc -l <"$3")" -ge "$1" ] || echo "$0: fewer than $1 tasks in $3: SCA_CANDIDATES=$candidates was too low" >&2
}

# serve PORT FIRST_GPU GPUS TENSOR_PARALLEL MODEL NAME: start vLLM in the background and wait until it answers.
servers=
serve() {
    port=$1 devices=$(seq -s , "$2" "$(($2 + $3 - 1))")
    set -- vllm serve "$5" --served-model-name "$6" --port "$1" --tensor-parallel-size "$4" \
        --data-parallel-size "$(($3 / $4))" --max-model-len "$longest" --enable-prefix-caching
    if [ "$listing" ]; then printf '%s\n' "$*"; return; fi
    mkdir -p "$run"
    CUDA_VISIBLE_DEVICES=$devices "$@" >"$run/vllm-$port.log" 2>&1 &
    servers="$servers $!"
    until python -c "import urllib.request as url; url.urlopen('http://localhost:$port/health')" 2>/dev/null; do
        kill -0 $! 2>/dev/null || { echo "$0: vLLM has ended; $run/vllm-$port.log says why" >&2; exit 4; }
        sleep 5
    done
}
unserve() {
    for server in $servers; do kill "$server" 2>/dev/null || true; wait "$server" || true; done
    servers=
}
trap unserve EXIT
trap 'exit 130' INT TERM

# tasks_of ENV: explore, write candidates, keep those that pass the paper's filter, and of them the first SCA_TASKS.
tasks_of() {
    [ "$listing" ] || mkdir -p "$run/$1"
    stage sca explore --env "$1" -n "$((candidates / 5 + 1))" --model "$executor" --concurrency "$width" \
        -o "$run/$1/explorations.jsonl" --resume
    stage sca challenge -n "$candidates" --max-tokens 1536 --model "$executor" --concurrency "$width" \
        "$run/$1/explorations.jsonl" -o "$run/$1/candidates.jsonl" --resume
    stage sca verify --paper "$run/$1/candidates.jsonl" -o "$run/$1/verified.jsonl" --resume
    stage first "$tasks" "$run/$1/verified.jsonl" "$run/$1/tasks.jsonl"
}

# compared ENV DIRECTORY: what was trained there beside the model it began with; the latter plays the customers.
compared() {
    [ "$listing" ] || [ -f "$run/$1/$2/config.json" ] || return 0
    half=$((gpus / 2))
    serve 8000 0 "$half" 1 "$base" "$base"
    serve 8001 "$half" "$half" 1 "$run/$1/$2" "$base-$2"
    case ${SCA_CODE_ACT:+code-act}${SCA_TAU_BENCH:+tau-bench}:$1 in
        *code-act*:web_browsing) where="--suite m3tooleval:$SCA_CODE_ACT,families=web_browsing" ;;
        *code-act*:calculation) where="--suite m3tooleval:$SCA_CODE_ACT,families=$calculation" ;;
        *tau-bench*:retail | *tau-bench*:airline) where="--suite taubench:$SCA_TAU_BENCH,domain=$1" ;;
        *) where="--env $1" ;;
    esac
    # shellcheck disable=SC2086  # two words
    stage sca eval $where -k 4 --turns 10 --max-tokens 512 --user-model "$executor" --concurrency "$width" \
        --compare "$executor" "openai:$base-$2,base_url=http://localhost:8001/v1,concurrency=$width" \
        --rollouts "$run/$1/$2-eval.jsonl" --resume -o "$run/$1/$2-scores.jsonl"
    unserve
}
