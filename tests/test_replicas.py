"""Training on two logical CPU devices, which must do what one does, up to rounding."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from one_worker import trained

from genmodels.training.replicas import Replicas

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def compared():
    """Figures of `two_devices.py`: logical devices must be made before TensorFlow starts, hence a process."""
    done = subprocess.run([sys.executable, HERE / "two_devices.py"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("family", ["vae", "pixelcnn", "realnvp", "wgan-gp", "ddpm", "float16", "xla"])
def test_two_devices_end_with_the_weights_of_one(compared, family):
    assert compared[family]["moved"] > 1e-3
    assert compared[family]["difference"] < 1e-6
    assert compared[family]["loss"] < 1e-5


def test_xla_on_two_devices_refuses_a_state_that_they_share(compared):
    assert "jit_compile on 2 replicas" in compared["refused"] and "initialized is not" in compared["refused"]


def test_a_run_begun_on_two_devices_is_continued_on_one(compared):
    assert compared["continued"] < 1e-6


def test_batch_norm_takes_its_statistics_over_all_devices_where_asked_to(compared):
    assert compared["together"] < 1e-3 < 0.5 < compared["apart"]  # of numbers up to some hundreds


# ------------------------------------------------------------------ several hosts


def started(folder, pause):
    """Two workers of one cluster on this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    hosts = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    workers = []
    for index in range(2):
        cluster = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(cluster)}
        command = [sys.executable, HERE / "one_worker.py", folder / "run", str(pause), folder / f"{index}.npz"]
        workers.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    return workers


def test_a_worker_killed_and_both_started_again_change_nothing(tmp_path):
    workers = started(tmp_path, pause=0.1)
    assert any(line.strip() == "step 15" for line in workers[1].stdout)  # reads until then
    workers[1].kill()
    assert workers[0].wait(timeout=120) != 0  # does not go on alone
    for worker in workers:
        worker.stdout.close()
    assert not (tmp_path / "run" / "model.keras").exists() and any((tmp_path / "run" / "checkpoints").iterdir())
    workers = started(tmp_path, pause=0.0)
    for worker in workers:
        first = worker.communicate(timeout=300)[0].splitlines()[0]
        assert worker.returncode == 0 and first != "step 0"  # it went on
    expected = trained(tf.distribute.get_strategy(), accumulate=2)  # undisturbed, by one device
    for index in range(2):
        with np.load(tmp_path / f"{index}.npz") as found:
            assert len(found.files) == len(expected)
            for got, wanted in zip(found.values(), expected):
                np.testing.assert_allclose(got, wanted, atol=1e-6)
    assert all((tmp_path / "run" / name).is_file() for name in ("run.json", "log.csv", "model.keras", "metrics.json"))


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "words"),
    [(15, 1, "multiple of the 2 replicas"), (16, 3, "multiple of the 2 replicas"), (18, 4, "accumulate=4")],
)
def test_parts_must_be_shared_evenly(batch_size, accumulate, words):
    class Two:
        num_replicas_in_sync, cluster_resolver = 2, None

    with pytest.raises(ValueError, match=words):
        Replicas(Two(), batch_size, accumulate)
