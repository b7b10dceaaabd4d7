# SPDX-License-Identifier: Apache-2.0
"""What tests of the launchers share."""
import pytest

from tests.scripts.launchers import Scripts


@pytest.fixture
def scripts(tmp_path):
    return Scripts(tmp_path)
