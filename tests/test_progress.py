"""Lines on how far a long count is."""

import types

import numpy as np
import pytest

import genmodels as gm
from genmodels.evaluation import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that every look at it moves on by ten seconds."""
    now = [0.0]

    def monotonic():
        now[0] += 10.0
        return now[0]

    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=monotonic))


def test_batches_pass_as_they_are_and_lines_say_how_many(clock, capsys):
    batches = [np.zeros(n) for n in (30, 20, 10, 15, 25)]
    assert [len(batch) for batch in progress.counted(batches, 100, "samples")] == [30, 20, 10, 15, 25]
    # It begins at 10; the first batch has come at 20, and at 30 it is time for a line, at 40. The next is due after
    # 70: asked at 50, 60 and 70, with the last batch not at all.
    assert capsys.readouterr().out == "30 of 100 samples\n"


def test_the_time_left_is_told_by_what_came_after_the_first_batch(clock, capsys):
    pace = progress.Pace(100, "samples")
    pace.passed(40)  # at 20
    pace.passed(60)
    pace.say(60, ": good")  # at 30: 20 in 10 seconds
    assert capsys.readouterr().out == "60 of 100 samples: good, 00:00:20 left\n"


def test_without_a_total_the_line_says_no_time(clock, capsys):
    pace = progress.Pace(None, "examples")
    assert pace.due()
    pace.passed(250)
    pace.passed(500)
    pace.say(500, ": -3.25 nats")
    assert not pace.due()
    assert capsys.readouterr().out == "500 examples: -3.25 nats\n"


def test_short_counts_say_nothing(capsys):
    assert list(progress.counted([[1], [2]], 2, "numbers")) == [[1], [2]]
    assert capsys.readouterr().out == ""


def test_evaluation_says_how_far_it_is_where_it_is_asked_to(monkeypatch, capsys):
    monkeypatch.setattr(progress, "FIRST", -1.0)
    monkeypatch.setattr(progress, "EVERY", -1.0)
    data = gm.load_data("two_moons", num=3000)
    model = gm.VAE((2,), levels=None, latent_dim=2)
    sampling = {"metrics": ["likelihood", "quality"], "num_quality": 600}
    gm.evaluate(model, data, progress=True, **sampling)
    said = capsys.readouterr().out
    assert "500 of " in said and " nats" in said and "512 of 600 samples" in said and " left" in said
    gm.evaluate(model, data, **sampling)
    assert capsys.readouterr().out == ""
