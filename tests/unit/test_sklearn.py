"""The estimator keeps scikit-learn's contract, and inverts exactly."""

import numpy as np
import pytest

import musicfw as mf
from musicfw.errors import DataError, UsageError

pytest.importorskip("sklearn", minversion="1.6", reason="scikit-learn 1.6 is not installed")

from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from musicfw.sklearn import SOM

EPS = np.finfo(np.float64).eps


def expected_to_fail(estimator):
    """Return the checks that an estimator is known to fail, and why."""
    if not estimator.early_stopping:
        return {}
    reason = "the samples held out are drawn: a weight of 0 or 2 changes what is drawn"
    check = "check_sample_weight_equivalence_on_{}_data"
    return {check.format(kind): reason for kind in ("dense", "sparse")}


@parametrize_with_checks(
    [
        SOM(random_state=0),
        SOM(rows=3, columns=4, mode="batch"),
        SOM(rows=3, columns=4, early_stopping=True),
    ],
    expected_failed_checks=expected_to_fail,
)
def test_scikit_learns_own_checks_pass(estimator, check):
    check(estimator)


def test_inverse_transform_undoes_transform():
    X = load_iris().data
    som = SOM(rows=6, columns=6, random_state=0).fit(X)
    report = mf.well_posedness(som.map_)
    assert report.is_exact
    found = som.inverse_transform(som.transform(X))
    np.testing.assert_allclose(X, found, rtol=0, atol=50 * EPS * report.condition**2 * X.max())


def test_rows_that_are_no_distances_have_no_inverse():
    som = SOM(rows=3, columns=3, random_state=0).fit(load_iris().data)
    with pytest.raises(DataError, match="X: row 1 has no point: The distances hold NaN"):
        som.inverse_transform([[1.0] * 9, [-1.0] * 9])
    with pytest.raises(DataError, match="X: expected 9 columns, one per prototype, got 4"):
        som.inverse_transform(np.ones((2, 4)))


def test_how_partial_fit_is_called_changes_no_bit():
    X = np.random.default_rng(0).normal(size=(2500, 6))
    whole = SOM(random_state=1).partial_fit(X)
    parts = SOM(random_state=1)
    for chunk in np.array_split(X, [3, 1000, 1001, 2400]):
        parts.partial_fit(chunk)
    assert whole.prototypes_.tobytes() == parts.prototypes_.tobytes()


def test_partial_fit_takes_weights_as_a_stream_does():
    X = load_digits().data
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    som = SOM(5, 5, chunk_size=200, random_state=0)
    for rows in np.array_split(np.arange(len(X)), 7):
        som.partial_fit(X[rows], sample_weight=weights[rows])
    trainer = mf.StreamTrainer(mf.Lattice(rows=5, columns=5), chunk_size=200, seed=0)
    trainer.learn(X, weights)
    np.testing.assert_array_equal(trainer.snapshot().codebook.prototypes, som.prototypes_)
    with pytest.raises(ValueError, match="sample_weight"):
        som.partial_fit(X[:10], sample_weight=np.ones(3))


def test_fit_begins_anew_after_partial_fit():
    X = np.random.default_rng(0).normal(size=(300, 4))
    som = SOM(random_state=0).partial_fit(X + 5)
    fresh = SOM(random_state=0).fit(X).prototypes_
    np.testing.assert_array_equal(fresh, som.fit(X).prototypes_)


def test_a_pipeline_classifies_digits_by_their_distances_to_the_prototypes():
    digits = load_digits()
    pipeline = make_pipeline(
        SOM(rows=9, columns=9, random_state=0),
        StandardScaler(),
        LogisticRegression(max_iter=300, C=0.1),
    )
    pipeline.fit(digits.data[:1200], digits.target[:1200])
    assert pipeline.score(digits.data[1200:], digits.target[1200:]) > 0.85


def test_a_grid_search_finds_that_a_smaller_radius_fits_closer():
    search = GridSearchCV(SOM(random_state=0), {"radius_end": [0.5, 2.0]}, cv=3)
    search.fit(load_iris().data)
    assert search.best_params_ == {"radius_end": 0.5}


