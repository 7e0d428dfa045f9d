"""Training a map: `native` against its peers, interleaved, with one evaluator for all.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install fastersom==0.5 minisom
    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OMP_NUM_THREADS=1 \
        python tests/benchmarks/som_training.py --peers /tmp/peers/bin/python --data fashion

Each side lives in a process of its own that loads the data once and is asked for one run at a time,
in turns, so that a noisy machine disturbs all alike. Times are medians in seconds, without imports;
QE and TE (8-neighbours) are of held-out rows; memory is the peak of the process above what it holds
before the first run (data included). OPENBLAS_CORETYPE, which some machines set, slows NumPy's
products 1.6 times and leaves torch's alone, so unset it.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np

from musicfw.codebook import Codebook
from musicfw.lattice import Lattice
from musicfw.som.quality import quantization_error, topographic_error

FASHION = Path("/usr/share/datasets/fashion-mnist")

WORKER = """
import resource, sys, time
import numpy as np
X = np.load(sys.argv[1])
side = int(sys.argv[2])
out = sys.argv[3]
{setup}
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1024
print("ready", flush=True)
for _ in sys.stdin:
    started = time.perf_counter()
    {run}
    seconds = time.perf_counter() - started
    if W is not None:
        np.save(out, np.asarray(W, dtype=np.float64).reshape(side * side, -1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(seconds, (peak - before) / 1024, flush=True)
"""

NATIVE_SETUP = """
import musicfw as mf
L = mf.Lattice(rows=side, columns=side)
mf.train(X[:64], lattice=L)
"""
COMPILED_SETUP = (
    NATIVE_SETUP
    + "Z = np.random.default_rng(0).normal(size=(300, 200)).astype(X.dtype)\n"
    + "mf.train(Z, lattice=L, mode='batch', epochs=1, search='compiled')"
)
NATIVE = "W = mf.train(X, lattice=L{options}).codebook.prototypes"
FASTERSOM_SETUP = """
import os, torch; torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
from fastersom import SOM
"""
FASTERSOM = (
    # Its schedule reaches sigma_final one epoch after the last: this one ends with 1.
    "E = {epochs}; "
    "W = SOM(side, side, n_epochs=E, sigma_initial=side / 2, "
    "sigma_final=side / 2 * (2 / side) ** (E / (E - 1)), "
    "random_state=0, device='cpu').fit(X[:{rows}]).weights_"
)
MINISOM_SETUP = "from minisom import MiniSom"
MINISOM_ONLINE = (
    "s = MiniSom(side, side, X.shape[1], sigma=side / 2, learning_rate=0.5, random_seed=0); "
    "s.pca_weights_init(X[:2000]); s.train(X, {updates}); "
    "W = s.get_weights().swapaxes(0, 1)"
)
MINISOM_BATCH = (
    "s = MiniSom(side, side, X.shape[1], sigma=side / 2, learning_rate=1.0, random_seed=0); "
    "s.pca_weights_init(X[:2000]); s.train_batch_offline(X, {epochs}); "
    "W = s.get_weights().swapaxes(0, 1)"
)

BATCH10 = ", mode='batch', epochs=10, radius_start=side / 2"
SIDES = {
    "bare product": ("ours", "W0 = np.random.rand(side * side, X.shape[1]).astype(X.dtype)",
                     "X @ W0.T; W = None"),
    "native (defaults)": ("ours", NATIVE_SETUP, NATIVE.format(options="")),
    "native +1 full": ("ours", NATIVE_SETUP, NATIVE.format(options=", full_epochs=1")),
    "native batch 10": ("ours", NATIVE_SETUP, NATIVE.format(options=BATCH10)),
    "native batch 10 float32": (
        "ours",
        NATIVE_SETUP,
        NATIVE.format(options=BATCH10 + ", dtype='float32'"),
    ),
    "native batch 10 compiled": (
        "ours",
        COMPILED_SETUP,
        NATIVE.format(options=BATCH10 + ", search='compiled'"),
    ),
    "native progressive": ("ours", NATIVE_SETUP, NATIVE.format(options=", mode='progressive'")),
    "native online": ("ours", NATIVE_SETUP, NATIVE.format(options=", mode='online'")),
    "fastersom 10": ("peers", FASTERSOM_SETUP, FASTERSOM.format(epochs=10, rows=10**9)),
    "fastersom 8000x15": ("peers", FASTERSOM_SETUP, FASTERSOM.format(epochs=15, rows=8000)),
    "minisom 1000 updates": ("peers", MINISOM_SETUP, MINISOM_ONLINE.format(updates=1000)),
    "minisom batch 10": ("peers", MINISOM_SETUP, MINISOM_BATCH.format(epochs=10)),
}  # fmt: skip


def fashion():
    """Return training and held-out rows, float32 in 0 … 1."""
    for name in ("train", "t10k"):
        with gzip.open(FASHION / f"{name}-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
        yield pixels.astype(np.float32) / np.float32(255)


def digits():
    """Return training and held-out rows of scikit-learn's digits, float64."""
    from sklearn.datasets import load_digits

    X = np.random.default_rng(0).permutation(load_digits().data)
    return X[:1400], X[1400:]


def noise():
    """Return white noise, float32, in which no bound can prune."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal((rows, 784), dtype=np.float32) for rows in (20_000, 2000))


class Side:
    """A process that trains when asked."""

    def __init__(self, python, setup, run, *, data, side, out):
        code = WORKER.format(setup=setup, run=textwrap.indent(run, "    ").strip())
        self.out, self.seconds, self.memory = out, [], 0.0
        self._process = subprocess.Popen(
            [python, "-W", "ignore", "-c", code, str(data), str(side), str(out)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline().strip() == "ready"

    def run(self):
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        seconds, self.memory = (float(n) for n in self._process.stdout.readline().split())
        self.seconds.append(seconds)

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def measure(names, data, *, side, repeats, peers):
    """Print a table of the named sides on one data set."""
    train, held_out = data
    lattice = Lattice(rows=side, columns=side)
    print(f"{train.shape[0]} x {train.shape[1]} {train.dtype}, map {side} x {side}")
    print(f"{'side':24}{'median s':>10}{'min s':>9}{'MB above':>10}{'QE':>9}{'TE':>8}")
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/X.npy", train)
        sides = {}
        for number, name in enumerate(names):
            owner, setup, run = SIDES[name]
            python = sys.executable if owner == "ours" else peers
            out = Path(folder) / f"{number}.npy"
            sides[name] = Side(python, setup, run, data=f"{folder}/X.npy", side=side, out=out)
        for _ in range(repeats):
            for one in sides.values():
                one.run()
        for name, one in sides.items():
            quality = ""
            if one.out.exists():
                codebook = Codebook(prototypes=np.load(one.out), lattice=lattice)
                quality = (
                    f"{quantization_error(codebook, held_out):9.4f}"
                    f"{topographic_error(codebook, held_out):8.4f}"
                )
            print(
                f"{name:24}{statistics.median(one.seconds):10.3f}{min(one.seconds):9.3f}"
                f"{one.memory:10.0f}{quality}",
                flush=True,
            )
            one.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="Python of the environment that holds the peers.")
    parser.add_argument("--data", choices=["fashion", "digits", "noise"], default="fashion")
    parser.add_argument("--side", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sides", default="bare product,native (defaults),fastersom 10")
    options = parser.parse_args()
    data = {"fashion": fashion, "digits": digits, "noise": noise}[options.data]()
    names = [name for name in options.sides.split(",") if SIDES[name][0] == "ours" or options.peers]
    measure(names, data, side=options.side, repeats=options.repeats, peers=options.peers)


if __name__ == "__main__":
    main()
