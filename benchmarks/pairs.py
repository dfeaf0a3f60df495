"""Timings of two libraries side by side, each in a process of its own.

In one process the threads of one disturb those of the other: PyTorch's spin for some 5 ms after their work. Here a
second process, a `Worker`, imports a module, builds its variants and times them on command. Measurements are
interleaved, and one process waits while the other works. All other work must stop: PyTorch's threads wait for each
other by spinning, and on cores that others use as well two took ten to thirty times as long as one.

The worker's module imports its library, which the parent does not, and defines

    variants(**settings) -> list[Variant]

of settings that JSON can hold.

    import pairs

    with pairs.Worker("module_of_the_peers", threads=2) as peers:
        rows = pairs.measure([pairs.Here(ours), peers], {"step": 10, "sample": 1}, repeats=9)
"""

import dataclasses
import functools
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable

REST = 0.05  # seconds before each measurement, in which the threads of the one before fall asleep


@dataclasses.dataclass
class Variant:
    """One implementation of what is compared.

    Args:
        name: in the table.
        facts: figures that are not timed, such as the number of parameters; what JSON holds.
        tasks: what is timed, by name. Each is a function of a count and does its work so many times.
        optional: a variant whose first step fails is left out, with a message.
    """

    name: str
    facts: dict[str, object]
    tasks: dict[str, Callable[[int], object]]
    optional: bool = False


def repeated(function, *arguments):
    """The task that calls a function."""

    def task(count):
        for _ in range(count):
            function(*arguments)

    return task


class Here:
    """Variants in this process."""

    def __init__(self, variants):
        self.known = {variant.name: variant for variant in variants}
        self.variants = [{**vars(variant), "tasks": list(variant.tasks)} for variant in variants]

    def time(self, name, task, count):
        """Seconds that a task takes once, by doing it `count` times."""
        run = self.known[name].tasks[task]
        began = time.perf_counter()
        run(count)
        return (time.perf_counter() - began) / count


class Failed(Exception):
    """What went wrong in a worker; its traceback is a note."""


class Worker:
    """Variants in a process of the same interpreter, which ends with the `with` block."""

    def __init__(self, module, **settings):
        command = [sys.executable, __file__, module, json.dumps(settings)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        try:
            self.variants = self._answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        self.process.stdin.close()  # the end of its commands
        self.process.wait()
        self.process.stdout.close()

    def time(self, name, task, count):
        """Seconds that a task takes once, by doing it `count` times."""
        self.process.stdin.write(json.dumps([name, task, count]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the worker ended, exit code {self.process.wait()}.")
        answer = json.loads(line)
        if "error" in answer:
            error = Failed(answer["error"])
            error.add_note(answer["traceback"])
            raise error
        return answer["value"]


def serve(module, settings):
    """A worker's life: builds the variants, describes them, and times what it is told until its input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer

    def answer(function, *arguments):
        try:
            value = function(*arguments)
            line = {"value": value.variants if isinstance(value, Here) else value}
        except Exception as error:
            value, line = None, {"error": _told(error), "traceback": traceback.format_exc()}
        print(json.dumps(line), file=answers, flush=True)
        return value

    here = answer(lambda: Here(importlib.import_module(module).variants(**settings)))
    for line in sys.stdin:
        answer(here.time, *json.loads(line))


def _told(error):
    if isinstance(error, Failed):
        return str(error)
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def measure(sides, counts, repeats, title=""):
    """Times the tasks of all variants in turn.

    Args:
        sides: `Here` and `Worker`s.
        counts: how often a measurement does each task, by the task's name; the first of them runs once before all else.
        repeats: measurements of a task; one more, before them, warms up.
        title: of the messages.

    Returns:
        A row a variant: its name and facts, `first_{task}_s`, and the medians `{task}_ms` of the tasks that it has.
    """
    rows, timings = [], []
    first = next(iter(counts))
    for side in sides:
        for variant in side.variants:
            name = variant["name"]
            try:
                row = {"name": name, **variant["facts"], f"first_{first}_s": side.time(name, first, 1)}
            except Exception as error:
                if not variant["optional"]:
                    raise
                print(f"{title}, {name}: left out: {_told(error)}")
                continue
            rows.append(row)
            tasks = [task for task in counts if task in variant["tasks"]]
            timings += [(row, task, functools.partial(side.time, name, task, counts[task]), []) for task in tasks]
    for repeat in range(repeats + 1):
        for _, _, timing, seconds in timings:
            time.sleep(REST)
            seconds.append(timing())
        print(f"{title}: repeat {repeat}/{repeats}", flush=True)
    for row, task, _, seconds in timings:
        row[f"{task}_ms"] = 1e3 * statistics.median(seconds[1:])
    return rows


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
