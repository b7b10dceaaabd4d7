#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Train CenterFace on several devices of one machine.
#
#   sh train_distribute.sh [RANK_TABLE] [PRETRAINED_BACKBONE] [DATASET] [ANNOTATIONS] [IMAGES]
#                          [-- TRAIN.PY OPTIONS]
#
#   RANK_TABLE           of hccl_tools.py (Ascend only); without one, msrun starts DEVICE_NUM processes
#   PRETRAINED_BACKBONE  converted mobilenet_v2, or none      (../mobilenet_v2.ckpt)
#   DATASET              data folder                          (dataset/centerface)
#   ANNOTATIONS, IMAGES  in DATASET                           (annotations/train.json, images/train/images)
#
# "" keeps a default; --dry_run prints the commands only. Writes device<rank>/train.log and
# device0/outputs/<time>/*.ckpt beside this script (with msrun, all in device0). A device folder with
# checkpoints is moved aside first, unless this run goes on from one of them: -- --resume FILE.
# Environment: PYTHON, DEVICE_TARGET (auto, CPU, GPU, Ascend), DEVICE_NUM (8), MASTER_PORT (8118, of msrun),
# BACKGROUND=1 (msrun: return once training works), TASK_SET=1 (bind processes to cores) with TASK_SET_CORE=n
# (rank table: cores of each; msrun shares them out itself).
MAX_ARGUMENTS=5
HERE=$(dirname "$0")
# shellcheck source=scripts/common.sh
. "$HERE/common.sh"

# msrun starts the first `python3` of PATH, so that of $PYTHON is put there. Workers write
# device0/msrun/worker_<rank>.log; that of rank 0 is shown.
launch_msrun() {
    devices=${DEVICE_NUM:-8}
    need_number DEVICE_NUM "$devices"
    bind=False
    [ "${TASK_SET:-0}" != 1 ] || bind=True
    device_folder "$HERE/device0"
    PATH=$(dirname "$(command -v "$PYTHON")"):$PATH
    run_logged "$HERE/device0/train.log" "$PYTHON" -m mindspore.parallel.cluster.run "--worker_num=$devices" \
        "--local_worker_num=$devices" "--master_port=${MASTER_PORT:-8118}" \
        "--log_dir=$HERE/device0/msrun" --join=True --tail_worker_log=0 "--bind_core=$bind" \
        python3 "$ROOT/train.py" "--ckpt_path=$HERE/device0/outputs/" --is_distributed=1 --lr=4e-3 "$@"
}

# One process a line of the rank table, in the order of their ranks.
launch_ranks() {
    is_ascend || die "RANK_TABLE is for Ascend; give \"\" and set DEVICE_NUM to start with msrun elsewhere"
    devices=$("$PYTHON" "$HERE/hccl_tools.py" --check "$ARG1") || exit
    TOGETHER=1 count=0
    for device in $devices; do device_folder "$HERE/device$count" && count=$((count + 1)); done
    number=0
    for device in $devices; do
        with_cores "$number" "$count" start_rank "$PYTHON" "$ROOT/train.py" \
            "--ckpt_path=$HERE/device$number/outputs/" --is_distributed=1 --lr=4e-3 "$@"
        number=$((number + 1))
    done
    wait_all
}

start_rank() {
    start "$HERE/device$number/train.log" env "RANK_TABLE_FILE=$ARG1" "RANK_SIZE=$count" "RANK_ID=$number" \
        "DEVICE_ID=$device" "$@"
}

if [ -n "$ARG1" ]; then train launch_ranks "$@"; else train launch_msrun "$@"; fi
