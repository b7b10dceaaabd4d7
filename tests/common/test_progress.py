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


def test_the_first_step_compiles_and_does_not_count_in_the_estimate(lines, monkeypatch):
    clock = [100.0]
    with progress.progress_bar(11, "steps", "compiling", seconds=600) as bar:
        monkeypatch.setattr(bar, "_time", lambda: clock[0])
        bar.start_t = bar.last_print_t = 100.0
        clock[0] += 90
        bar.skip(1, "training")
        for _ in range(5):
            clock[0] += 2
            bar.update()
        bar.write_line(60)
        assert lines == []
        clock[0] += 70
        bar.write_line(60)
        bar.write_line(60)
    (line,) = lines
    assert line.startswith("training: 6 of 11")
