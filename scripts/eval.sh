#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Score the predictions of one test.
#
#   sh eval.sh [PRED] [GT] [-- EVAL.PY OPTIONS]
#
#   PRED  predictions of test.sh                (output/centerface/999 if it exists, else output/centerface)
#   GT    folder of val.mat and wider_{easy,medium,hard}_val.mat            (dataset/centerface/ground_truth)
#
# "" keeps a default; --dry_run prints the command only. Environment: PYTHON.
MAX_ARGUMENTS=2
HERE=$(dirname "$0")
# shellcheck source=scripts/common.sh
. "$HERE/common.sh"

saved=$HERE/output/centerface
[ ! -d "$saved/999" ] || saved=$saved/999
set -- "$PYTHON" "$ROOT/eval.py" "--pred=${ARG1:-$saved}" "--gt=${ARG2:-$DATA/ground_truth}" "$@"
if [ -n "$DRY_RUN" ]; then show "$@"; exit; fi
echo "start eval"
"$@" || exit
echo "end eval"
