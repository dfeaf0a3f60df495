"""What the harness reports while it trains, and how it carries Keras callbacks across a restart."""

import importlib.util
import signal
import sys
import threading
import time

import keras
import numpy as np

LINE_SECONDS = 10.0  # between lines where there is no terminal


def clock(seconds) -> str:
    """Hours, minutes and seconds, of any number of hours.

    Example:
        >>> clock(108_061)
        '30:01:01'
    """
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"


class Interruption:
    """While it is entered, Ctrl-C and SIGTERM ask the loop to stop after the present call, so that the place is kept.

    A second signal interrupts at once. Only the main thread may handle signals; elsewhere nothing changes.
    """

    def __init__(self):
        self.asked = False
        self.before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _ask(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class Progress:
    """A progress bar with metrics, speed and time left; single lines where standard output is no terminal.

    Args:
        total: steps of the whole run.
        done: steps done before, in a resumed run.
        verbose: "auto" or 1 to report, 0 for silence.
    """

    def __init__(self, total, done, verbose):
        self.total, self.first, self.started = total, None, None  # counted from the first report: it has traced
        self.bar, self.lines, self.reported = None, False, time.monotonic()
        if verbose == 0:
            return
        if sys.stdout.isatty():
            from rich import progress
            from rich.table import Column

            # On a narrow terminal the metrics are cut, the rest stays whole.
            fixed, flexible = Column(no_wrap=True), Column(no_wrap=True, overflow="ellipsis", ratio=1)
            self.bar = progress.Progress(
                progress.TextColumn("{task.completed:.0f}/{task.total:.0f}", table_column=fixed),
                progress.BarColumn(12, table_column=Column(min_width=12)),
                progress.TimeRemainingColumn(table_column=fixed),
                progress.TextColumn("{task.fields[metrics]}", table_column=flexible),
                expand=True,
            )
            self.task = self.bar.add_task("", total=total, completed=done, metrics="")
            self.bar.start()
        else:
            self.lines = True

    def update(self, step, logs):
        """Reports the state after `step` steps."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
        if self.first is None:
            self.first, self.started = step, time.monotonic()
        if self.bar:
            self.bar.update(self.task, completed=step, metrics=text)
            return
        now = time.monotonic()
        if self.lines and (now - self.reported >= LINE_SECONDS or step == self.total):
            self.reported = now
            pace = ""
            if step > self.first:
                speed = (step - self.first) / max(now - self.started, 1e-9)
                left = clock((self.total - step) / speed)
                pace = f"  {speed:.1f} steps/s  {left} left"
            print(f"step {step}/{self.total}  {text}{pace}", flush=True)

    def note(self, text):
        """Prints a line above the bar."""
        if self.bar:
            self.bar.console.print(text)
        elif self.lines:
            print(text, flush=True)

    def close(self):
        """Ends the bar."""
        if self.bar:
            self.bar.stop()


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes every epoch's figures for TensorBoard; added to runs with a folder where TensorBoard is installed."""

    def __init__(self, folder):
        super().__init__()
        self.folder = str(folder)

    def on_train_begin(self, logs=None):
        """Opens the event file."""
        import tensorflow as tf

        self.writer = tf.summary.create_file_writer(self.folder)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the figures at the epoch's number."""
        import tensorflow as tf

        with self.writer.as_default(step=epoch):
            for name, value in (logs or {}).items():
                tf.summary.scalar(name, value)
        self.writer.flush()

    def on_train_end(self, logs=None):
        """Closes the event file."""
        self.writer.close()


def tensorboard_installed() -> bool:
    """Whether `tf.summary` can write: TensorFlow no longer brings TensorBoard along."""
    return importlib.util.find_spec("tensorboard") is not None


def works_on_batches(callback) -> bool:
    """Whether a callback wants every batch: it overrides a hook of batches, by its class or as a LambdaCallback."""
    if isinstance(callback, keras.callbacks.ModelCheckpoint) and callback.save_freq == "epoch":
        return False  # its hook then does nothing
    hooks = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")
    plain = keras.callbacks.Callback
    return any(getattr(getattr(callback, hook), "__func__", None) is not getattr(plain, hook) for hook in hooks)


def simple_state(callback) -> dict:
    """A callback's attributes that are plain values or lists of arrays: an EarlyStopping's best, wait, best_weights."""
    state = {}
    for name, value in vars(callback).items():
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, int, float, str)):
            state[name] = value
        elif isinstance(value, list) and value and all(isinstance(v, np.ndarray) for v in value):
            state[name] = [np.array(v) for v in value]
    return state


def changed_state(callback, baseline) -> tuple[dict, dict]:
    """What training changed in a callback since `baseline`, as (plain values, lists of arrays)."""
    plain, arrays = {}, {}
    for name, value in simple_state(callback).items():
        if isinstance(value, list):
            arrays[name] = value
        elif name != "min_delta" and (name not in baseline or baseline[name] != value):
            plain[name] = value  # Keras gives min_delta its sign at the first metric, in every process anew
    return plain, arrays
