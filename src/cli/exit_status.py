# SPDX-License-Identifier: Apache-2.0
"""How a process ended, in words.

    describe_exit(-9)   ->   "was killed by SIGKILL (possibly out of memory; check dmesg)"
"""
import signal


def describe_exit(status: int) -> str:
    """Say how a process ended, for a sentence such as "rank 1 was killed by SIGKILL".

    Args:
        status: its exit status, or minus the signal that killed it, as `subprocess` and `multiprocessing` give it.
    """
    if status >= 0:
        return f"ended with status {status}"
    names = {number.value: number.name for number in signal.Signals}        # not every signal has one
    hint = " (possibly out of memory; check dmesg)" if status == -signal.SIGKILL else ""
    return f"was killed by {names.get(-status, f'signal {-status}')}{hint}"
