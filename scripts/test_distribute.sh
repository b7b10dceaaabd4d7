#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Test a range of checkpoints, to choose the best one with eval_all.sh.
#
#   sh test_distribute.sh [MODEL_PATH] [DATASET] [GROUND_TRUTH_MAT] [SAVE_PATH] [DEVICE_NUM] [STEPS_PER_EPOCH]
#                         [START] [END] [-- TEST.PY OPTIONS]
#
#   MODEL_PATH       folder of checkpoints                                (model/)
#   DATASET          image folder                         (dataset/centerface/images/val/images/)
#   GROUND_TRUTH_MAT names the images                     (dataset/centerface/ground_truth/val.mat)
#   SAVE_PATH        gets <epoch>/<event>/<image>.txt                     (output/centerface/)
#   DEVICE_NUM       devices in training, or all: every checkpoint there  (8)
#   STEPS_PER_EPOCH  steps of an epoch in training                        (198)
#   START, END       blocks of DEVICE_NUM epochs: START * DEVICE_NUM + 1 to END * DEVICE_NUM are tested,
#                    those that exist: 0-<epoch>_<epoch * STEPS_PER_EPOCH>.ckpt (11 18: epochs 89 to 144)
#
# "" keeps a default; --dry_run prints the command only. One process tests them one after another; where the
# machine has DEVICE_NUM NPUs, one process each (PARALLEL=0 and PARALLEL=1 choose). The logs are
# device_test<id>/test.log beside this script; with several processes device_test/test.log is what the console shows.
# Environment: PYTHON, DEVICE_TARGET (auto, CPU, GPU, Ascend), DEVICE_ID (0), PARALLEL, BACKGROUND=1.
MAX_ARGUMENTS=8
HERE=$(dirname "$0")
# shellcheck source=scripts/common.sh
. "$HERE/common.sh"

devices=${ARG5:-8} first=${ARG7:-11} last=${ARG8:-18}
set -- "$PYTHON" "$ROOT/test.py" "--device_target=$DEVICE_TARGET" "--test_model=${ARG1:-$HERE/model/}" \
    "--data_dir=${ARG2:-$DATA/images/val/images/}" "--ground_truth_mat=${ARG3:-$DATA/ground_truth/val.mat}" \
    "--save_dir=${ARG4:-$HERE/output/centerface/}" "$@"
single=${DEVICE_ID:-0}
if [ "$devices" = all ]; then
    run_logged "$HERE/device_test$single/test.log" env "DEVICE_ID=$single" "$@"
    exit
fi
need_number DEVICE_NUM "$devices"
need_number START "$first"
need_number END "$last"
set -- "$@" "--steps_per_epoch=${ARG6:-198}"
if [ -z "${PARALLEL:-}" ] && is_ascend && [ "$(count_npus)" -ge "$devices" ]; then PARALLEL=1; fi
if [ "${PARALLEL:-0}" = 1 ]; then
    run_logged "$HERE/device_test/test.log" "$@" "--processes=$devices" \
        "--process_log=$HERE/device_test{rank}/test.log" --device_num=1 \
        "--start=$((first * devices))" "--end=$((last * devices))"
else
    run_logged "$HERE/device_test$single/test.log" env "DEVICE_ID=$single" "$@" --device_num=1 \
        "--start=$((first * devices))" "--end=$((last * devices))"
fi
