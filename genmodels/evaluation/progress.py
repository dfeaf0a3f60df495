"""Lines that say how far a long count is."""

import time

from genmodels.training.callbacks import clock

FIRST, EVERY = 5.0, 30.0  # seconds: what takes hours says so at once


class Pace:
    """When to say how far a count is, after five seconds and then every half minute, and the line.

    Args:
        total: how many there will be; None where nobody knows.
        what: of what.
    """

    def __init__(self, total, what):
        self.total, self.what, self.began, self.first = total, what, time.monotonic(), None
        self.next = self.began + FIRST

    def due(self) -> bool:
        """Whether it is time for a line."""
        return time.monotonic() > self.next

    def passed(self, done):
        """Is told after each batch how many rows there were so far.

        The first, for which much is compiled, does not count for how long the rest takes.
        """
        if self.first is None:
            self.began, self.first = time.monotonic(), done

    def say(self, done, found=""):
        """Prints a line: how many are done, what they gave, and where the total is known how long the rest takes."""
        now = time.monotonic()
        self.next = now + EVERY
        of = "" if self.total is None else f" of {self.total}"
        known = self.total is not None and done > self.first
        left = f", {clock((now - self.began) * (self.total - done) / (done - self.first))} left" if known else ""
        print(f"{done}{of} {self.what}{found}{left}", flush=True)


def counted(batches, total, what):
    """Batches as they come, with a line now and then on how many rows there were.

    Args:
        batches: of rows.
        total: rows in all.
        what: they are.

    Yields:
        The batches.

    Example:
        >>> sum(len(batch) for batch in counted([[1, 2], [3]], 3, "numbers"))
        3
    """
    pace, done = Pace(total, what), 0
    for batch in batches:
        yield batch
        done += len(batch)
        pace.passed(done)
        if done < total and pace.due():
            pace.say(done)
