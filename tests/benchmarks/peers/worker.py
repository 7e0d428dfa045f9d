"""One contestant's process: `run.py` starts it in the contestant's environment.

    python worker.py CONTESTANT.py RUN X.npy SIDE OUT.npy

Loads the data once, prepares, prints ``ready``, then runs once for every line it reads, and prints
a line of JSON: seconds, CPU seconds, and by how many MB the peak of its memory is above what it
held before the first run. Whatever a peer prints goes to the standard error.
"""

import importlib.util
import json
import os
import sys
import time
from pathlib import Path

import numpy as np


def status_mb(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def main():
    path, name, data, side, out = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    spec = importlib.util.spec_from_file_location("contestant", path)
    contestant = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(contestant)
    X, side = np.load(data), int(side)
    getattr(contestant, "PREPARE", {}).get(name, lambda X, side: None)(X, side)
    before = status_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak of preparing does not count
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        W = contestant.RUNS[name](X, side)
        measured = {"seconds": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        measured["mb"] = status_mb("VmHWM") - before
        if W is not None:
            np.save(out, np.asarray(W, dtype=np.float64).reshape(side * side, -1))
        print(json.dumps(measured), file=answers, flush=True)


if __name__ == "__main__":
    main()
