#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Evaluate RetinaFace on WIDER FACE val with one GPU, in the background.
#
#   sh run_standalone_gpu_eval.sh [DEVICE_ID] [-- EVAL.PY OPTIONS]
#
#   DEVICE_ID  number of the GPU                             (0)
#
# --dry_run prints the command only. The log is eval/eval.log in the project's folder, which is also what relative paths
# in the options are relative to: grep "Val AP" eval/eval.log.
# Environment: PYTHON, DEVICE_TARGET (GPU; auto, CPU, Ascend), BACKGROUND=0 (stay until the end).
MAX_ARGUMENTS=1
HERE=$(cd "$(dirname "$0")" && pwd)
DEVICE_TARGET=${DEVICE_TARGET:-GPU}
# shellcheck source=scripts/common.sh
. "$HERE/common.sh"

device=${ARG1:-0}
need_number DEVICE_ID "$device"
retinaface eval "$device" "$PYTHON" eval.py --model=retinaface "--device_target=$DEVICE_TARGET" "$@"
