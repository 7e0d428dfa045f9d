"""The mexican hat: what it attracts and repels, that it stays bounded, where it is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.errors import UsageError
from musicfw.som.native_params import NativeParams
from musicfw.som.neighbourhoods import gaussian_neighbourhood, neighbourhood_column
from musicfw.som.online import OnlineMap
from musicfw.som.quality import dead_units, quantization_error, topographic_error

EPS = np.finfo(np.float64).eps
LATTICE = mf.Lattice(rows=8, columns=8)


def hat(squared, radius):
    return neighbourhood_column(np.asarray(squared, dtype=float), radius, name="mexican-hat")


def test_it_is_the_mean_of_a_gaussian_and_of_marrs_hat():
    squared = np.linspace(0.0, 80.0, 400)
    marr = (1.0 - squared / (2 * 1.7**2)) * np.exp(-squared / (2 * 1.7**2))
    expected = 0.5 * gaussian_neighbourhood(squared, 1.7) + 0.5 * marr
    np.testing.assert_allclose(expected, hat(squared, 1.7), rtol=0, atol=4 * EPS)


def test_it_attracts_up_to_twice_the_radius_and_repels_beyond():
    weights = hat([0.0, 3.99 * 9, 4.0 * 9, 4.01 * 9], 3.0)
    assert weights[0] == 1.0
    assert weights[1] > 0.0 == weights[2] > weights[3]


def test_it_repels_hardest_at_root_six_radii():
    squared = np.linspace(4.0, 12.0, 8001)
    weights = hat(squared, 1.0)
    # At an extremum the grid's half step shows in second order only.
    assert squared[weights.argmin()] == pytest.approx(6.0, abs=1e-3)
    assert weights.min() == pytest.approx(-0.5 * np.exp(-3.0), rel=1e-6)


def test_over_the_plane_it_leaves_half_of_the_gaussians_sum():
    squared = np.add.outer(np.arange(-40, 41) ** 2, np.arange(-40, 41) ** 2).astype(float)
    # Sums over a lattice of functions as smooth as these are their integrals to 2 exp(-2π²r²).
    assert hat(squared, 3.0).sum() == pytest.approx(
        0.5 * gaussian_neighbourhood(squared, 3.0).sum(), rel=1e-9
    )


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_it_orders_a_sheet_and_fits_it_closer_than_the_gaussian(topology):
    X = np.random.default_rng(1).random((3000, 2))
    lattice = mf.Lattice(rows=8, columns=8, topology=topology)
    books = [
        mf.train(X, lattice=lattice, mode="online", neighborhood=name).codebook
        for name in ("mexican-hat", "gaussian")
    ]
    assert topographic_error(books[0], X) < 0.01
    assert dead_units(books[0], X).size == 0
    # Units at the border are pulled in less: what is far away repels them.
    assert quantization_error(books[0], X) < 0.9 * quantization_error(books[1], X)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.floats(0.01, 1.0),
    radius=st.floats(0.5, 3.0),
    missing=st.booleans(),
)
def test_prototypes_stay_near_the_data_however_these_lie(seed, spread, radius, missing):
    rng = np.random.default_rng(seed)
    # Far clusters: units between them are repelled by one and attracted by none.
    X = rng.normal(size=(5, 3))[rng.integers(5, size=400)] * 20 + spread * rng.normal(size=(400, 3))
    reach = np.linalg.norm(X - X.mean(axis=0), axis=1).max()
    if missing:
        X[::3, 1] = np.nan
    options = {"mode": "online", "neighborhood": "mexican-hat", "epochs": 5, "missing": "keep"}
    trained = mf.train(X, lattice=LATTICE, radius_start=radius, radius_end=0.5, **options)
    centre = np.nanmean(X, axis=0)
    lengths = np.linalg.norm(trained.codebook.prototypes - centre, axis=1)
    # The last push may pass the reach, by at most the rate .5 times .025 times a diameter; with
    # gaps both centres differ, by less than a third of the reach.
    assert lengths.max() <= reach * (1 + 0.5 * 0.025 * 2 + missing / 3)


def test_without_a_reach_they_would_not():
    rng = np.random.default_rng(0)
    X = np.where(rng.random((4000, 1)) < 0.5, -1.0, 1.0) + 0.01 * rng.normal(size=(4000, 1))
    ends = []
    for reach in (np.inf, float((X * X).max())):
        som = OnlineMap(
            np.linspace(-1, 1, 12)[:, np.newaxis].copy(),
            squared_lattice=mf.Lattice(rows=1, columns=12).squared_distances(),
            neighborhood="mexican-hat",
            reach=reach,
        )
        som.learn(X, radii=np.full(4000, 1.0), rates=np.full(4000, 0.5))
        ends.append(np.abs(som.prototypes).max())
    assert ends[0] > 3.0
    assert ends[1] < 1.1


@pytest.mark.parametrize("mode", ["minibatch", "batch", "progressive"])
def test_it_is_refused_where_weighted_means_are_taken(mode):
    with pytest.raises(UsageError, match=f"'mexican-hat' only with mode: online.*got mode: {mode}"):
        NativeParams(mode=mode, neighborhood="mexican-hat")
