"""One broken plugin never costs another its place, and is listed with its cause."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

import musicfw as mf
from musicfw.api import (
    BackendFactory,
    Dataset,
    DatasetFactory,
    Move,
    NoParams,
    PolicyFactory,
    RawMap,
    RawSolution,
    SolverFactory,
    hookimpl,
    param,
)
from musicfw.discovery import KINDS
from musicfw.plugins import add_complaints

GOOD = """
@hookimpl
def musicfw_solvers():
    return [SolverFactory(name="fine", params=NoParams, build=lambda p: None, summary="Fine.")]
"""


def solvers(*factories):
    return f"""
@hookimpl
def musicfw_solvers():
    return [{", ".join(factories)}]
"""


def solver(name='"bad"', params="NoParams", build="lambda p: None", rest=""):
    return f"SolverFactory(name={name}, params={params}, build={build}, summary='s'{rest})"


OPTIONS = """
@dataclass(frozen=True)
class Options:
    {field}
"""

# What the plugin does wrong, and the cause that is listed.
BROKEN = {
    "raises on import": ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    "syntax error": ("def (", "SyntaxError: "),
    "imports what is missing": (
        "import surely_not_installed",
        "ModuleNotFoundError: No module named 'surely_not_installed'",
    ),
    "exits on import": ("import sys; sys.exit(4)", "SystemExit: 4"),
    "no hook": ("answer = 42", "broken implements no hook; expected a function such as"),
    "misspelt hook": (
        "@hookimpl\ndef musicfw_solver(): return []",
        "there is no hook called 'musicfw_solver'; did you mean 'musicfw_solvers'?",
    ),
    "far-off hook": (
        "@hookimpl\ndef xyz(): return []",
        "there is no hook called 'xyz'; the hooks are 'musicfw_backends'",
    ),
    "wrong argument": (
        "@hookimpl\ndef musicfw_after_run(results): pass",
        "hook does not match its specification",
    ),
    "argument of a collecting hook": (
        "@hookimpl\ndef musicfw_solvers(registry): return []",
        "hook does not match its specification",
    ),
    "wrapper": (
        "@hookimpl(wrapper=True)\ndef musicfw_solvers():\n    return (yield)",
        "musicfw_solvers: hook wrappers are not supported",
    ),
    "old wrapper": (
        "@hookimpl(hookwrapper=True)\ndef musicfw_solvers():\n    yield",
        "musicfw_solvers: hook wrappers are not supported",
    ),
    "raises in a hook": (
        "@hookimpl\ndef musicfw_solvers(): raise KeyError('x')",
        "KeyError: 'x'",
    ),
    "exits in a hook": (
        "@hookimpl\ndef musicfw_solvers(): raise SystemExit(0)",
        "SystemExit: 0",
    ),
    "an integer": (
        "@hookimpl\ndef musicfw_solvers(): return 3",
        "musicfw_solvers: expected a list of SolverFactory, got int (3)",
    ),
    "a string": (
        "@hookimpl\ndef musicfw_solvers(): return 'exact'",
        "musicfw_solvers: expected a list of SolverFactory, got str ('exact')",
    ),
    "None": (
        "@hookimpl\ndef musicfw_solvers(): pass",
        "musicfw_solvers: expected a list of SolverFactory, got NoneType (None)",
    ),
    "a factory without a list": (
        f"@hookimpl\ndef musicfw_solvers(): return {solver()}",
        "musicfw_solvers: expected a list of SolverFactory, got SolverFactory",
    ),
    "a list of strings": (
        solvers("'exact'"),
        "musicfw_solvers[0]: expected a SolverFactory, got str ('exact')",
    ),
    "another kind": (
        solvers(solver('"a"'), solver('"b"').replace("SolverFactory", "PolicyFactory")),
        "musicfw_solvers[1]: expected a SolverFactory, got PolicyFactory",
    ),
    "a bad name": (
        solvers(solver('"My_Solver"')),
        "musicfw_solvers[0].name: expected lower-case words joined by hyphens, got 'My_Solver'",
    ),
    "a colon in the name": (
        solvers(solver('"a:b"')),
        "musicfw_solvers[0].name: expected lower-case words joined by hyphens, got 'a:b'",
    ),
    "no name": (
        solvers(solver("None")),
        "musicfw_solvers[0].name: expected lower-case words joined by hyphens, got None",
    ),
    "a name twice": (solvers(solver(), solver()), "the solver 'bad' is provided twice"),
    "params that are no dataclass": (
        solvers(solver(params="dict")),
        "musicfw_solvers[0].params: expected a dataclass (its fields are the options), got "
        "<class 'dict'>; use musicfw.api.NoParams for none",
    ),
    "params that are an instance": (
        solvers(solver(params="NoParams()")),
        "musicfw_solvers[0].params: expected a dataclass (its fields are the options), got "
        "NoParams",
    ),
    "params without a default": (
        OPTIONS.format(field="strength: float") + solvers(solver(params="Options")),
        "musicfw_solvers[0].params: every option needs a default",
    ),
    "params with a name of the verb": (
        OPTIONS.format(field="tolerance: float = 1.0") + solvers(solver(params="Options")),
        "musicfw_solvers[0].params: the option 'tolerance' has the name of an argument that every "
        "solver is called with; give it another name",
    ),
    "build that cannot be called": (
        solvers(solver(build="None")),
        "musicfw_solvers[0].build: expected a callable, got None",
    ),
    "unknown traits": (
        solvers(solver(rest=", traits=frozenset({'fast', 'regularised'})")),
        "musicfw_solvers[0].traits: expected some of ['regularised', 'uncentred'], got ['fast']",
    ),
}


def record_of(registry, distribution):
    (record,) = [r for r in registry.records if r.distribution == distribution]
    return record


@pytest.mark.parametrize("wrong", BROKEN)
def test_a_broken_plugin_is_listed_with_its_cause_and_costs_nobody_else_anything(site, wrong):
    code, cause = BROKEN[wrong]
    before = mf.load_registry()
    site.add("musicfw-fine", GOOD)
    site.add("broken", code)
    registry = mf.load_registry()
    record = record_of(registry, "broken")
    assert record.state == "failed"
    assert not record.usable
    assert record.provides == ()
    assert cause in record.error
    assert (record.version, record.entry_point, record.module) == ("1.0", "broken", "broken")
    assert record_of(registry, "musicfw-fine").state == "loaded"
    for kind in KINDS:
        more = {"fine"} if kind == "solver" else set()
        assert set(registry.names(kind)) == set(before.names(kind)) | more


def test_an_entry_point_that_leads_nowhere_fails_alone(site):
    site.metadata("musicfw-lost", "[musicfw]\na = surely_not_installed\nb = json:nothing\n")
    site.add("musicfw-fine", GOOD)
    registry = mf.load_registry()
    causes = {r.entry_point: r.error for r in registry.records if r.state == "failed"}
    assert "No module named 'surely_not_installed'" in causes["a"]
    assert "has no attribute 'nothing'" in causes["b"]
    assert "fine" in registry.names("solver")


def test_garbled_metadata_of_a_stranger_stop_nobody(site):
    site.metadata("stranger", "[console_scripts]\nthis is no entry point\n")
    site.metadata("musicfw-garbled", "[musicfw]\nthis is no entry point\n")
    (site.folder / "nameless-1.0.dist-info").mkdir()
    site.add("musicfw-fine", GOOD)
    registry = mf.load_registry()
    record = record_of(registry, "musicfw-garbled")
    assert record.state == "failed"
    assert "entry_points.txt cannot be read" in record.error
    assert "stranger" not in {r.distribution for r in registry.records}
    assert "fine" in registry.names("solver")


def test_a_distribution_found_twice_on_the_path_counts_once(site, tmp_path, monkeypatch):
    site.add("musicfw-fine", GOOD, version="1.0")
    second = tmp_path / "second"
    second.mkdir()
    monkeypatch.syspath_prepend(second)
    type(site)(folder=second, monkeypatch=monkeypatch).add("musicfw-fine", GOOD, version="2.0")
    record = record_of(mf.load_registry(), "musicfw-fine")
    assert (record.version, record.state) == ("2.0", "loaded")


def test_a_distribution_found_twice_under_two_spellings_counts_once(site):
    site.add("Musicfw.Fine", GOOD, module="musicfw_fine")
    site.metadata("musicfw-fine", "[musicfw]\nmusicfw_fine = musicfw_fine\n", version="0.9")
    found = [r for r in mf.load_registry().records if "fine" in r.distribution.lower()]
    assert [r.state for r in found] == ["loaded"]


def test_two_distributions_with_the_same_entry_point_name_are_both_usable(site):
    site.add("musicfw-one", GOOD.replace("fine", "one"), entry_point="nmf")
    site.add("musicfw-two", GOOD.replace("fine", "two"), entry_point="nmf")
    registry = mf.load_registry()
    assert {"one", "two"} <= set(registry.names("solver"))
    record = record_of(registry, "musicfw-one")
    assert record.state == "conflict"
    assert record.usable
    assert (
        record.error == "'entry point nmf' is also declared by musicfw-two: write musicfw-one:nmf"
    )


def test_a_name_with_two_owners_is_unusable_bare_and_usable_with_its_distribution(site):
    site.add("musicfw-one", GOOD)
    site.add("musicfw-two", GOOD)
    registry = mf.load_registry()
    assert "fine" not in registry.names("solver")
    with pytest.raises(
        mf.UsageError,
        match=r"^expected one solver called 'fine', got 2 owners "
        r"\(write 'musicfw-one:fine' or 'musicfw-two:fine'\)$",
    ):
        registry.find("solver", "fine")
    for owner in ("musicfw-one", "musicfw-two"):
        assert registry.find("solver", f"{owner}:fine").record.distribution == owner
        record = record_of(registry, owner)
        assert record.state == "conflict"
        assert "'solver fine' is also declared by musicfw-" in record.error
        assert f"write {owner}:fine" in record.error
    assert registry.find("solver", "Musicfw_One:fine").record.distribution == "musicfw-one"


def test_a_stranger_with_a_built_in_name_makes_it_unusable_bare_only(site):
    site.add("musicfw-rival", GOOD.replace("fine", "exact"))
    registry = mf.load_registry()
    assert "exact" not in registry.names("solver")
    assert registry.find("solver", "musicfw:exact").record.entry_point == "solvers"
    assert record_of(registry.without(["musicfw-rival"]), "musicfw-rival").state == "blocked"
    assert registry.without(["musicfw-rival"]).find("solver", "exact")


def test_the_same_name_in_two_kinds_is_no_conflict(site):
    code = GOOD + GOOD.replace("SolverFactory", "PolicyFactory").replace("solvers", "policies")
    site.add("musicfw-fine", code)
    registry = mf.load_registry()
    assert set(record_of(registry, "musicfw-fine").provides) == {"policy:fine", "solver:fine"}
    assert registry.find("policy", "fine").factory.kind == "policy"


@pytest.mark.parametrize("name", ["musicfw-fine", "Musicfw_Fine", "nmf", "musicfw-fine:nmf"])
def test_a_plugin_is_blocked_by_distribution_entry_point_or_both(site, name):
    site.add("musicfw-fine", "raise RuntimeError('never imported')", entry_point="nmf")
    record = record_of(mf.load_registry(block=[name]), "musicfw-fine")
    assert record.state == "blocked"
    assert record.error == "blocked by name (--no-plugin or plugins.block)"


@pytest.mark.parametrize("name", ["musicfw-fine", "nmf", "musicfw-fine:nmf"])
def test_without_blocks_like_loading_without(site, name):
    site.add("musicfw-fine", GOOD, entry_point="nmf")
    later = mf.load_registry().without([name])
    sooner = mf.load_registry(block=[name])
    assert [r.state for r in later.records] == [r.state for r in sooner.records]
    assert later.names("solver") == sooner.names("solver")
    with pytest.raises(
        mf.UsageError, match=r"plugin musicfw-fine 1\.0 is blocked: blocked by name"
    ):
        later.find("solver", "fine")
    assert "fine" in mf.load_registry().names("solver")


def test_without_restores_what_was_in_conflict_with_the_blocked(site):
    site.add("musicfw-one", GOOD)
    site.add("musicfw-two", GOOD)
    registry = mf.load_registry()
    rest = registry.without(["musicfw-two"])
    record = record_of(rest, "musicfw-one")
    assert (record.state, record.error) == ("loaded", None)
    assert rest.find("solver", "fine").record is record
    assert record_of(registry, "musicfw-one").state == "conflict"
    assert record_of(rest.without([]), "musicfw-two").state == "blocked"


def test_only_what_the_allow_list_names_is_imported_beside_the_built_ins(site, monkeypatch):
    site.add("musicfw-one", GOOD)
    site.add("musicfw-two", "raise RuntimeError('never imported')")
    monkeypatch.setenv("MUSICFW_PLUGINS", "other, musicfw_one")
    registry = mf.load_registry()
    assert record_of(registry, "musicfw-one").state == "loaded"
    record = record_of(registry, "musicfw-two")
    assert record.state == "blocked"
    assert record.error == "not named in the environment variable MUSICFW_PLUGINS"
    assert "exact" in registry.names("solver")


def test_an_empty_allow_list_leaves_the_built_ins(site, monkeypatch):
    site.add("musicfw-one", GOOD)
    monkeypatch.setenv("MUSICFW_PLUGINS", "")
    states = {r.distribution: r.state for r in mf.load_registry().records}
    assert states["musicfw"] == "loaded"
    assert states["musicfw-one"] == "blocked"


def test_a_requirement_is_met_by_a_loaded_plugin_and_else_tells_why_not(site):
    site.add("musicfw-fine", GOOD)
    site.add("musicfw-broken", "raise RuntimeError('no licence')")
    registry = mf.load_registry()
    assert registry.requirement("musicfw-fine") is None
    assert registry.requirement("musicfw:solvers") is None
    failed = registry.requirement("musicfw-broken")
    assert failed.code == "plugin-failed"
    assert failed.message == ("plugin musicfw-broken 1.0 failed to load: RuntimeError: no licence")
    blocked = registry.without(["musicfw-fine"]).requirement("musicfw-fine")
    assert blocked.code == "plugin-blocked"
    near = registry.requirement("musicfw-fin")
    assert (near.code, near.hint) == ("plugin-missing", "did you mean 'musicfw-fine'?")
    far = registry.requirement("zzz")
    assert far.message == "expected an installed plugin, got 'zzz'"
    assert "pip install zzz" in far.hint
    assert registry.known_plugin("musicfw_fine")
    assert not registry.known_plugin("zzz")


def test_an_unknown_name_lists_the_nearest_or_all_and_the_plugins_that_failed(site):
    registry = mf.Registry.from_modules()
    with pytest.raises(
        mf.UsageError, match=r"expected the name of a solver, got 'exat' \(did you mean 'exact'\?"
    ):
        registry.find("solver", "exat")
    with pytest.raises(
        mf.UsageError, match=r"got 'zzz' \(installed: 'exact', 'maximum-likelihood', 'ridge' or"
    ):
        registry.find("solver", "zzz")
    with pytest.raises(mf.UsageError, match=r"expected 'backend', .* or 'embedding', got"):
        registry.find("solvers", "exact")
    site.add("unrelated", "raise RuntimeError")
    with pytest.raises(mf.UsageError, match=r"unrelated failed to load \(see `musicfw plugins`\)"):
        mf.load_registry().find("solver", "zzz")


def test_a_name_that_a_failed_plugin_seems_to_provide_is_blamed_on_it(site):
    site.add("musicfw-nmf", "raise RuntimeError('no licence')")
    registry = mf.load_registry()
    with pytest.raises(
        mf.PluginError, match=r"plugin musicfw-nmf 1\.0 failed to load: RuntimeError"
    ):
        registry.find("solver", "nmf")
    assert registry.lookup("solver", "nmf").code == "plugin-failed"
    assert registry.lookup("solver", "exact").name == "exact"


@pytest.mark.parametrize("use", [None, 3, NoParams])
def test_what_is_neither_a_name_nor_a_factory_is_refused(use):
    got = type(use).__name__
    with pytest.raises(
        mf.UsageError, match=f"solver: expected the name of a solver or a factory, got {got}"
    ):
        mf.invert(CODEBOOK, DISTANCES, solver=use)


def test_a_factory_of_another_kind_is_refused():
    policy = PolicyFactory(name="p", params=NoParams, build=lambda p: None, summary="")
    with pytest.raises(
        mf.UsageError, match="solver: expected a solver factory, got a policy factory"
    ):
        mf.invert(CODEBOOK, DISTANCES, solver=policy)


@pytest.mark.parametrize(
    ("verb", "factory"),
    [(mf.invert, SolverFactory), (mf.train, BackendFactory), (mf.steer, PolicyFactory)],
)
def test_the_reserved_options_are_the_arguments_of_the_verb(verb, factory):
    arguments = {
        name
        for name, p in inspect.signature(verb).parameters.items()
        if p.kind is not inspect.Parameter.VAR_KEYWORD
    }
    assert factory.reserved_params - {"self"} == arguments


def test_no_built_in_has_a_state_other_than_loaded_and_records_are_sorted():
    records = mf.Registry.from_modules().records
    assert {r.state for r in records} == {"loaded"}
    assert [r.entry_point for r in records] == ["control", "datasets", "solvers", "som"]


# --- observers -----------------------------------------------------------------------------------


def test_observers_are_called_with_the_arguments_they_ask_for_and_fail_alone():
    seen = []

    class First:
        @hookimpl
        def musicfw_progress(self, done):
            seen.append(("first", done))

    class Broken:
        __name__, __version__ = "musicfw-broken", "0.3"

        @hookimpl
        def musicfw_progress(self, stage, done, total):
            raise ValueError("full disk")

    class Exits:
        __name__ = "musicfw-exits"

        @hookimpl
        def musicfw_progress(self):
            raise SystemExit(0)

    class Last:
        @hookimpl
        def musicfw_progress(self, total, stage):
            seen.append(("last", stage, total))

    registry = mf.Registry.from_modules(First(), Broken(), Exits(), Last())
    complaints = registry.notify("musicfw_progress", stage="map", done=1, total=2)
    assert seen == [("first", 1), ("last", "map", 2)]
    assert complaints == [
        "plugin musicfw-broken 0.3 failed in musicfw_progress: ValueError: full disk",
        "plugin musicfw-exits (in memory) failed in musicfw_progress: SystemExit: 0",
    ]
    assert registry.notify("musicfw_before_run", spec=None) == []


def test_hooks_are_listed_among_what_a_plugin_provides():
    module = SimpleNamespace(__name__="watcher", musicfw_after_run=hookimpl(lambda result: None))
    record = record_of(mf.Registry.from_modules(module), "watcher")
    assert record.provides == ("musicfw_after_run",)


# --- attribution ---------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
CODEBOOK = mf.Codebook(prototypes=RNG.normal(size=(6, 3)))
POINTS = RNG.normal(size=(4, 3))
DISTANCES = CODEBOOK.squared_distances(POINTS)
TARGET = mf.Target.units([1])


def crash(*_):
    raise ZeroDivisionError("by design")


def registry_with(hook, factory):
    module = SimpleNamespace(
        __name__="musicfw-toy", __version__="0.7", **{hook: hookimpl(lambda: [factory])}
    )
    return mf.Registry.from_modules(module)


def toy_solver(solve, *, factorise=None, build=None):
    class Toy:
        def factorise(self, system):
            if factorise is not None:
                factorise()
            return SimpleNamespace(solve=solve)

    factory = SolverFactory(
        name="toy", params=NoParams, build=build or (lambda params: Toy()), summary="A toy."
    )
    return registry_with("musicfw_solvers", factory)


def raises_naming(call, what):
    return pytest.raises(
        mf.PluginError,
        match=rf"'toy' of plugin musicfw-toy 0\.7 \(entry point 'musicfw-toy'\) failed in {call}: "
        rf"{re.escape(what)}\. Report it to the plugin's authors, or use another",
    )


def exits(*_):
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("fault", "what"), [(crash, "ZeroDivisionError: by design"), (exits, "SystemExit: 0")]
)
@pytest.mark.parametrize("call", ["build", "factorise", "solve"])
def test_what_a_solver_raises_is_attributed_to_distribution_version_and_call(call, fault, what):
    def fine(rhs):
        return RawSolution(coordinates=np.zeros((3, rhs.shape[1])))

    registry = toy_solver(
        fault if call == "solve" else fine,
        factorise=fault if call == "factorise" else None,
        build=fault if call == "build" else None,
    )
    with raises_naming(call, what) as caught:
        mf.invert(CODEBOOK, DISTANCES, solver="toy", registry=registry)
    assert isinstance(caught.value.__cause__, ZeroDivisionError | SystemExit)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (None, "expected a RawSolution, got NoneType"),
        (np.zeros((3, 4)), "expected a RawSolution, got ndarray"),
        (RawSolution(coordinates=[[0.0]]), "expected coordinates (D, B) of shape (3, 4), got list"),
        (
            RawSolution(coordinates=np.zeros((4, 3))),
            "expected coordinates (D, B) of shape (3, 4), got (4, 3)",
        ),
        (
            RawSolution(coordinates=np.zeros((3, 4), complex)),
            "expected coordinates (D, B) of real numbers, got complex128",
        ),
        (
            RawSolution(coordinates=np.full((3, 4), None)),
            "expected coordinates (D, B) of real numbers, got object",
        ),
    ],
)
def test_a_solver_that_returns_something_else_is_named(answer, what):
    with raises_naming("solve", what):
        mf.invert(CODEBOOK, DISTANCES, solver="toy", registry=toy_solver(lambda rhs: answer))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_point_that_is_not_finite_is_a_status_and_leaves_the_others_alone(value):
    def solve(rhs):
        coordinates = np.zeros((3, rhs.shape[1]))
        coordinates[1, 2] = value
        return RawSolution(coordinates=coordinates)

    inverted = mf.invert(CODEBOOK, DISTANCES, solver="toy", registry=toy_solver(solve))
    assert (inverted.status == mf.Status.FAILED).tolist() == [False, False, True, False]
    assert np.isnan(inverted.points[2]).all()
    assert np.isfinite(np.delete(inverted.points, 2, axis=0)).all()


def test_what_a_solver_is_given_cannot_be_written_to():
    def solve(rhs):
        rhs[:] = 0.0

    with raises_naming("solve", "ValueError: assignment destination is read-only"):
        mf.invert(CODEBOOK, DISTANCES, solver="toy", registry=toy_solver(solve))


def test_an_error_of_musicfw_itself_keeps_its_type_and_says_whose_it_is():
    def build(params):
        raise mf.UsageError("toy: expected something else")

    with pytest.raises(
        mf.UsageError, match=r"^solver 'toy' of plugin musicfw-toy: toy: expected something else$"
    ):
        mf.invert(CODEBOOK, DISTANCES, solver="toy", registry=toy_solver(None, build=build))


def toy_backend(fit):
    factory = BackendFactory(
        name="toy", params=NoParams, build=lambda p: SimpleNamespace(fit=fit), summary=""
    )
    return registry_with("musicfw_backends", factory)


def spoilt(shape, unit):
    prototypes = np.zeros(shape)
    prototypes[unit, 1] = np.nan
    return prototypes


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (None, "expected a RawMap, got NoneType"),
        (
            RawMap(prototypes=np.zeros((3, 6))),
            "expected prototypes (M, D) of shape (6, 3), got (3, 6)",
        ),
        (RawMap(prototypes=None), "expected prototypes (M, D) of shape (6, 3), got NoneType"),
        (
            RawMap(prototypes=np.full((6, 3), "a")),
            "expected prototypes (M, D) of real numbers, got <U1",
        ),
        (RawMap(prototypes=spoilt((6, 3), 4)), "the prototype of unit 4 is not finite"),
        (
            RawMap(prototypes=np.zeros((6, 3)), history=[1.0]),
            "expected history as a mapping of arrays, got list",
        ),
        (
            RawMap(prototypes=np.zeros((6, 3)), history={"error": ["high"]}),
            "expected history['error'] of real numbers, got <U4",
        ),
        (
            RawMap(prototypes=np.zeros((6, 3)), history={"error": np.zeros((2, 2))}),
            "expected history['error'] of shape (4,), got (2, 2)",
        ),
        (
            RawMap(prototypes=np.zeros((6, 3)), distances=np.array([1.0, -1.0])),
            "expected finite distances of at least 0",
        ),
        (
            RawMap(prototypes=np.zeros((6, 3)), distances=np.full(2, np.nan)),
            "expected finite distances of at least 0",
        ),
        (
            RawMap(prototypes=np.zeros((6, 3)), distances=np.ones((2, 2))),
            "expected distances, at most one per point of shape (4,), got (2, 2)",
        ),
    ],
)
def test_a_backend_that_returns_something_else_is_named(answer, what):
    lattice = mf.Lattice(rows=2, columns=3)
    with raises_naming("fit", what):
        mf.train(POINTS, lattice=lattice, backend="toy", registry=toy_backend(lambda p: answer))


def test_what_a_backend_raises_is_attributed():
    with raises_naming("fit", "ZeroDivisionError: by design"):
        mf.train(
            POINTS,
            lattice=mf.Lattice(rows=2, columns=3),
            backend="toy",
            registry=toy_backend(crash),
        )


def test_a_backend_cannot_write_to_the_data():
    def fit(problem):
        problem.points[0, 0] = 7.0

    with raises_naming("fit", "ValueError: assignment destination is read-only"):
        mf.train(
            POINTS, lattice=mf.Lattice(rows=2, columns=3), backend="toy", registry=toy_backend(fit)
        )


def toy_policy(advance, *, begin=None):
    class Walk:
        def __init__(self, problem):
            self.problem, self.taken = problem, 0

        def advance(self, active):
            self.taken += 1
            return advance(self, active)

    built = SimpleNamespace(begin=begin or Walk)
    factory = PolicyFactory(name="toy", params=NoParams, build=lambda p: built, summary="")
    return registry_with("musicfw_policies", factory)


def drift(walk, active, offset=0.125):
    points = walk.problem.points + offset * walk.taken
    return Move(points=points, settled=np.zeros(active.shape, dtype=bool))


def steer(registry, **rest):
    return mf.steer(
        CODEBOOK, POINTS, target=TARGET, policy="toy", registry=registry, steps=4, **rest
    )


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (None, "expected a Move, got NoneType"),
        (
            Move(points=np.zeros((3, 4)), settled=np.zeros(4, bool)),
            "expected points of shape (4, 3), got (3, 4)",
        ),
        (
            Move(points=np.zeros((4, 3)), settled=False),
            "expected settled of shape (4,), got bool",
        ),
        (
            Move(points=np.full((4, 3), None), settled=np.zeros(4, bool)),
            "expected points of real numbers, got object",
        ),
        (
            Move(points=np.zeros((4, 3)), settled=np.full(4, "no")),
            "expected settled of real numbers, got <U2",
        ),
    ],
)
def test_a_policy_that_returns_something_else_is_named(answer, what):
    with raises_naming("advance", what):
        steer(toy_policy(lambda walk, active: answer))


def test_what_a_policy_raises_is_attributed():
    with raises_naming("begin", "ZeroDivisionError: by design"):
        steer(toy_policy(drift, begin=crash))
    with raises_naming("advance", "ZeroDivisionError: by design"):
        steer(toy_policy(crash))


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e200])
def test_a_point_whose_next_frame_is_not_finite_has_diverged_and_stays(value):
    def advance(walk, active):
        move = drift(walk, active)
        if walk.taken >= 2:
            move.points[1, 0] = value
        return move

    path = steer(toy_policy(advance))
    assert path.stop[1] == mf.StopReason.DIVERGED
    assert (np.delete(path.stop, 1) != mf.StopReason.DIVERGED).all()
    assert np.isfinite(path.points).all()
    for frame in path.points[1:]:
        np.testing.assert_array_equal(frame[1], POINTS[1] + 0.125)
    np.testing.assert_array_equal(path.points[4, 0], POINTS[0] + 4 * 0.125)
    assert (path.step_norm[1:, 1] == 0.0).all()


def test_an_interrupted_walk_keeps_the_frames_so_far():
    def advance(walk, active):
        if walk.taken == 3:
            raise KeyboardInterrupt
        return drift(walk, active)

    path = steer(toy_policy(advance))
    assert (path.stop == mf.StopReason.INTERRUPTED).all()
    assert path.points.shape == (3, 4, 3)
    assert path.step_norm.shape == (2, 4)
    np.testing.assert_array_equal(path.points[2], POINTS + 0.25)
    assert (path.arrival <= 2).all()


def test_a_walk_that_is_interrupted_before_its_first_step_has_one_frame():
    def begin(problem):
        raise KeyboardInterrupt

    path = steer(toy_policy(drift, begin=begin))
    np.testing.assert_array_equal(path.points[0], POINTS)
    assert path.points.shape[0] == 1


def test_a_policy_cannot_move_a_point_that_has_settled():
    def advance(walk, active):
        move = drift(walk, active)
        move.settled[2] = walk.taken == 1
        return move

    path = steer(toy_policy(advance))
    for frame in path.points[1:]:
        np.testing.assert_array_equal(frame[2], POINTS[2] + 0.125)
    np.testing.assert_array_equal(path.points[4, 0], POINTS[0] + 0.5)


def test_a_policy_is_told_which_points_are_still_moving():
    told = []

    def advance(walk, active):
        told.append(active.tolist())
        move = drift(walk, active)
        move.settled[0] = True
        return move

    steer(toy_policy(advance))
    assert told == [[True] * 4] + 3 * [[False, True, True, True]]


def test_a_policy_cannot_write_to_the_points_or_to_which_are_active():
    def begin(problem):
        problem.points[0] = 0.0

    with raises_naming("begin", "ValueError: assignment destination is read-only"):
        steer(toy_policy(drift, begin=begin))

    def advance(walk, active):
        active[:] = False

    with raises_naming("advance", "ValueError: assignment destination is read-only"):
        steer(toy_policy(advance))


def test_a_source_of_the_wrong_type_is_named(tmp_path):
    source = SimpleNamespace(load=lambda rng: rng.normal(size=(9, 2)))
    factory = DatasetFactory(name="toy", params=NoParams, build=lambda p: source, summary="")
    spec = tmp_path / "spec.yaml"
    spec.write_text("data: {use: toy}\nmap: {lattice: {rows: 2, columns: 2}}\n", encoding="utf-8")
    with raises_naming("load", "expected a Dataset, got ndarray"):
        mf.run(spec, out=tmp_path / "out", registry=registry_with("musicfw_datasets", factory))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["spec.yaml"]


def test_data_that_a_source_finds_unusable_are_told_in_its_own_words(tmp_path):
    def load(rng):
        return Dataset(points=np.array([[1.0, np.nan]]))

    source = SimpleNamespace(load=load)
    factory = DatasetFactory(name="toy", params=NoParams, build=lambda p: source, summary="")
    spec = tmp_path / "spec.yaml"
    spec.write_text("data: {use: toy}\nmap: {lattice: {rows: 2, columns: 2}}\n", encoding="utf-8")
    with pytest.raises(mf.DataError, match="row 0, column 1 holds nan"):
        mf.run(spec, out=tmp_path / "out", registry=registry_with("musicfw_datasets", factory))


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyParams:
    strength: float = param(0.5, help="How strong.")


def test_a_factory_is_built_with_its_params_and_they_are_recorded():
    built = []

    def build(params):
        built.append(params)
        return SimpleNamespace(
            factorise=lambda system: SimpleNamespace(
                solve=lambda rhs: RawSolution(coordinates=np.zeros((3, rhs.shape[1])))
            )
        )

    factory = SolverFactory(name="toy", params=ToyParams, build=build, summary="")
    inverted = mf.invert(CODEBOOK, DISTANCES, solver=factory, strength=2.0)
    assert built == [ToyParams(strength=2.0)]
    assert inverted.params == {"strength": 2.0}
    assert inverted.solver == "toy"


def test_an_error_of_a_data_source_is_left_as_it_is():
    def build(params):
        raise mf.DataError("file.csv: row 3")

    factory = DatasetFactory(name="toy", params=NoParams, build=build, summary="s")
    module = SimpleNamespace(__name__="musicfw-toy", musicfw_datasets=hookimpl(lambda: [factory]))
    found = mf.Registry.from_modules(module).find("dataset", "toy")
    with pytest.raises(mf.DataError, match=r"^file.csv: row 3$"):
        found.build(None)


def test_two_entry_points_of_one_distribution_that_own_a_name_can_be_told_apart(site):
    code = """
    @hookimpl
    def musicfw_solvers():
        return [SolverFactory(name="twin", params=NoParams, build=lambda p: 0, summary="s")]
    """
    site.add("musicfw-twins", code, module="twins_a")
    site.add("musicfw-twins", code, module="twins_b")
    site.metadata("musicfw-twins", "[musicfw]\na = twins_a\nb = twins_b\n")
    registry = mf.load_registry()
    advice = (
        r"block all but one with --no-plugin or plugins.block: 'musicfw-twins:a' or "
        r"'musicfw-twins:b'"
    )
    for name in ("twin", "musicfw-twins:twin"):
        with pytest.raises(mf.UsageError, match=advice):
            registry.find("solver", name)
    first = next(r for r in registry.records if r.entry_point == "a")
    assert first.error == (
        "'solver twin' is also declared by the entry point 'b' of musicfw-twins: " + advice
    )
    assert registry.without(["musicfw-twins:b"]).find("solver", "twin").record.entry_point == "a"


@pytest.mark.parametrize(
    ("name", "blamed"), [("umap", True), ("umap-fast", True), ("u", False), ("map", False)]
)
def test_a_failed_plugin_is_blamed_for_whole_words_only(site, name, blamed):
    site.add("musicfw-umap", "raise RuntimeError('broken')")
    problem = mf.load_registry().lookup("solver", name)
    assert problem.code == ("plugin-failed" if blamed else "unknown-name")


def test_complaints_that_differ_every_time_are_capped_per_plugin_and_hook():
    known = []
    for i in range(9):
        add_complaints(known, [f"plugin a 1 failed in x: E: {i}", "plugin b 1 failed in x: E: 0"])
    assert known == [
        "plugin a 1 failed in x: E: 0",
        "plugin b 1 failed in x: E: 0",
        "plugin a 1 failed in x: E: 1",
        "plugin a 1 failed in x: E: 2",
        "plugin a 1 failed in x again and again; only the first 3 messages are kept",
    ]


def test_a_factory_given_in_place_of_a_name_keeps_to_the_same_rules():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Params:
        tolerance: float = param(1.0, help="Taken by invert itself.")

    factory = SolverFactory(name="mine", params=Params, build=lambda p: None, summary="")
    codebook = mf.Codebook(prototypes=np.eye(3))
    with pytest.raises(mf.UsageError, match=r"factory 'mine'\.params: the option 'tolerance'"):
        mf.invert(codebook, np.ones((1, 3)), solver=factory)
