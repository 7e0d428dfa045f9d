"""One contestant's process: `run.py` starts it in the contestant's environment.

    python worker.py CONTESTANT.py RUN X.npy SIDE OUT.npy

Loads the data once, prepares, prints ``ready``, then runs once for every line it reads, and prints
a line of JSON: seconds, CPU seconds, and by how many MB the peak of its memory is above what it
held before the first run. Whatever a peer prints goes to the standard error.
"""

import importlib.util
import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np


def resident_mb():
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def main():
    path, name, data, side, out = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    spec = importlib.util.spec_from_file_location("contestant", path)
    contestant = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(contestant)
    X, side = np.load(data), int(side)
    getattr(contestant, "PREPARE", {}).get(name, lambda X, side: None)(X, side)
    before = resident_mb()
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        W = contestant.RUNS[name](X, side)
        measured = {"seconds": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        measured["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
        if W is not None:
            np.save(out, np.asarray(W, dtype=np.float64).reshape(side * side, -1))
        print(json.dumps(measured), file=answers, flush=True)


if __name__ == "__main__":
    main()
