# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# What the launchers share; sourced by them after MAX_ARGUMENTS and HERE (their folder) are set.
#
# Sets ARG1, ARG2, ... (positional arguments, or ""), COUNT (their number) and "$@" (everything behind --); for
# launchers that set LAUNCHES also HOSTS, MASTER_ADDR, HOST_RANK and MAX_RESTARTS (or "").
# Paths in arguments are relative to the current folder, defaults to the folder of the scripts.

: "${HERE:?source this file from a launcher}" "${MAX_ARGUMENTS:?}"
ROOT=$HERE/..
DATA=$HERE/dataset/centerface
DRY_RUN=''
DEVICE_TARGET=${DEVICE_TARGET:-auto}
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python
    command -v python >/dev/null 2>&1 || PYTHON=python3
fi

die() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

say() {
    printf '%s\n' "$*" >&2
}

# The comment at the head of the launcher.
usage() {
    sed -n -e '1,2d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
}

need_number() {     # NAME VALUE
    case $2 in '' | *[!0-9]*) die "$1 '$2': expected a whole number; see $0 --help" ;; esac
}

is_ascend() {
    [ "$DEVICE_TARGET" = Ascend ] || { [ "$DEVICE_TARGET" = auto ] && [ "$(count_npus)" -gt 0 ]; }
}

count_npus() {
    set -- /dev/davinci[0-9]*
    if [ -e "$1" ]; then echo $#; else echo 0; fi
}

quote() {           # WORD as a shell reads it
    case $1 in
    *[!A-Za-z0-9_@%+=:,./-]* | '') printf "'%s' " "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf '%s ' "$1" ;;
    esac
}

show() {            # COMMAND...: what would run, ready to be pasted
    for word in "$@"; do quote "$word"; done
    echo
}

# Make a device folder. One that holds the checkpoints of an earlier run is moved aside (device0.1, ...), so
# that device0/outputs/*/*.ckpt are those of one run; a run that resumes one of them goes on in the folder.
device_folder() {   # FOLDER
    [ -z "$DRY_RUN" ] || return 0
    if [ -f "$1/run.pid" ] && kill -0 "$(cat "$1/run.pid")" 2>/dev/null; then
        die "$1: process $(cat "$1/run.pid") still writes there; wait for it," \
            "or remove $1/run.pid if it is another program"
    fi
    if has_checkpoints "$1" && ! is_resumed "$1"; then
        number=1
        while [ -e "$1.$number" ]; do number=$((number + 1)); done
        mv "$1" "$1.$number"
        say "the former run is now in $1.$number"
    fi
    mkdir -p "$1"
}

