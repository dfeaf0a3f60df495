"""Training on two logical CPU devices, which must do what one does, up to rounding."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from genmodels.training.replicas import Replicas

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def compared():
    """Figures of `two_devices.py`: logical devices must be made before TensorFlow starts, hence a process."""
    done = subprocess.run([sys.executable, HERE / "two_devices.py"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("family", ["vae", "pixelcnn", "realnvp", "wgan-gp", "ddpm"])
def test_two_devices_end_with_the_weights_of_one(compared, family):
    assert compared[family]["moved"] > 1e-3
    assert compared[family]["difference"] < 1e-6
    assert compared[family]["loss"] < 1e-5


def test_batch_norm_takes_its_statistics_over_all_devices_where_asked_to(compared):
    assert compared["together"] < 1e-3 < 0.5 < compared["apart"]  # of numbers up to some hundreds


# ------------------------------------------------------------------ several hosts


def started(run, pause=0.0):
    """Two workers of one cluster on this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    hosts = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    workers = []
    for index in range(2):
        cluster = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(cluster), "PAUSE": str(pause)}
        command = [sys.executable, HERE / "one_worker.py", run]
        workers.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    return workers


def weights(workers):
    """What each worker says of its weights at the end."""
    said = [worker.communicate(timeout=300)[0].splitlines() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    return [lines[-1] for lines in said]


def test_a_worker_killed_and_both_started_again_change_nothing(tmp_path):
    undisturbed = weights(started(tmp_path / "whole"))
    assert undisturbed[0] == undisturbed[1] and undisturbed[0].startswith("weights")
    workers = started(tmp_path / "parts", pause=0.1)
    assert any(line.strip() == "step 15" for line in workers[1].stdout)  # reads until then
    workers[1].kill()
    assert workers[0].wait(timeout=120) != 0  # does not go on alone
    workers[0].stdout.close(), workers[1].stdout.close()
    assert not (tmp_path / "parts" / "model.keras").exists() and any((tmp_path / "parts" / "checkpoints").iterdir())
    assert weights(started(tmp_path / "parts")) == undisturbed
    files = [sorted(path.name for path in (tmp_path / run).iterdir()) for run in ("whole", "parts")]
    assert files[0] == files[1] and "model.keras" in files[0]


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
