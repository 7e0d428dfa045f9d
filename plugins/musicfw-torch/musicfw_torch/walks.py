"""How walks through the codes fare: MUSIC beside the straight line, in the same map."""

from __future__ import annotations

from typing import Any

import numpy as np

import musicfw as mf
from musicfw.arrays import FloatArray, IntArray
from musicfw.measures import distance_to_data, frames_at_fractions

POLICIES: dict[str, dict[str, Any]] = {
    "MUSIC, route over the lattice": {"policy": "music", "route": "lattice", "active_units": 3},
    "MUSIC, direct": {"policy": "music", "route": "direct"},
    "straight line": {"policy": "straight-line"},
}
"""What is compared: the name in tables, and what `musicfw.steer` is given.

Three active units span a plane; codes of images lie in thin sheets, and more of them lead off it.
"""

FRACTIONS = (0.25, 0.5, 0.75)
_STEPS = 200


def walk_rows(
    trained: mf.TrainedMap, points: FloatArray, *, pairs: int, rng: np.random.Generator
) -> dict[str, dict[str, float]]:
    """Return, by policy, the measures of walks between random pairs.

    A pair is a row of the data and the unit that is best for another row; all policies walk the
    same pairs. Measures: ``arrived``: share that ended with that best unit; ``neighbour moves``:
    share of the changes of the best unit along the path that go to a unit that touches the last
    (diagonally too, on a rectangular lattice); ``units passed``: mean number of such changes;
    ``distance to data``: mean distance of the decoded frames at 25, 50 and 75 % of the path's
    length to the nearest row of the data, in original units.
    """
    starts, ends = rng.choice(len(points), size=(2, pairs), replace=2 * pairs > len(points))
    book = trained.codebook
    targets = book.best_matching_units(trained.encode(points[ends]))
    assert book.lattice is not None
    touching = book.lattice.touching()
    rows = {}
    for name, options in POLICIES.items():
        moves, good, near, arrived = 0, 0, [], 0
        for unit in np.unique(targets):
            chosen = starts[targets == unit]
            path = mf.steer(
                trained,
                points[chosen],
                target=mf.Target.units([int(unit)]),
                steps=_STEPS,
                **options,
            )
            for walk in _winners(path).T:
                changes = np.flatnonzero(walk[1:] != walk[:-1])
                moves += changes.size
                good += int(touching[walk[changes], walk[changes + 1]].sum())
                arrived += int(walk[-1] == unit)
            each = path.points.transpose(1, 0, 2)
            frames = np.concatenate([frames_at_fractions(walk, FRACTIONS) for walk in each])
            near.append(distance_to_data(frames, points))
        rows[name] = {
            "arrived": arrived / pairs,
            "neighbour moves": good / max(moves, 1),
            "units passed": moves / pairs,
            "distance to data": float(np.concatenate(near).mean()),
        }
    return rows


def _winners(path: mf.Trajectory) -> IntArray:
    """Return the best unit (T + 1, N) of every frame."""
    codes = path.in_map()
    flat = path.codebook.best_matching_units(codes.reshape(-1, codes.shape[2]))
    return flat.reshape(codes.shape[:2])