def test_early_stopping_is_that_of_the_backend_by_scikit_learns_names():
    X = load_digits().data
    som = SOM(
        5,
        5,
        mode="batch",
        epochs=300,
        early_stopping=True,
        validation_fraction=0.2,
        n_iter_no_change=2,
        tol=0.01,
        random_state=0,
    ).fit(X)
    trained = mf.train(
        X,
        lattice=mf.Lattice(rows=5, columns=5),
        mode="batch",
        epochs=300,
        validation_share=0.2,
        patience=2,
        tolerance=0.01,
        seed=0,
    )
    np.testing.assert_array_equal(trained.codebook.prototypes, som.prototypes_)
    for name, values in trained.history.items():
        np.testing.assert_array_equal(values, som.history_[name])
    assert som.n_iter_ == len(som.history_["held_out_quantization_error"]) < 300
    som.set_params(early_stopping=False).fit(X)
    assert som.n_iter_ == 300
    assert "held_out_quantization_error" not in som.history_


def test_a_fraction_of_nothing_is_refused():
    with pytest.raises(UsageError, match="validation_fraction: expected a share above 0 with"):
        SOM(early_stopping=True, validation_fraction=0.0).fit(load_iris().data)


def test_names_of_units_and_output_as_a_frame():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = load_iris(as_frame=True).data
    som = SOM(rows=2, columns=2, random_state=0).set_output(transform="pandas").fit(frame)
    assert list(som.get_feature_names_out()) == ["som0", "som1", "som2", "som3"]
    assert isinstance(som.transform(frame), pandas.DataFrame)
    assert list(som.feature_names_in_) == list(frame.columns)


def test_the_map_serves_the_other_verbs():
    X = load_iris().data
    som = SOM(rows=4, columns=4, random_state=0).fit(X)
    unit = int(som.predict(X[:1])[0])
    path = mf.steer(som.map_, X[100], target=mf.Target.units([unit]), steps=200)
    assert path.reached.all()


def with_gaps(X, share=0.2):
    rng = np.random.default_rng(0)
    gaps = np.where(rng.random(X.shape) < share, np.nan, X)
    gaps[:, 0] = X[:, 0]  # something of every row is known
    return gaps


@parametrize_with_checks([SOM(rows=3, columns=4, missing="keep", random_state=0)])
def test_scikit_learns_own_checks_pass_with_missing_values(estimator, check):
    check(estimator)


def test_rows_with_gaps_come_back_from_their_distances_filled():
    X = load_iris().data
    gaps = with_gaps(X)
    som = SOM(rows=6, columns=6, missing="keep", random_state=0).fit(gaps)
    filled = som.impute(gaps)
    known = ~np.isnan(gaps)
    np.testing.assert_array_equal(gaps[known], filled[known])
    means = np.broadcast_to(np.nanmean(gaps, axis=0), X.shape)
    assert np.abs(filled - X)[~known].mean() < 0.5 * np.abs(means - X)[~known].mean()
    report = mf.well_posedness(som.map_)
    found = som.inverse_transform(som.transform(gaps))
    np.testing.assert_allclose(filled, found, rtol=0, atol=50 * EPS * report.condition**2 * X.max())
    np.testing.assert_array_equal(som.predict(gaps), som.predict(filled))
    assert som.score(gaps) == som.score(filled)


def test_a_map_of_complete_rows_fills_gaps_but_does_not_take_them_otherwise():
    X = load_iris().data
    som = SOM(random_state=0).fit(X)
    gaps = with_gaps(X[:5], 0.5)
    assert np.isfinite(som.impute(gaps)).all()
    with pytest.raises(ValueError, match="NaN"):
        som.transform(gaps)


def test_rows_with_gaps_are_learnt_by_and_by():
    gaps = with_gaps(np.random.default_rng(0).normal(size=(2500, 6)))
    whole = SOM(missing="keep", random_state=1).partial_fit(gaps)
    parts = SOM(missing="keep", random_state=1)
    for chunk in np.array_split(gaps, [3, 1000, 2400]):
        parts.partial_fit(chunk)
    assert whole.prototypes_.tobytes() == parts.prototypes_.tobytes()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_names_of_a_frame_reach_the_map(library):
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    data = load_iris()
    frame = module.DataFrame({name: data.data[:, k] for k, name in enumerate("abcd")})
    som = SOM(rows=5, columns=5, random_state=0).set_output(transform=library)
    d = som.fit(frame).transform(frame)
    assert som.map_.feature_names == tuple("abcd") == tuple(som.feature_names_in_)
    assert isinstance(d, module.DataFrame)
    np.testing.assert_allclose(data.data, som.inverse_transform(d), rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="feature names"):
        som.transform(frame[list("bacd")])
    again = SOM(rows=5, columns=5, random_state=0).partial_fit(frame)
    assert again.map_.feature_names == tuple("abcd")
    assert SOM(random_state=0).fit(data.data).map_.feature_names is None


