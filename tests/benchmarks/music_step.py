"""One MUSIC step: spectral coordinates against the dense normal equations, in one run.

    python tests/benchmarks/music_step.py

Prints microseconds per point and step for both sides, their ratio (medians over repeats that are
interleaved, so that a noisy machine disturbs both alike), how well they agree, and what growing M
at equal rank costs.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import scipy.linalg

from musicfw.api import SteeringProblem
from musicfw.codebook import Codebook
from musicfw.control.global_walk import BLOCK
from musicfw.control.music import Music, MusicParams

RATE, WEIGHT, DAMPING = 0.05, 20.0, 1e-3


def prototypes_of_rank(rng, units, dimension, rank):
    left = rng.normal(size=(units, rank)) * np.geomspace(1.0, 1e-2, rank)
    return left @ np.linalg.qr(rng.normal(size=(dimension, rank)))[0].T


def problem_for(prototypes, points, selected):
    return SteeringProblem(
        codebook=Codebook(prototypes=prototypes),
        points=points,
        units=selected,
        goals=np.zeros((len(points), selected.size)),
        directions=np.ones(selected.size),
        weights=np.ones(selected.size),
        waypoints=np.empty(0, dtype=np.intp),
        steps=1,
    )


def policy(**options):
    return Music(
        MusicParams(
            scope="all",
            selection="all",
            rate=RATE,
            selected_weight=WEIGHT,
            damping=DAMPING,
            **options,
        )
    )


def spectral_seconds(prototypes, points, selected, steps=10):
    """Seconds per point and step, without the one factorisation and without decoding frames."""
    walk = policy().begin(problem_for(prototypes, points, selected))
    rows = np.arange(len(points))
    started = time.perf_counter()
    for _ in range(steps):
        for first in range(0, rows.size, BLOCK):
            walk.step(rows[first : first + BLOCK])
    return (time.perf_counter() - started) / (steps * len(points))


def dense_step(prototypes, point, omega, wanted, damping):
    J = 2.0 * (point - prototypes)
    normal = (J.T * omega) @ J
    normal[np.diag_indices_from(normal)] += damping
    return scipy.linalg.solve(normal, J.T @ (omega * wanted), assume_a="pos", check_finite=False)


def dense_problem(prototypes, selected):
    omega = np.ones(len(prototypes))
    omega[selected] = WEIGHT
    centred = np.sqrt(omega)[:, np.newaxis] * (prototypes - omega @ prototypes / omega.sum())
    return omega, DAMPING * 4.0 * np.linalg.svd(centred, compute_uv=False)[0] ** 2


def dense_moves(prototypes, points, selected, omega, damping):
    moves = []
    for point in points:
        wanted = np.zeros(len(prototypes))
        wanted[selected] = -RATE * ((point - prototypes[selected]) ** 2).sum(axis=1)
        moves.append(dense_step(prototypes, point, omega, wanted, damping))
    return np.array(moves)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=400)
    parser.add_argument("--dimension", type=int, default=784)
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--selected", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rank = min(options.units - 1, options.dimension)
    prototypes = prototypes_of_rank(rng, options.units, options.dimension, rank)
    many = prototypes_of_rank(rng, 4 * options.units, options.dimension, rank)
    points = rng.normal(size=(options.points, options.dimension)) / np.sqrt(options.dimension)
    selected = np.arange(options.selected)
    omega, damping = dense_problem(prototypes, selected)

    fast, slow, grown = [], [], []
    for _ in range(options.repeats):
        fast.append(spectral_seconds(prototypes, points, selected))
        grown.append(spectral_seconds(many, points, selected))
        started = time.perf_counter()
        expected = dense_moves(prototypes, points[:8], selected, omega, damping)
        slow.append((time.perf_counter() - started) / 8)

    plain = policy(step_control="fixed").begin(problem_for(prototypes, points[:8], selected))
    moved = plain.advance(np.ones(8, dtype=bool)).points - points[:8]
    error = np.linalg.norm(moved - expected, axis=1) / np.linalg.norm(expected, axis=1)

    fast_us, slow_us, grown_us = (1e6 * statistics.median(x) for x in (fast, slow, grown))
    print(
        f"D={options.dimension}, M={options.units}, {options.points} points, "
        f"{options.selected} selected units, rank {rank}; median of {options.repeats} repeats"
    )
    print(f"dense normal equations   {slow_us:12.1f} us per point and step")
    print(f"spectral coordinates     {fast_us:12.2f} us per point and step")
    print(f"ratio dense / spectral   {slow_us / fast_us:12.0f}")
    print(
        f"M = {4 * options.units} at equal rank    {grown_us:12.2f} us ({grown_us / fast_us:.2f} x)"
    )
    print(f"largest relative difference of a step {error.max():.1e}")


if __name__ == "__main__":
    main()
