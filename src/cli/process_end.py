# SPDX-License-Identifier: Apache-2.0
"""How a process ended, in words.

    describe_exit(-9)   ->   "was killed by SIGKILL (if nobody did it: out of memory, see dmesg)"
"""
import signal


def describe_exit(status: int) -> str:
    """For a sentence about a process.

    Args:
        status: its exit status, or minus the signal that killed it, as `subprocess` and `multiprocessing` give it.
    """
    if status >= 0:
        return f"ended with status {status}"
    names = {number.value: number.name for number in signal.Signals}        # not every signal has one
    hint = " (if nobody did it: out of memory, see dmesg)" if status == -signal.SIGKILL else ""
    return f"was killed by {names.get(-status, f'signal {-status}')}{hint}"