def test_sparse_documents_are_mapped_and_recovered():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    X = scipy_sparse.random_array((300, 20), density=0.2, format="csr", rng=0)
    dense = SOM(rows=6, columns=6, random_state=0).fit(X.toarray())
    som = SOM(rows=6, columns=6, random_state=0).fit(X)
    np.testing.assert_allclose(dense.prototypes_, som.prototypes_, rtol=0, atol=1e-12)
    np.testing.assert_allclose(X.toarray(), som.inverse_transform(som.transform(X)), atol=1e-9)
    np.testing.assert_array_equal(dense.predict(X.toarray()), som.predict(X))
    assert som.score(X) == pytest.approx(dense.score(X.toarray()), rel=1e-9)
    parts = SOM(random_state=0).partial_fit(X[:100]).partial_fit(X[100:])
    whole = SOM(random_state=0).partial_fit(X.toarray())
    np.testing.assert_array_equal(whole.prototypes_, parts.prototypes_)


def coloured_table(library):
    """Return a frame of a text column and two of numbers, all of which depend on each other."""
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=200)
    return library.DataFrame(
        {
            "colour": np.array(["red", "green", "blue"])[kind],
            "size": 10.0 * kind + rng.normal(size=200),
            "mass": 100.0 - kind + rng.normal(size=200),
        }
    )


def test_a_pipeline_with_one_hot_columns_gives_categories_and_numbers_back():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = coloured_table(pandas)
    columns = ColumnTransformer(
        [
            ("colour", OneHotEncoder(sparse_output=False), ["colour"]),
            ("numbers", StandardScaler(), ["size", "mass"]),
        ],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    pipeline = make_pipeline(columns, SOM(rows=5, columns=5, random_state=0))
    d = pipeline.fit_transform(table)
    som = pipeline[-1]
    names = ("colour_blue", "colour_green", "colour_red", "size", "mass")
    assert som.map_.feature_names == names
    # The colours of a row add up to 1: its points lie in a plane, which the map spans.
    points = som.inverse_transform(d)
    encoder, scaler = (columns.named_transformers_[name] for name in ("colour", "numbers"))
    colour = encoder.inverse_transform(points[:, columns.output_indices_["colour"]])
    np.testing.assert_array_equal(table[["colour"]].to_numpy(dtype=object), colour)
    numbers = scaler.inverse_transform(points[:, columns.output_indices_["numbers"]])
    np.testing.assert_allclose(table[["size", "mass"]], numbers, rtol=1e-9)
    path = mf.steer(
        som.map_,
        columns.transform(table[:1]),
        target=mf.Target.units([int(som.predict(columns.transform(table[1:2]))[0])]),
        lower=dict.fromkeys(names[:3], 0.0),
        upper=dict.fromkeys(names[:3], 1.0),
    )
    assert {change.feature for change in path.changes()} == set(names)


def test_inverse_transform_of_a_pipeline_gives_categories_back_from_sparse_one_hot_columns():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = coloured_table(pandas)[["colour"]].assign(shape=["disc", "ball"] * 100)
    pipeline = make_pipeline(OneHotEncoder(), SOM(rows=4, columns=4, random_state=0))
    d = pipeline.fit_transform(table)
    np.testing.assert_array_equal(table.to_numpy(dtype=object), pipeline.inverse_transform(d))


def test_a_pipeline_fills_gaps_of_numbers_beside_categories():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = coloured_table(pandas)
    whole = table["size"].copy()
    table.loc[::7, "size"] = np.nan
    columns = ColumnTransformer(
        [
            ("colour", OneHotEncoder(sparse_output=False), ["colour"]),
            ("numbers", StandardScaler(), ["size", "mass"]),
        ]
    )
    X = columns.fit_transform(table)
    filled = SOM(missing="keep", random_state=0).fit(X).impute(X)
    scaler = columns.named_transformers_["numbers"]
    size = scaler.inverse_transform(filled[:, columns.output_indices_["numbers"]])[:, 0]
    gaps = table["size"].isna().to_numpy()
    assert (
        np.abs(size - whole)[gaps].mean() < 0.3 * np.abs(table["size"].mean() - whole)[gaps].mean()
    )
