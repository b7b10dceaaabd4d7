#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Score every prediction folder of a checkpoint evaluation, and name the best by easy, medium, hard and their sum.
#
#   sh eval_all.sh [DIR] [GT] [FILTER_EASY] [FILTER_MEDIUM] [FILTER_HARD] [FILTER_SUM] [-- EVAL.PY OPTIONS]
#
#   DIR       SAVE_PATH of test_distribute.sh; its folders named by epoch are scored  (output/centerface)
#   GT        folder of val.mat and wider_{easy,medium,hard}_val.mat        (dataset/centerface/ground_truth)
#   FILTER_*  the best must have more than this AP, 0 to 1 (sum 0 to 3)               (0)
#
# "" keeps a default; --dry_run prints the command only. Environment: PYTHON.
MAX_ARGUMENTS=6
HERE=$(dirname "$0")
# shellcheck source=scripts/common.sh
. "$HERE/common.sh"

set -- "$PYTHON" "$ROOT/eval.py" "--sweep=${ARG1:-$HERE/output/centerface}" \
    "--gt=${ARG2:-$DATA/ground_truth}" "--filter_easy=${ARG3:-0}" "--filter_medium=${ARG4:-0}" \
    "--filter_hard=${ARG5:-0}" "--filter_sum=${ARG6:-0}" "$@"
if [ -n "$DRY_RUN" ]; then show "$@"; exit; fi
exec "$@"
