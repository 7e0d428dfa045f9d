"""musicfw: self-organizing maps that can be inverted exactly and steered.

::

    import musicfw as mf

    trained = mf.train(X, lattice=mf.Lattice(rows=10, columns=10))
    d = trained.squared_distances(X)
    inverted = mf.invert(trained, d)                            # the points, from distances alone
    path = mf.steer(trained, X[0], target=mf.Target.units([3]))  # a smooth way towards unit 3

What is heavy (matplotlib, pydantic, minisom) is imported only where it is used.
"""

from __future__ import annotations

from musicfw.codebook import Codebook
from musicfw.control.targets import Target
from musicfw.dataset import Dataset, Scaling
from musicfw.errors import (
    DataError,
    MusicfwError,
    NumericalError,
    PluginError,
    Problem,
    SpecError,
    StoreError,
    UsageError,
)
from musicfw.evaluate import Evaluation, evaluate
from musicfw.geometry import WellPosedness
from musicfw.invert import Inverter, invert, well_posedness
from musicfw.lattice import Lattice
from musicfw.plugins import PluginRecord, Registry, load_registry
from musicfw.run import run
from musicfw.run_result import RunResult
from musicfw.standard_errors import standard_errors
from musicfw.status import Status, StopReason
from musicfw.steer import steer
from musicfw.store import load_map, save_map
from musicfw.stream import StreamTrainer, train_stream
from musicfw.train import train
from musicfw.types import Inversion, TrainedMap, Trajectory

__version__ = "0.1.0"

__all__ = [
    "Codebook",
    "DataError",
    "Dataset",
    "Evaluation",
    "Inversion",
    "Inverter",
    "Lattice",
    "MusicfwError",
    "NumericalError",
    "PluginError",
    "PluginRecord",
    "Problem",
    "Registry",
    "RunResult",
    "Scaling",
    "SpecError",
    "Status",
    "StopReason",
    "StoreError",
    "StreamTrainer",
    "Target",
    "TrainedMap",
    "Trajectory",
    "UsageError",
    "WellPosedness",
    "__version__",
    "evaluate",
    "invert",
    "load_map",
    "load_registry",
    "run",
    "save_map",
    "standard_errors",
    "steer",
    "train",
    "train_stream",
    "well_posedness",
]
