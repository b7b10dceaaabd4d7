#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Test one checkpoint and score it.
#
#   sh test_and_eval.sh [MODEL_PATH] [DATASET] [GROUND_TRUTH_MAT] [SAVE_PATH] [CKPT] [GROUND_TRUTH_PATH]
#                       [-- TEST.PY OPTIONS]
#   sh test_and_eval.sh [MODEL_PATH] [DATASET] [GROUND_TRUTH_MAT] [SAVE_PATH] DEVICE_ID [CKPT]
#                       [GROUND_TRUTH_PATH] [-- TEST.PY OPTIONS]
#
#   MODEL_PATH         folder of checkpoints              (model/)
#   DATASET            image folder                       (dataset/centerface/images/val/images/)
#   GROUND_TRUTH_MAT   names the images                   (dataset/centerface/ground_truth/val.mat)
#   SAVE_PATH          gets <event>/<image>.txt           (output/centerface/999)
#   CKPT               file in MODEL_PATH                 (0-125_24750.ckpt)
#   GROUND_TRUTH_PATH  folder of the WIDER .mat files     (dataset/centerface/ground_truth)
#   DEVICE_ID          device number                      (0)
#
# A number in the fifth place, or a seventh argument, means the second form. "" keeps a default; --dry_run
# prints the command only. The log is device_test<id>/test.log beside this script.
# Environment: PYTHON, DEVICE_TARGET (auto, CPU, GPU, Ascend), DEVICE_ID (0), BACKGROUND=1.
MAX_ARGUMENTS=7
HERE=$(dirname "$0")
# shellcheck source=scripts/common.sh
. "$HERE/common.sh"

device=${DEVICE_ID:-0} checkpoint=$ARG5 truth=$ARG6
case $COUNT/$ARG5 in
7/* | */[0-9] | */[0-9][0-9]) device=${ARG5:-$device} checkpoint=$ARG6 truth=$ARG7 ;;
esac
need_number DEVICE_ID "$device"
run_logged "$HERE/device_test$device/test.log" env "DEVICE_ID=$device" "$PYTHON" "$ROOT/test.py" --eval=1 \
    "--device_target=$DEVICE_TARGET" "--test_model=${ARG1:-$HERE/model/}" \
    "--data_dir=${ARG2:-$DATA/images/val/images/}" "--ground_truth_mat=${ARG3:-$DATA/ground_truth/val.mat}" \
    "--save_dir=${ARG4:-$HERE/output/centerface/999}" "--ckpt_name=${checkpoint:-0-125_24750.ckpt}" \
    "--ground_truth_path=${truth:-$DATA/ground_truth}" "$@"
