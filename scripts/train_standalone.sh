#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Train CenterFace on one device.
#
#   sh train_standalone.sh [USE_DEVICE_ID] [PRETRAINED_BACKBONE] [DATASET] [ANNOTATIONS] [IMAGES]
#                          [-- TRAIN.PY OPTIONS]
#
#   USE_DEVICE_ID        device number                        (0)
#   PRETRAINED_BACKBONE  converted mobilenet_v2, or none      (../mobilenet_v2.ckpt)
#   DATASET              data folder                          (dataset/centerface)
#   ANNOTATIONS, IMAGES  in DATASET                           (annotations/train.json, images/train/images)
#
# "" keeps a default; --dry_run prints the command only. Writes device<id>/train.log and
# device<id>/outputs/<time>/*.ckpt beside this script. A device folder with checkpoints is moved aside first,
# unless this run goes on from one of them: -- --resume FILE.
# Environment: PYTHON, DEVICE_TARGET (auto, CPU, GPU, Ascend), BACKGROUND=1 (return once training works),
# TASK_SET=1 with TASK_SET_CORE=n (bind to n cores).
MAX_ARGUMENTS=5
HERE=$(dirname "$0")
# shellcheck source=scripts/common.sh
. "$HERE/common.sh"

device=${ARG1:-0}
need_number USE_DEVICE_ID "$device"
folder=$HERE/device$device

start() {
    set -- "$PYTHON" "$ROOT/train.py" "--ckpt_path=$folder/outputs/" --is_distributed=0 --lr=5e-4 "$@"
    if [ "${TASK_SET:-0}" = 1 ]; then
        command -v taskset >/dev/null || die "TASK_SET=1: there is no taskset here; install util-linux"
        cores=${TASK_SET_CORE:-$(getconf _NPROCESSORS_ONLN)}
        need_number TASK_SET_CORE "$cores"
        [ "$cores" -gt 0 ] || die "TASK_SET_CORE '$cores': expected at least 1"
        set -- taskset -c "0-$((cores - 1))" "$@"
    fi
    device_folder "$folder"
    run_logged "$folder/train.log" env "DEVICE_ID=$device" "$@"
}

train start "$@"
