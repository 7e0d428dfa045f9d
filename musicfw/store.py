"""Safe storage: maps, inversions and trajectories as ``.npz`` plus JSON, never pickle.

Files hold nothing that differs between two equal runs: times are in ``result.json`` only.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.api import Embedding
from musicfw.atomic import write_atomic
from musicfw.codebook import Codebook
from musicfw.dataset import Scaling
from musicfw.embeddings import load_embedding
from musicfw.errors import StoreError, UsageError
from musicfw.geometry import WellPosedness
from musicfw.lattice import Lattice
from musicfw.plugins import Registry
from musicfw.types import Inversion, TrainedMap, Trajectory

_HISTORY, _EMBEDDING = "history.", "embedding."
_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


def save_arrays(path: Path, arrays: Mapping[str, npt.ArrayLike]) -> Path:
    """Write named arrays to a ``.npz`` file, completely or not at all."""
    buffer = io.BytesIO()
    named: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in named.items():
        _refuse_objects(path, name, array)
    np.savez(buffer, **named)
    return write_atomic(path, buffer.getvalue())


def load_arrays(path: Path, *, needs: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a ``.npz`` file.

    Raises
    ------
    StoreError
        If the file is missing, no npz file, holds pickled objects, or lacks one of ``needs``.
    """
    try:
        # Opened here: numpy leaves the file open if it is no archive after all.
        with Path(path).open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise StoreError(f"{path}: expected an archive (.npz), got one array (.npy)")
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as err:
        raise StoreError(f"{path}: no such file, expected one that musicfw wrote") from err
    except StoreError:
        raise
    except _UNREADABLE as err:
        raise StoreError(f"{path}: expected an .npz file without pickled objects: {err}") from err
    missing = [name for name in needs if name not in arrays]
    if missing:
        raise StoreError(
            f"{path}: expected the arrays {', '.join(needs)}; {', '.join(missing)} missing, the "
            f"file holds {', '.join(sorted(arrays)) or 'none'}"
        )
    return arrays


def save_array(path: Path, array: npt.ArrayLike) -> Path:
    """Write one array as ``.npy``, completely or not at all."""
    buffer = io.BytesIO()
    _refuse_objects(path, "array", np.asarray(array))
    np.save(buffer, np.asarray(array), allow_pickle=False)
    return write_atomic(path, buffer.getvalue())


def _refuse_objects(path: Path, name: str, array: npt.NDArray[Any]) -> None:
    if array.dtype.hasobject:
        raise StoreError(f"{path}: {name} holds Python objects, expected numbers or text")


def load_array(path: Path) -> npt.NDArray[Any]:
    """Return the array of a ``.npy`` file.

    Raises
    ------
    StoreError
        If the file is missing, holds pickled objects, or is no ``.npy`` file.
    """
    try:
        with Path(path).open("rb") as file:
            array = np.load(file, allow_pickle=False)
    except FileNotFoundError as err:
        raise StoreError(f"{path}: no such file, expected an array as .npy") from err
    except _UNREADABLE as err:
        raise StoreError(f"{path}: expected an .npy file without pickled objects: {err}") from err
    if not isinstance(array, np.ndarray):
        raise StoreError(f"{path}: expected one array (.npy), got an archive (.npz)")
    return array


def save_json(path: Path, tree: Mapping[str, Any]) -> Path:
    """Write a tree of plain values as JSON, completely or not at all.

    JSON has no NaN and no infinity: they become null.
    """
    text = json.dumps(_without_nan(tree), indent=2, ensure_ascii=False, allow_nan=False)
    return write_atomic(path, (text + "\n").encode())


