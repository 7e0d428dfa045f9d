"""A run whose process dies in the middle of its training, and goes on as if it had not."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import musicfw as mf
from musicfw.checkpoint import FileCheckpoint

SPEC = """
seed: 5
report: {{figures: false}}
data: {{use: gaussian-mixture, with: {{points: 3000, dimension: 6}}}}
map:
  lattice: {{rows: 12, columns: 12, topology: hexagonal}}
  with: {{{params}}}
invert: [{{use: exact, count: 20}}]
"""
# Long enough to be killed in the middle; `minibatch` draws its orders, and stops by held-out rows.
MODES = {
    "minibatch": "mode: minibatch, epochs: 80, validation_share: 0.1, patience: 400",
    "batch": "mode: batch, epochs: 250",
}
# A process of its own; it keeps its training after every update instead of every 30 seconds.
PROGRAM = """
from musicfw.checkpoint import FileCheckpoint
from musicfw.cli import main

def offer(self, state):
    self._latest = state
    self.keep()

FileCheckpoint.offer = offer
main()
"""


def start(*arguments):
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def updates_kept(partial):
    with np.load(partial / "training.npz", allow_pickle=False) as kept:
        return int(kept["updates"])


def stop_in_training(process, partial, sent):
    """Send a signal as soon as a state of the training is kept; return what the process said."""
    deadline = time.monotonic() + 60.0
    while not (partial / "training.npz").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(sent)
    return process.communicate(timeout=60)[1]


def numbers(directory):
    """Return all that a run found, without what differs between any two runs: times and paths."""
    result = json.loads((directory / "result.json").read_text())
    arrays = {}
    for path in sorted(directory.rglob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            arrays |= {f"{path.name}:{name}": file[name].tobytes() for name in file.files}
    return result["metrics"], result["statuses"], arrays


@pytest.fixture(params=MODES)
def spec(request, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC.format(params=MODES[request.param]), encoding="utf-8")
    return path


@pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT], ids=["kill", "ctrl-c"])
def test_a_run_killed_while_it_trains_ends_with_the_numbers_of_one_that_was_not(
    spec, sent, tmp_path
):
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    process = start("run", spec, "--out", out)
    said = stop_in_training(process, partial, sent)
    if sent == signal.SIGINT:
        assert process.returncode == 130
        assert said.strip().startswith("interrupted. ")
        assert said.strip().endswith(f"is kept in {partial}: go on with --resume.")
    assert not out.exists()
    assert not (partial / "map.npz").exists()
    before = updates_kept(partial)
    first = []
    resumed = mf.run(
        spec,
        out=out,
        resume=True,
        progress=lambda stage, done, total: first.append((done, total)) if not first else None,
    )
    done, total = first[0]
    assert done == before + 1 < total  # what was done is not done again
    assert not resumed.map.interrupted
    straight = mf.run(spec, out=tmp_path / "straight")
    assert numbers(straight.directory) == numbers(resumed.directory)
    assert not (out / "training.npz").exists()


def test_a_training_that_fails_is_kept_if_it_had_come_somewhere(spec, tmp_path, monkeypatch):
    def keep_at_once(self, state):
        self._latest = state
        self.keep()

    monkeypatch.setattr(FileCheckpoint, "offer", keep_at_once)

    def fail(stage, done, total):
        if done == 3:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut") as caught:
        mf.run(spec, out=tmp_path / "out", progress=fail)
    assert caught.value.__notes__ == [
        f"What was finished is kept in {tmp_path / 'out.partial'}: go on with --resume."
    ]
    assert updates_kept(tmp_path / "out.partial") == 3


def test_a_backend_that_cannot_be_resumed_begins_anew(spec, tmp_path):
    minisom = ["map.use=minisom", "map.with={epochs: 1}", "map.lattice={rows: 3, columns: 3}"]
    result = mf.run(spec, out=tmp_path / "out", overrides=minisom, resume=True)
    assert result.map.backend == "minisom"
