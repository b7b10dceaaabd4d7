#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Train RetinaFace on one GPU, in the background.
#
#   sh run_standalone_gpu_train.sh [DEVICE_ID] [-- TRAIN.PY OPTIONS]
#
#   DEVICE_ID  number of the GPU                             (0)
#
# --dry_run prints the command only. The log is train/train.log in the project's folder, which is also what relative
# paths in the options are relative to; checkpoints go to checkpoint/. The command returns once training works.
# Environment: PYTHON, DEVICE_TARGET (GPU; auto, CPU, Ascend), BACKGROUND=0 (stay until the end).
MAX_ARGUMENTS=1
HERE=$(cd "$(dirname "$0")" && pwd)
DEVICE_TARGET=${DEVICE_TARGET:-GPU}
# shellcheck source=scripts/common.sh
. "$HERE/common.sh"

device=${ARG1:-0}
need_number DEVICE_ID "$device"
retinaface train "$device" "$PYTHON" train.py --model=retinaface "--device_target=$DEVICE_TARGET" "$@"
