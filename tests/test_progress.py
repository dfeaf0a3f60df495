"""Lines on how far a long count is."""

import numpy as np
import pytest

from genmodels.evaluation import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that every look at it moves on by ten seconds."""
    now = [0.0]

    def monotonic():
        now[0] += 10.0
        return now[0]

    monkeypatch.setattr(progress.time, "monotonic", monotonic)


def test_batches_pass_as_they_are_and_lines_say_how_many(clock, capsys):
    batches = [np.zeros(30), np.ones(30), np.zeros(40)]
    assert [len(batch) for batch in progress.counted(batches, 100, "samples")] == [30, 30, 40]
    # It begins at 10 and asks at 20; 30, when the line is said, is 20 seconds for 30. At 40 it is not yet time again.
    assert capsys.readouterr().out == "30 of 100 samples, 00:00:47 left\n"


def test_what_was_found_stands_in_the_line_and_no_time_without_a_total(clock, capsys):
    pace = progress.Pace(None, "examples")
    assert pace.due()
    pace.say(500, ": -3.25 nats")
    assert not pace.due()
    assert capsys.readouterr().out == "500 examples: -3.25 nats\n"


def test_short_counts_say_nothing(capsys):
    assert list(progress.counted([[1], [2]], 2, "numbers")) == [[1], [2]]
    assert capsys.readouterr().out == ""
