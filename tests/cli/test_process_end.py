# SPDX-License-Identifier: Apache-2.0
import pytest

from src.cli.process_end import describe_exit


@pytest.mark.parametrize("status, text", [
    (0, "ended with status 0"), (255, "ended with status 255"), (-11, "was killed by SIGSEGV"),
    (-9, "was killed by SIGKILL (possibly out of memory; check dmesg)"), (-40, "was killed by signal 40")])
def test_how_it_ended(status, text):
    assert describe_exit(status) == text
