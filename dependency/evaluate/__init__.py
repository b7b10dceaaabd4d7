# SPDX-License-Identifier: Apache-2.0
"""The WIDER FACE evaluation, usable alone: it needs NumPy and SciPy, and is faster with its compiled modules.

    python -m dependency.evaluate --pred output/centerface/999 --gt dataset/centerface/ground_truth

    from dependency.evaluate import evaluate
    evaluate("output/centerface/999", "dataset/centerface/ground_truth").ap[0.5]["hard"]
"""
from dependency.evaluate.eval import evaluate

__all__ = ["evaluate"]