has_checkpoints() { # FOLDER
    set -- "$1"/outputs/*/*.ckpt
    [ -e "$1" ]
}

is_resumed() {      # FOLDER: whether $RESUME is FOLDER/outputs/<time>/<name>.ckpt
    [ -f "${RESUME:-}" ] && [ "$(cd "$(dirname "$RESUME")/../.." && pwd -P)" = "$(cd "$1" && pwd -P)" ]
}

# Become COMMAND, with its output on the console and appended to LOG: signals and exit status are its own.
# With BACKGROUND=1 it goes on alone once it works.
run_logged() {      # LOG COMMAND...
    log=$1
    shift
    if [ -n "$DRY_RUN" ]; then show "$@"; return; fi
    mkdir -p "$(dirname "$log")"
    if [ "${BACKGROUND:-0}" = 1 ]; then run_detached "$log" "$@"; return; fi
    pipe=$(mktemp -d) && mkfifo "$pipe/log"
    tee -ia "$log" <"$pipe/log" &
    exec >"$pipe/log" 2>&1
    rm -r "$pipe"
    echo $$ >"$(dirname "$log")/run.pid"
    exec "$@"
}

# Start COMMAND in the background and return when it logs its first result, or its status if it ends before.
run_detached() {    # LOG COMMAND...
    log=$1
    shift
    touch "$log"
    before=$(wc -l <"$log")
    nohup "$@" >>"$log" 2>&1 </dev/null &
    process=$!
    echo "$process" >"$(dirname "$log")/run.pid"
    while kill -0 "$process" 2>/dev/null; do
        if tail -n "+$((before + 1))" "$log" | grep -q -e 'average_loss' -e ' images in ' -e 'loss is' -e 'im_detect' \
            -e 'runs on the first host'; then
            tail -n 1 "$log"
            say "goes on in the background as process $process; log: $log"
            return 0
        fi
        sleep 1
    done
    status=0
    wait "$process" || status=$?
    tail -n "+$((before + 1))" "$log" | tail -n 20
    return "$status"
}

# RetinaFace's launchers: the project's folder is where they work and log, in the background by default.
retinaface() {      # KIND (train, eval) VISIBLE_DEVICES COMMAND...
    kind=$1 visible=$2
    shift 2
    cd "$ROOT" || exit
    BACKGROUND=${BACKGROUND:-1}
    run_logged "$kind/$kind.log" env "CUDA_VISIBLE_DEVICES=$visible" "$@"
}

unknown() {         # OPTION
    die "unknown option $1; options of the Python program go behind --, as in: sh $0 -- $1"
}

launch_option() {   # OPTION VALUE
    [ -n "${LAUNCHES:-}" ] || unknown "$1"
    case $1 in
    --hosts) HOSTS=$2 ;;
    --master_addr) MASTER_ADDR=$2 ;;
    --host_rank) HOST_RANK=$2 ;;
    --max_restarts) MAX_RESTARTS=$2 ;;
    esac
}

# Which machine of several this is, from 0, in HOST_RANK; several may share the folders that the launchers write to.
find_host() {       # --devices=N or --rank_table=FILE
    case $HOSTS$1 in --devices=*) return 0 ;; esac
    HOST_RANK=$("$PYTHON" "$HERE/launch.py" --which_host ${HOSTS:+"--hosts=$HOSTS"} \
        ${MASTER_ADDR:+"--master_addr=$MASTER_ADDR"} ${HOST_RANK:+"--host_rank=$HOST_RANK"} "$@" \
        -- "$HERE/launch.py") || exit
}

of_host() {         # FOLDER: of the first machine, FOLDER_host_<number> of any other
    if [ "${HOST_RANK:-0}" = 0 ]; then echo "$1"; else echo "$1_host_$HOST_RANK"; fi
}

# Start several processes by launch.py. The output of rank 0 is shown, and LOG gets it.
launch() {          # LOG OPTIONS... -- PROGRAM...
    log=$1
    shift
    if [ "${TASK_SET:-0}" = 1 ]; then
        need_number TASK_SET_CORE "${TASK_SET_CORE:-0}"
        set -- --task_set=1 "--task_set_core=${TASK_SET_CORE:-0}" "$@"
    fi
    set -- "$PYTHON" "$HERE/launch.py" ${DRY_RUN:+--dry_run} ${MASTER_PORT:+"--master_port=$MASTER_PORT"} \
        ${HOSTS:+"--hosts=$HOSTS"} ${MASTER_ADDR:+"--master_addr=$MASTER_ADDR"} \
        ${HOST_RANK:+"--host_rank=$HOST_RANK"} ${MAX_RESTARTS:+"--max_restarts=$MAX_RESTARTS"} "$@"
    if [ -n "$DRY_RUN" ]; then exec "$@"; fi
    run_logged "$log" "$@"
}

# Call LAUNCH with the files of ARG2 .. ARG5 as options of train.py, and OPTIONS.
train() {           # LAUNCH OPTIONS...
    launch=$1
    shift
    RESUME='' before=''
    for option in "$@"; do
        [ "$before" != --resume ] || RESUME=$option
        case $option in
        --resume=*) RESUME=${option#--resume=} ;;
        --data | --data=*) die "$option: this launcher is for the manual's layout; for own images type python train.py" \
            "--model centerface, or python -m src.tools.launch -- train.py --model centerface, and $option" ;;
        esac
        before=$option
    done
    backbone=${ARG2:-$ROOT/mobilenet_v2.ckpt}
    if [ -z "$ARG2" ] && [ -n "$RESUME" ]; then backbone=none; fi
    [ "$backbone" != none ] || backbone=''
    dataset=${ARG3:-$DATA}
    if [ -z "$DRY_RUN" ]; then
        [ -z "$backbone" ] || [ -f "$backbone" ] || die "no pretrained backbone $backbone; make it with" \
            "src/convert_weight_mobilenetv2.py, or say none as PRETRAINED_BACKBONE"
        [ -d "$dataset" ] || die "no dataset folder $dataset; link it: ln -sf YOUR_DATA_DIR $HERE/dataset"
    fi
    "$launch" --model=centerface "--device_target=$DEVICE_TARGET" --weight_decay=0 "--pretrained_backbone=$backbone" \
        "--data_dir=$dataset" "--annot_path=${ARG4:-annotations/train.json}" \
        "--img_dir=${ARG5:-images/train/images}" "$@"
}

# shellcheck disable=SC2034  # the launchers use them
ARG1='' ARG2='' ARG3='' ARG4='' ARG5='' ARG6='' ARG7='' ARG8=''
HOSTS='' MASTER_ADDR='' HOST_RANK='' MAX_RESTARTS=''
COUNT=0
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --dry_run) DRY_RUN=1 ;;
    --hosts | --master_addr | --host_rank | --max_restarts)
        [ $# -gt 1 ] || die "$1: expected a value; see $0 --help"
        launch_option "$1" "$2"
        shift
        ;;
    --hosts=* | --master_addr=* | --host_rank=* | --max_restarts=*) launch_option "${1%%=*}" "${1#*=}" ;;
    --) shift; break ;;
    -?*) unknown "$1" ;;
    *)
        COUNT=$((COUNT + 1))
        [ "$COUNT" -le "$MAX_ARGUMENTS" ] || die "'$1' is one argument too many; see $0 --help"
        eval "ARG$COUNT=\$1"
        ;;
    esac
    shift
done
