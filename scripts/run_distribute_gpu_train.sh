#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Train RetinaFace on several GPUs of one machine, in the background.
#
#   sh run_distribute_gpu_train.sh [DEVICE_NUM] [VISIBLE_DEVICES] [-- TRAIN.PY OPTIONS]
#
#   DEVICE_NUM       how many                                (4)
#   VISIBLE_DEVICES  which, separated by commas              (0,1,2,...)
#
# --dry_run prints the command only. mpirun starts the processes, where there is none msrun. The log is train/train.log
# in the project's folder, which is also what relative paths in the options are relative to; checkpoints go to
# checkpoint/ckpt_0/. The command returns once training works.
# Environment: PYTHON, DEVICE_TARGET (GPU; auto, CPU, Ascend), LAUNCHER (mpirun or msrun), MASTER_PORT (8118, of msrun),
# BACKGROUND=0 (stay until the end).
MAX_ARGUMENTS=2
HERE=$(cd "$(dirname "$0")" && pwd)
DEVICE_TARGET=${DEVICE_TARGET:-GPU}
# shellcheck source=scripts/common.sh
. "$HERE/common.sh"

number=${ARG1:-4}
need_number DEVICE_NUM "$number"
visible=$ARG2
if [ -z "$visible" ]; then
    visible=0 next=1
    while [ "$next" -lt "$number" ]; do visible=$visible,$next next=$((next + 1)); done
fi
given=$(printf '%s\n' "$visible" | tr ',' '\n' | wc -l)
[ "$given" -eq "$number" ] || die "VISIBLE_DEVICES '$visible' names $given devices, DEVICE_NUM is $number"
if [ -z "${LAUNCHER:-}" ]; then
    LAUNCHER=msrun
    ! command -v mpirun >/dev/null 2>&1 || LAUNCHER=mpirun
fi
set -- train.py --model=retinaface --is_distributed=1 "--device_target=$DEVICE_TARGET" "$@"
case $LAUNCHER in
mpirun)
    retinaface train "$visible" mpirun --allow-run-as-root -n "$number" --output-filename train/log_output \
        --merge-stderr-to-stdout "$PYTHON" "$@"
    ;;
msrun)      # starts the first `python3` of PATH, so that of $PYTHON is put there
    PATH=$(dirname "$(command -v "$PYTHON")"):$PATH
    retinaface train "$visible" "$PYTHON" -m mindspore.parallel.cluster.run "--worker_num=$number" \
        "--local_worker_num=$number" "--master_port=${MASTER_PORT:-8118}" --log_dir=train/msrun --join=True \
        --tail_worker_log=0 python3 "$@"
    ;;
*) die "LAUNCHER '$LAUNCHER': expected mpirun or msrun" ;;
esac
