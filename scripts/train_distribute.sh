#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Train CenterFace on several devices, of one machine or more.
#
#   sh train_distribute.sh [RANK_TABLE] [PRETRAINED_BACKBONE] [DATASET] [ANNOTATIONS] [IMAGES]
#                          [-- TRAIN.PY OPTIONS]
#
#   RANK_TABLE           of hccl_tools.py (Ascend only); without one, msrun starts DEVICE_NUM processes
#   PRETRAINED_BACKBONE  converted mobilenet_v2, or none      (../mobilenet_v2.ckpt)
#   DATASET              data folder                          (dataset/centerface)
#   ANNOTATIONS, IMAGES  in DATASET                           (annotations/train.json, images/train/images)
#
#   --hosts A,B,...      addresses of all machines; run the same command on each (or --hosts 2 --master_addr A
#                        --host_rank R; a rank table of several servers names them itself)
#   --max_restarts N     when a process dies, go on from the last checkpoint, up to N times; on one machine only    (0)
#
# "" keeps a default; --dry_run prints the commands only. launch.py watches over the processes: one that dies is named,
# and all others of the machine are ended within seconds. Writes device0/train.log,
# device0/launch/attempt_<k>/worker_<rank>.log and device0/outputs/<time>/*.ckpt beside this script; machines after the
# first write their logs to device0_host_<number>, so they may share this folder. A device folder with checkpoints is
# moved aside first, unless this run goes on from one of them: -- --resume FILE.
# Environment: PYTHON, DEVICE_TARGET (auto, CPU, GPU, Ascend), DEVICE_NUM (8), MASTER_PORT (of several machines; 8118),
# BACKGROUND=1 (return once training works), TASK_SET=1 (bind processes to cores) with TASK_SET_CORE=n (cores of each).
MAX_ARGUMENTS=5
LAUNCHES=1
HERE=$(dirname "$0")
# shellcheck source=scripts/common.sh
. "$HERE/common.sh"

start() {
    if [ -n "$ARG1" ]; then
        is_ascend || die "RANK_TABLE is for Ascend; give \"\" and set DEVICE_NUM to start with msrun elsewhere"
        devices=--rank_table=$ARG1
    else
        need_number DEVICE_NUM "${DEVICE_NUM:-8}"
        devices=--devices=${DEVICE_NUM:-8}
    fi
    find_host "$devices"
    folder=$(of_host "$HERE/device0")
    device_folder "$folder"
    launch "$folder/train.log" "$devices" "--log_dir=$folder/launch" -- "$ROOT/train.py" \
        "--ckpt_path=$folder/outputs/" --is_distributed=1 --lr=4e-3 "$@"
}

train start "$@"
