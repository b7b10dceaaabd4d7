#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Test one checkpoint: find the faces of every image and write them as text files.
#
#   sh test.sh [MODEL_PATH] [DATASET] [GROUND_TRUTH_MAT] [SAVE_PATH] [DEVICE_ID] [CKPT] [-- TEST.PY OPTIONS]
#
#   MODEL_PATH        folder of checkpoints              (model/)
#   DATASET           image folder                       (dataset/centerface/images/val/images/)
#   GROUND_TRUTH_MAT  names the images                   (dataset/centerface/ground_truth/val.mat)
#   SAVE_PATH         gets <event>/<image>.txt           (output/centerface/999, where eval.sh looks)
#   DEVICE_ID         device number                      (0)
#   CKPT              file in MODEL_PATH                 (0-125_24750.ckpt)
#
# "" keeps a default; --dry_run prints the command only. The log is device_test<id>/test.log here.
# Environment: PYTHON, DEVICE_TARGET (auto, CPU, GPU, Ascend), BACKGROUND=1.
MAX_ARGUMENTS=6
HERE=$(dirname "$0")
# shellcheck source=scripts/common.sh
. "$HERE/common.sh"

device=${ARG5:-0}
need_number DEVICE_ID "$device"
run_logged "$HERE/device_test$device/test.log" env "DEVICE_ID=$device" "$PYTHON" "$ROOT/test.py" \
    "--device_target=$DEVICE_TARGET" "--test_model=${ARG1:-$HERE/model/}" \
    "--data_dir=${ARG2:-$DATA/images/val/images/}" "--ground_truth_mat=${ARG3:-$DATA/ground_truth/val.mat}" \
    "--save_dir=${ARG4:-$HERE/output/centerface/999}" "--ckpt_name=${ARG6:-0-125_24750.ckpt}" "$@"
