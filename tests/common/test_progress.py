# SPDX-License-Identifier: Apache-2.0
"""Progress: log lines in a file, nothing where it is not wanted."""
import logging

import pytest

from src.common import log, progress


@pytest.fixture
def lines(monkeypatch):
    """The messages that reach the log; progress is reported without delay."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(log.LOGGER, "handlers", [])
    log.LOGGER.setLevel(logging.INFO)
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    log.LOGGER.addHandler(handler)
    return messages


@pytest.mark.parametrize("total, shown, expected", [(3, True, ["1 of 3", "2 of 3", "3 of 3"]), (3, False, []),
                                                    (0, True, ["1 of ?"])])
def test_progress_in_a_file_is_log_lines(lines, total, shown, expected):
    with progress.progress_bar(total, "images", "test", shown) as bar:
        for _ in range(max(total, 1)):
            bar.update()
    assert len(lines) == len(expected)
    assert all(part in line and line.startswith("test") for part, line in zip(expected, lines))