def _without_nan(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _without_nan(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_without_nan(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def load_json(path: Path) -> dict[str, Any]:
    """Return the tree of a JSON file."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise StoreError(f"{path}: no such file, expected one that musicfw wrote") from err
    except (OSError, ValueError) as err:
        raise StoreError(f"{path}: expected a JSON file: {err}") from err
    if not isinstance(tree, dict):
        raise StoreError(f"{path}: expected a JSON object, got {type(tree).__name__}")
    return tree


def save_map(path: Path, trained: TrainedMap) -> Path:
    """Write a trained map: ``prototypes``, ``lattice`` (JSON text), what else it has, its story."""
    book = trained.codebook
    arrays: dict[str, npt.ArrayLike] = {
        "prototypes": book.prototypes,
        "lattice": "null" if book.lattice is None else book.lattice.to_json(),
        "scaling_offset": trained.scaling.offset,
        "scaling_scale": trained.scaling.scale,
        "story": json.dumps(
            {
                "backend": trained.backend,
                "params": dict(trained.params),
                "seed": trained.seed,
                "feature_names": trained.feature_names,
                "image_shape": trained.image_shape,
            }
        ),
    }
    if trained.distance_quantiles is not None:
        arrays["distance_quantiles"] = trained.distance_quantiles
    if book.labels is not None:
        arrays["labels"] = book.labels
    if book.clusters is not None:
        arrays["clusters"] = book.clusters
    if book.relevances is not None:
        arrays["relevances"] = book.relevances
    for name, values in trained.history.items():
        arrays[_HISTORY + name] = values
    if trained.embedding is not None:
        arrays["embedding"] = trained.embedding.name
        for name, content in trained.embedding.files().items():
            arrays[_EMBEDDING + name] = np.frombuffer(content, np.uint8)
    return save_arrays(path, arrays)


def load_map(path: Path | str, *, registry: Registry | None = None) -> TrainedMap:
    """Return the map of a ``map.npz`` file or of a run directory.

    A file with nothing but ``prototypes`` is a map without a lattice.

    Parameters
    ----------
    path : path-like
        The file or run directory.
    registry : Registry, optional
        Where the map's embedding is looked up, if it has one; by default everything installed.

    Raises
    ------
    StoreError
        If there is no such file or it is no map.
    UsageError
        If the plugin that can read the map's embedding is not installed.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "map.npz"
    arrays = load_arrays(file, needs=("prototypes",))
    embedding = None
    if "embedding" in arrays:
        embedding = _embedding_from(file, arrays, registry)
    with content_of(file):
        return _map_from(arrays, embedding)


def _embedding_from(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], registry: Registry | None
) -> Embedding:
    with content_of(path):
        dimension, codes = arrays["scaling_offset"].size, arrays["prototypes"].shape[1]
        files = {
            name.removeprefix(_EMBEDDING): content.tobytes()
            for name, content in arrays.items()
            if name.startswith(_EMBEDDING)
        }
    name = str(arrays["embedding"])
    try:
        return load_embedding(
            name, files, dimension=dimension, code_dimension=codes, registry=registry
        )
    except UsageError as err:
        raise UsageError(
            f"{path}: the map lies in the codes of {name!r}, which needs the plugin that made it; "
            f"install that: {err}"
        ) from err


@contextmanager
def content_of(path: Path) -> Iterator[None]:
    """Say which file it is that holds something else than what its names promise."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as err:
        what = str(err) if isinstance(err, UsageError) else f"{type(err).__name__}: {err}"
        raise StoreError(f"{path}: cannot be used: {what}") from err


def _map_from(arrays: Mapping[str, npt.NDArray[Any]], embedding: Embedding | None) -> TrainedMap:
    lattice = str(arrays.get("lattice", "null"))
    codebook = Codebook(
        prototypes=arrays["prototypes"],
        lattice=None if lattice == "null" else Lattice.from_json(lattice),
        labels=arrays.get("labels"),
        clusters=arrays.get("clusters"),
        relevances=arrays.get("relevances"),
    )
    story = json.loads(str(arrays.get("story", "{}")))
    names, shape = story.get("feature_names"), story.get("image_shape")
    scaling = Scaling.identity(codebook.dimension)
    if "scaling_offset" in arrays and "scaling_scale" in arrays:
        scaling = Scaling(offset=arrays["scaling_offset"], scale=arrays["scaling_scale"])
    return TrainedMap(
        codebook=codebook,
        scaling=scaling,
        backend=story.get("backend", ""),
        params=story.get("params", {}),
        seed=story.get("seed", 0),
        history={
            name.removeprefix(_HISTORY): values
            for name, values in arrays.items()
            if name.startswith(_HISTORY)
        },
        feature_names=None if names is None else tuple(names),
        image_shape=None if shape is None else (shape[0], shape[1]),
        distance_quantiles=arrays.get("distance_quantiles"),
        embedding=embedding,
    )


def save_inversion(path: Path, inversion: Inversion, **extra: npt.ArrayLike) -> Path:
    """Write an inversion (``points``, ``status``, …) and what else belongs to it."""
    posed = inversion.well_posedness
    facts = {
        "solver": inversion.solver,
        "params": dict(inversion.params),
        "well_posedness": {name: getattr(posed, name) for name in WellPosedness.__slots__},
    }
    return save_arrays(
        path,
        {
            "points": inversion.points,
            "status": inversion.status,
            "residual": inversion.residual,
            "hidden_radius": inversion.hidden_radius,
            "facts": json.dumps(facts),
            **extra,
        },
    )


def load_inversion(path: Path) -> Inversion:
    """Return the inversion that `save_inversion` wrote."""
    needs = ("points", "status", "residual", "hidden_radius", "facts")
    arrays = load_arrays(path, needs=needs)
    with content_of(path):
        facts = json.loads(str(arrays["facts"]))
        return Inversion(
            points=arrays["points"],
            status=arrays["status"],
            residual=arrays["residual"],
            hidden_radius=arrays["hidden_radius"],
            well_posedness=WellPosedness(**facts["well_posedness"]),
            solver=facts["solver"],
            params=facts["params"],
            elapsed_s=float("nan"),
        )


_PATH_ARRAYS = ("points", "stop", "step_norm", "arrival", "target_units")


def save_trajectory(path: Path, trajectory: Trajectory, **extra: npt.ArrayLike) -> Path:
    """Write a trajectory (``points``, ``stop``, …) and what else belongs to it."""
    facts = {"policy": trajectory.policy, "params": dict(trajectory.params)}
    arrays = {name: getattr(trajectory, name) for name in _PATH_ARRAYS}
    if trajectory.codes is not None:
        arrays["codes"] = trajectory.codes
    return save_arrays(path, {**arrays, "facts": json.dumps(facts), **extra})


def load_trajectory(path: Path, trained: TrainedMap) -> Trajectory:
    """Return the trajectory that `save_trajectory` wrote, on the map it was made on."""
    arrays = load_arrays(path, needs=(*_PATH_ARRAYS, "facts"))
    with content_of(path):
        facts = json.loads(str(arrays["facts"]))
        return Trajectory(
            points=arrays["points"],
            codes=arrays.get("codes"),
            stop=arrays["stop"],
            step_norm=arrays["step_norm"],
            arrival=arrays["arrival"],
            target_units=arrays["target_units"],
            codebook=trained.codebook,
            scaling=trained.scaling,
            policy=facts["policy"],
            params=facts["params"],
            elapsed_s=float("nan"),
        )
