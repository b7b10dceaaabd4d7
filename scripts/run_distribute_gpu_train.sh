#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Train RetinaFace on several GPUs, of one machine or more, in the background.
#
#   sh run_distribute_gpu_train.sh [DEVICE_NUM] [VISIBLE_DEVICES] [-- TRAIN.PY OPTIONS]
#
#   DEVICE_NUM       how many on this machine                (4)
#   VISIBLE_DEVICES  which, separated by commas              (0,1,2,...)
#
#   --hosts A,B,...      addresses of all machines; run the same command on each (or --hosts 2 --master_addr A
#                        --host_rank R); with mpirun on the first one only
#   --max_restarts N     when a process dies, go on from the last checkpoint, up to N times; on one machine only    (0)
#
# --dry_run prints the command only. mpirun starts the processes; msrun does where there is none, and on the CPU, where
# MindSpore has no MPI; launch.py watches over them.
# The log is train/train.log in the project's folder, which is also what relative paths in the options are relative
# to; checkpoints go to checkpoint/ckpt_0/, each process logs to train/launch/attempt_<k>/worker_<rank>.log. Machines
# after the first log to train_host_<number>/, so they may share the folder. The command returns once training works.
# Environment: PYTHON, DEVICE_TARGET (GPU; auto, CPU, Ascend), LAUNCHER (mpirun or msrun), MASTER_PORT (of
# several machines; 8118), TASK_SET=1 (bind processes to cores) with TASK_SET_CORE=n (cores of each), BACKGROUND=0 (stay
# until the end).
MAX_ARGUMENTS=2
LAUNCHES=1
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
named=$(printf '%s\n' "$visible" | tr ',' '\n' | wc -l)
[ "$named" -eq "$number" ] || die "VISIBLE_DEVICES '$visible' names $named devices, DEVICE_NUM is $number"
if [ -z "${LAUNCHER:-}" ]; then
    LAUNCHER=msrun
    [ "$DEVICE_TARGET" = CPU ] || ! command -v mpirun >/dev/null 2>&1 || LAUNCHER=mpirun
fi
case $LAUNCHER in mpirun | msrun) ;; *) die "LAUNCHER '$LAUNCHER': expected mpirun or msrun" ;; esac
cd "$ROOT" || exit
BACKGROUND=${BACKGROUND:-1}
find_host "--devices=$number"
folder=$(of_host train)
launch "$folder/train.log" "--devices=$number" "--visible_devices=$visible" "--launcher=$LAUNCHER" \
    "--log_dir=$folder/launch" -- train.py --model=retinaface --is_distributed=1 "--device_target=$DEVICE_TARGET" "$@"
