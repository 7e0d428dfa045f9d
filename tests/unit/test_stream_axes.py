"""A stream that is scaled, or whose features are weighted, is the stream of changed rows."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.dataset import Scaling
from musicfw.errors import UsageError
from musicfw.scaling import fit_scaling

LATTICE = mf.Lattice(rows=4, columns=5)
WEIGHTS = np.array([4.0, 1.0, 0.25, 9.0])
SCALING = Scaling(offset=np.array([1.0, -2.0, 0.0, 5.0]), scale=np.array([2.0, 0.1, 30.0, 1.0]))


def rows(seed=0, count=700):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, 4))
    spread = centres[rng.integers(6, size=count)] + 0.3 * rng.normal(size=(count, 4))
    return spread * [1.0, 100.0, 0.01, 1.0] + [0.0, 50.0, 0.0, -3.0]


def stream(points, **given):
    return mf.train_stream(points, lattice=LATTICE, chunk_size=64, **given)


def assert_same_map(expected, found):
    np.testing.assert_array_equal(expected.codebook.prototypes, found.codebook.prototypes)
    for name, values in expected.history.items():
        np.testing.assert_array_equal(values, found.history[name])


@pytest.mark.parametrize("missing", ["refuse", "keep"])
def test_a_given_scaling_is_that_of_rows_scaled_beforehand(missing):
    points = rows()
    if missing == "keep":
        points[::7, 2] = np.nan
    judged = {"patience": 50, "missing": missing}
    scaled = SCALING.to_map(points)
    expected = stream([scaled[100:]], validation=scaled[:100], **judged)
    found = stream([points[100:]], validation=points[:100], scaling=SCALING, **judged)
    assert_same_map(expected, found)
    assert found.scaling is SCALING
    full = points[~np.isnan(points).any(axis=1)]
    np.testing.assert_array_equal(
        expected.squared_distances(SCALING.to_map(full)), found.squared_distances(full)
    )


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_a_scaling_is_fitted_to_the_rows_of_the_first_update(kind):
    points = rows(1)
    fitted = fit_scaling(points[:64], kind)
    found = stream([points[:10], points[10:]], scaling=kind)
    assert_same_map(stream([points], scaling=fitted), found)
    np.testing.assert_array_equal(fitted.offset, found.scaling.offset)
    np.testing.assert_array_equal(fitted.scale, found.scaling.scale)


def test_feature_weights_stretch_the_axes_and_become_relevances():
    points = rows(2)
    roots = np.sqrt(WEIGHTS)  # exact
    expected = stream([points[100:] * roots], validation=points[:100] * roots, patience=50)
    found = stream(
        [points[100:]],
        validation=points[:100],
        patience=50,
        feature_weights={"a": 4.0, "c": 0.25, "d": 9.0},
        feature_names=["a", "b", "c", "d"],
    )
    np.testing.assert_array_equal(expected.codebook.prototypes / roots, found.codebook.prototypes)
    np.testing.assert_array_equal(WEIGHTS, found.codebook.relevances)
    np.testing.assert_array_equal(
        expected.history["held_out_quantization_error"],
        found.history["held_out_quantization_error"],
    )
    np.testing.assert_allclose(
        expected.squared_distances(points * roots), found.squared_distances(points), rtol=1e-9
    )


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 300), max_size=5), kind=st.sampled_from(["standard", SCALING]))
def test_chunks_change_no_bit_of_a_scaled_stream(cuts, kind):
    points = rows(3, 300)
    given_too = {"scaling": kind, "feature_weights": WEIGHTS}
    whole = stream([points], **given_too)
    assert_same_map(whole, stream(np.split(points, sorted(cuts)), **given_too))


def test_first_prototypes_are_given_in_original_units():
    points, first = rows(4), rows(5, 20)
    roots = np.sqrt(WEIGHTS)
    expected = stream([SCALING.to_map(points) * roots], initial=SCALING.to_map(first) * roots)
    found = stream([points], initial=first, scaling=SCALING, feature_weights=WEIGHTS)
    np.testing.assert_array_equal(expected.codebook.prototypes / roots, found.codebook.prototypes)


def test_sparse_rows_to_judge_by_are_scaled_without_becoming_dense():
    points = np.where(rows(6) > 0.0, rows(6), 0.0)
    judged = {"patience": 50, "scaling": SCALING, "feature_weights": WEIGHTS}
    dense = stream([points[100:]], validation=points[:100], **judged)
    sparse = stream([points[100:]], validation=scipy.sparse.csr_array(points[:100]), **judged)
    name = "held_out_quantization_error"
    # The offset is taken before the product with the root of the weight, or after it.
    largest = np.abs(SCALING.to_map(points) * np.sqrt(WEIGHTS)).max() + 60.0
    rounding = 100 * np.finfo(float).eps * largest**2 / np.nanmin(dense.history[name])
    np.testing.assert_allclose(dense.history[name], sparse.history[name], atol=rounding)


def test_a_scaled_stream_goes_on_from_its_checkpoint(tmp_path):
    points, path = rows(7), tmp_path / "kept.npz"

    def chunks(stop):
        for start in range(0, len(points), 50):
            if start == stop:
                raise KeyboardInterrupt
            yield points[start : start + 50]

    def kept(stop, **given_too):
        return stream(chunks(stop), checkpoint=path, checkpoint_every_s=0.0, **given_too)

    for scaling in ("standard", SCALING):
        given_too = {"scaling": scaling, "feature_weights": WEIGHTS}
        whole = stream(chunks(None), **given_too)
        assert kept(350, **given_too).interrupted
        moved = Scaling(offset=SCALING.offset + 1.0, scale=SCALING.scale)
        for other in ({"scaling": "minmax"}, {"scaling": moved}, {"feature_weights": [1, 2, 3, 4]}):
            with pytest.raises(UsageError, match="belongs to a training with other"):
                kept(None, **(given_too | other))
        assert_same_map(whole, kept(None, **given_too))


@pytest.mark.parametrize("scaling", ["none", "standard", "minmax"])
def test_a_checkpoint_is_not_gone_on_from_with_rows_of_another_unit(scaling, tmp_path):
    points, path = rows(10), tmp_path / "kept.npz"

    def begun():  # updates only: no row waits for one that is compared
        yield points[:192]
        raise KeyboardInterrupt

    stream(begun(), scaling=scaling, checkpoint=path)
    with pytest.raises(UsageError, match="the rows are not those"):
        stream([2.0 * points], scaling=scaling, checkpoint=path)


def test_weights_of_features_of_any_name_are_kept_with_a_checkpoint(tmp_path):
    weights = {np.int64(0): 2.0, "b": 3.0}
    given_too = {"feature_weights": weights, "feature_names": ["a", "b", "c", "d"]}
    found = stream([rows()], checkpoint=tmp_path / "kept.npz", **given_too)
    np.testing.assert_array_equal([2.0, 3.0, 1.0, 1.0], found.codebook.relevances)


@pytest.mark.parametrize(
    ("factor", "given_too"),
    [
        (1e10, {"scaling": Scaling(offset=np.zeros(4), scale=np.full(4, 1e-300))}),
        (1e200, {"feature_weights": [1e300] * 4}),
        (1e300, {"dtype": "float32"}),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_axes_in_which_rows_overflow_are_refused(factor, given_too, later):
    chunks = [rows() * factor]
    if later:
        chunks = [1e-12 * rows() if "feature_weights" in given_too else 1e-10 * rows(), *chunks]
    with pytest.raises(UsageError, match="points: squared distances between them overflow float"):
        stream(chunks, **given_too)


def test_a_scaling_of_other_features_is_refused_with_the_first_row():
    trainer = mf.StreamTrainer(LATTICE, scaling=Scaling.identity(3))
    with pytest.raises(UsageError, match="scaling: expected 4 offsets"):
        trainer.learn(rows()[:1])


def test_a_float32_training_is_scaled_in_the_precision_of_the_rows():
    points = rows(8) + 1e7  # float32 would keep one unit of it
    found = stream([points], scaling="standard", dtype="float32")
    expected = stream([found.scaling.to_map(points)], dtype="float64")
    # Far above the rounding of float32; scaled after rounding they would be off by a tenth.
    np.testing.assert_allclose(expected.codebook.prototypes, found.codebook.prototypes, atol=1e-3)


@pytest.mark.parametrize(
    ("given_too", "message"),
    [
        ({"scaling": np.zeros(4)}, "scaling: expected 'none', .*array"),
        ({"scaling": "standart"}, "scaling: expected .* got 'standart'; .*standard"),
        ({"scaling": Scaling.identity(3)}, "scaling: expected 4 offsets and scales.* got 3"),
        ({"feature_weights": [1, 0, 1, 1]}, "feature_weights: .* above 0 .* column 1"),
        ({"feature_weights": [1, 1]}, "feature_weights"),
        ({"feature_weights": [[1], [1, 2]]}, "feature_weights"),
    ],
)
def test_what_a_stream_cannot_take_is_refused(given_too, message):
    with pytest.raises(UsageError, match=message):
        stream([rows()], **given_too)


def test_partial_fit_weights_features():
    from musicfw.sklearn import SOM

    points = rows(9)
    som = SOM(rows=4, columns=5, chunk_size=64, feature_weights=WEIGHTS, random_state=0)
    for part in np.array_split(points, 3):
        som.partial_fit(part)
    expected = stream([points], feature_weights=WEIGHTS)
    np.testing.assert_array_equal(expected.codebook.prototypes, som.map_.codebook.prototypes)
    np.testing.assert_array_equal(WEIGHTS, som.map_.codebook.relevances)
