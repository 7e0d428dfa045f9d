"""Training a map: `native` and its peers on the same data, in turns, with one evaluator for all.

    python tests/benchmarks/peers/run.py fastersom xpysom minisom:online-1000

README.md beside this file says what the options and the columns of the table mean.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from musicfw.codebook import Codebook
from musicfw.lattice import Lattice
from musicfw.som.quality import quantization_error, topographic_error

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from environments import InstallError, python_with  # noqa: E402

FASHION = Path("/usr/share/datasets/fashion-mnist")
OURS = ["native:defaults", "native:batch-10", "native:batch-10-compiled", "product"]
# OpenBLAS kernels that some machines force slow NumPy's products, and leave torch's alone.
UNSET = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}
THREADS = ["OMP", "OPENBLAS", "MKL", "NUMBA"]


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


DATA = {"fashion": fashion, "digits": digits, "noise": noise}


class Contestant:
    """A process that trains when asked, and what was measured of it."""

    def __init__(self, python, script, run, *, data, side, threads, folder):
        self.name = f"{script.stem}:{run}"
        self.measured: list[dict[str, float]] = []
        self.out = Path(folder) / f"{script.stem}-{run}.npy"
        environment = {name: value for name, value in os.environ.items() if name not in UNSET}
        environment |= {f"{name}_NUM_THREADS": str(threads) for name in THREADS}
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in close)
        self._process = subprocess.Popen(
            [python, "-W", "ignore", HERE / "worker.py", script, run, data, str(side), self.out],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=environment,
        )
        self._answer("prepare")

    def run(self):
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self.measured.append(json.loads(self._answer("run")))

    def _answer(self, asked):
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            last = (self._said.read().strip().splitlines() or ["nothing"])[-1]
            self.close()
            raise RuntimeError(f"ended while asked to {asked}; it said: {last}")
        return line

    def close(self):
        with self._process:  # closes its pipes, at which it ends
            self._said.close()

    def median(self, what):
        return statistics.median(one[what] for one in self.measured)


def wanted_runs(words, scripts):
    """Return the (script, run) pairs that ``peer`` (all its runs) and ``peer:run`` ask for."""
    for word in words:
        name, _, run = word.partition(":")
        script = scripts / f"{name}.py"
        if not script.exists():
            known = ", ".join(sorted(path.stem for path in scripts.glob("*.py")))
            raise SystemExit(f"no contestant {name!r} in {scripts}; there are: {known}")
        runs = contestant_module(script).RUNS
        if run and run not in runs:
            raise SystemExit(f"{name} has no run {run!r}; it has: {', '.join(runs)}")
        yield from ((script, one) for one in ([run] if run else runs))


def contestant_module(script):
    """Return the module; it imports its peer only when it runs."""
    spec = importlib.util.spec_from_file_location(f"contestant_{script.stem}", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prepared(options, data, folder):
    """Return the contestants that could be installed and started, and why the others could not."""
    ready, absent = [], {}
    for script, run in wanted_runs([*options.ours, *options.peers], options.contestants):
        try:
            module, home = contestant_module(script), options.cache / script.stem
            python = python_with(
                module.REQUIREMENTS, folder=home, build=getattr(module, "BUILD", ())
            )
            where = {"data": data, "side": options.side, "folder": folder}
            ready.append(Contestant(python, script, run, threads=options.threads, **where))
        except (InstallError, RuntimeError) as err:
            absent[f"{script.stem}:{run}"] = str(err)
    return ready, absent


def table(contestants, held_out, side):
    """Yield the lines of the table; ratios are those of the first contestant's rounds."""
    lattice = Lattice(rows=side, columns=side)
    first = contestants[0].measured if contestants else []
    yield (
        f"{'':26}{'time':>9}{'ratio':>8}{'CPU':>9}{'ratio':>8}{'least':>9}{'MB':>6}{'QE':>9}{'TE':>8}"
    )
    for one in contestants:
        line = f"{one.name:26}"
        for what in ("seconds", "cpu_s"):
            pairs = zip(one.measured, first, strict=True)
            ratio = statistics.median(mine[what] / its[what] for mine, its in pairs)
            line += f"{one.median(what):9.3f}{ratio:8.2f}"
        least = min(measured["cpu_s"] for measured in one.measured)
        line += f"{least:9.3f}{one.median('mb'):6.0f}"
        if one.out.exists():
            codebook = Codebook(prototypes=np.load(one.out), lattice=lattice)
            line += f"{quantization_error(codebook, held_out):9.4f}"
            line += f"{topographic_error(codebook, held_out):8.4f}"
        yield line


def arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", help="peer, or peer:run (see contestants/)")
    parser.add_argument("--ours", nargs="*", default=OURS, help="the same, of ours")
    parser.add_argument("--data", choices=DATA, default="fashion")
    parser.add_argument("--side", type=int, default=20, help="units along a side of the map")
    parser.add_argument("--repeats", type=int, default=5, help="rounds, each contestant once")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path.home() / ".cache" / "musicfw-peers",
        help="where environments are kept",
    )
    parser.add_argument("--contestants", type=Path, default=HERE / "contestants")
    return parser.parse_args(words)


def main(words=None):
    options = arguments(words)
    train, held_out = DATA[options.data]()
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/X.npy", train)
        contestants, absent = prepared(options, f"{folder}/X.npy", folder)
        for _ in range(options.repeats):
            for one in list(contestants):
                try:
                    one.run()
                except RuntimeError as err:
                    contestants.remove(one)
                    absent[one.name] = str(err)
        print(
            f"{options.data}: {train.shape[0]} x {train.shape[1]} {train.dtype}, map "
            f"{options.side} x {options.side}, threads {options.threads}, "
            f"{options.repeats} rounds"
        )
        for line in table(contestants, np.asarray(held_out, np.float64), options.side):
            print(line)
        for one in contestants:
            one.close()
    for name, why in absent.items():
        print(f"{name:26} not measured: {why}")


if __name__ == "__main__":
    main()
