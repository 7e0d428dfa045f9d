import numpy as np

from musicfw.som.relevance_descent import Units, assigned
from musicfw.som.relevance_growth import (
    Growth,
    badly_represented_rows,
    lasting_units,
    represented,
)

RULES = Growth(activation_threshold=0.9, least_share=0.05)
RNG = np.random.default_rng(0)
BLOBS = np.vstack([RNG.normal(c, 0.1, (100, 2)) for c in (-5.0, 0.0, 5.0)])


def lasting(prototypes, points=BLOBS, field=1.0, rules=RULES):
    units = Units.alike(np.asarray(prototypes, dtype=float), learning=True)
    found = assigned(points, units, receptive_field=field)
    return lasting_units(points, units, found, rules).tolist()


def test_activation_is_one_at_the_prototype_and_half_at_the_datas_own_spread():
    spread = 2 * BLOBS.var(axis=0).mean()
    distances = np.array([0.0, spread, spread / 9.0 * 0.999, spread / 9.0 * 1.001])
    assert represented(BLOBS, distances, RULES).tolist() == [True, False, True, False]
    half = Growth(activation_threshold=0.5, least_share=0.0)
    assert represented(BLOBS, distances * 0.999, half).all()


def test_a_unit_for_each_cluster_lasts():
    assert lasting([[-5, -5], [0, 0], [5, 5]]) == [0, 1, 2]


def test_of_units_in_one_cluster_the_one_with_most_points_lasts():
    assert lasting([[-5, -5], [0, 0], [5, 5], [0.1, 0.1]]) in ([0, 1, 2], [0, 2, 3])
    assert lasting([[-5, -5], [0.09, 0.09], [5, 5], [0.0, 0.0]]) == [0, 2, 3]


def test_units_without_enough_points_do_not_last_but_one_always_does():
    assert lasting([[-5, -5], [0, 0], [5, 5], [50, 50]]) == [0, 1, 2]
    demanding = Growth(activation_threshold=0.9, least_share=0.99)
    assert len(lasting([[-5, -5], [0, 0], [5, 5]], rules=demanding)) == 1


def test_points_outside_the_receptive_field_keep_no_unit():
    noise = np.vstack([BLOBS, RNG.uniform(20.0, 90.0, (30, 2))])
    prototypes = [[-5, -5], [0, 0], [5, 5], [50, 50]]
    strict = Growth(activation_threshold=0.999, least_share=0.05)
    assert lasting(prototypes, noise, rules=strict) == [0, 1, 2, 3]
    assert lasting(prototypes, noise, field=0.9, rules=strict) == [0, 1, 2]


def test_rows_are_drawn_from_what_no_unit_represents():
    units = Units.alike(np.array([[-5.0, -5.0], [0.0, 0.0]]), learning=True)
    found = assigned(BLOBS, units, receptive_field=1.0)
    rows = badly_represented_rows(BLOBS, found, RULES, count=20, rng=np.random.default_rng(0))
    assert rows.shape == (20, 2)
    assert (rows > 4.0).all()
    whole = assigned(BLOBS, Units.alike(BLOBS, learning=True), receptive_field=1.0)
    some = badly_represented_rows(BLOBS, whole, RULES, count=3, rng=np.random.default_rng(0))
    assert some.shape == (3, 2)
