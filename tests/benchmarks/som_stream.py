"""Cost per row of training on a stream, from 10⁴ to 10⁷ rows, and the memory it takes.

    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OMP_NUM_THREADS=1 \
        python tests/benchmarks/som_stream.py

Rows (D = 64, float32) are generated in chunks of 10,000; only the time of learning counts. The peak
memory is the whole process's.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from musicfw import Lattice, StreamTrainer


def seconds_per_row(rows, *, side, dimension=64, chunk=10_000):
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((50, dimension), dtype=np.float32)
    trainer = StreamTrainer(Lattice(rows=side, columns=side))
    seconds = 0.0
    for _ in range(rows // chunk):
        points = rng.standard_normal((chunk, dimension), dtype=np.float32)
        points += centres[rng.integers(50, size=chunk)]
        started = time.perf_counter()
        trainer.learn(points)
        seconds += time.perf_counter() - started
    started = time.perf_counter()
    trainer.snapshot()
    return (seconds + time.perf_counter() - started) / rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=10)
    parser.add_argument("--largest", type=int, default=10**7)
    options = parser.parse_args()
    seconds_per_row(10_000, side=options.side)  # imports
    rows = 10**4
    while rows <= options.largest:
        cost = seconds_per_row(rows, side=options.side)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{rows:>10} rows  {1e6 * cost:8.3f} µs per row  peak {peak:6.0f} MB", flush=True)
        rows *= 10


if __name__ == "__main__":
    main()
