"""The command line. Mistakes are told in one message without a traceback; bugs keep theirs."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from musicfw import __version__
from musicfw.api import Factory, PolicyFactory, SolverFactory
from musicfw.errors import MusicfwError, UsageError
from musicfw.plugins import load_registry

if TYPE_CHECKING:
    from musicfw.run_result import RunResult

_OUT = Console(highlight=False)
_ERR = Console(stderr=True, highlight=False)
_BUG = 70
_INTERRUPTED = 130
# A bar appears only for what takes longer than this.
_PATIENCE_S = 1.0
_PATH = click.Path(path_type=Path)
_NO_PLUGIN = click.option(
    "--no-plugin",
    "no_plugin",
    multiple=True,
    metavar="NAME",
    help="Do not load this plugin (distribution or entry point); may be repeated.",
)
_SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Override a setting, for instance map.with.epochs=5; may be repeated.",
)
_SPEC = click.argument("spec", type=_PATH)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="musicfw")
def cli() -> None:
    """Self-organizing maps that can be inverted exactly and steered.

    Exit codes: 0 ok; 1 finished, but something is unusable (with --strict); 2 the spec, the data or
    the call is wrong; 3 a plugin failed; 70 a bug in musicfw.
    """


@cli.command()
@_SPEC
@click.option("--out", type=_PATH, help="Run directory (default: runs/NAME).")
@_SET
@click.option("--resume", is_flag=True, help="Continue the unfinished run in OUT.")
@click.option("--strict", is_flag=True, help="Exit with 1 if any result is unusable.")
@click.option("--json", "as_json", is_flag=True, help="Print result.json instead of a summary.")
@_NO_PLUGIN
def run(
    spec: Path,
    out: Path | None,
    overrides: tuple[str, ...],
    resume: bool,
    strict: bool,
    as_json: bool,
    no_plugin: tuple[str, ...],
) -> None:
    """Run SPEC: train, invert, steer, and write a run directory with report.html.

    A relative path of a data file in SPEC starts at the folder that holds SPEC; if there is no such
    file, at the working directory. A path given with --set starts at the working directory.
    """
    from musicfw.run import run as run_spec

    with _bar() as progress:
        result = run_spec(
            spec,
            out=out,
            overrides=overrides,
            resume=resume,
            registry=load_registry(block=no_plugin),
            progress=progress,
        )
    if as_json:
        click.echo((result.directory / "result.json").read_text(encoding="utf-8"), nl=False)
    else:
        _summarise(result)
    unusable = _unusable(result)
    if strict and unusable:
        _ERR.print(f"strict: {'; '.join(unusable)}", soft_wrap=True, markup=False)
        sys.exit(1)


@cli.command()
@_SPEC
@_SET
@_NO_PLUGIN
def check(spec: Path, overrides: tuple[str, ...], no_plugin: tuple[str, ...]) -> None:
    """Report every problem of SPEC with its position; nothing is computed."""
    from musicfw.spec import load_spec

    load_spec(spec, registry=load_registry(block=no_plugin), overrides=overrides)
    click.echo(f"{spec}: no problems")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of records.")
@click.option(
    "--check",
    metavar="NAME",
    help="Run the conformance kit on what NAME means: something provided, or a whole plugin.",
)
@_NO_PLUGIN
def plugins(as_json: bool, check: str | None, no_plugin: tuple[str, ...]) -> None:
    """List every plugin, what it provides, and why it is not usable if it is not.

    With --check, tell instead which laws it keeps; the exit code is 3 if it breaks one.
    """
    registry = load_registry(block=no_plugin)
    if check is not None:
        try:
            from musicfw.testing.command import tell_checked
        except ModuleNotFoundError as err:
            hint = "which is not installed; pip install 'musicfw[testing]'"
            raise UsageError(f"--check: needs {err.name}, {hint}") from err
        sys.exit(tell_checked(registry, check, console=_OUT, as_json=as_json))
    records = registry.records
    if as_json:
        keys = ("distribution", "version", "entry_point", "module", "state", "provides", "error")
        rows = [{key: getattr(record, key) for key in keys} for record in records]
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("plugin", "version", "state", "provides", box=None, pad_edge=False)
    for record in records:
        name = f"{record.distribution}:{record.entry_point}"
        provides = ", ".join(record.provides)
        table.add_row(name, record.version, record.state, provides)
    _OUT.print(table)
    for record in records:
        if record.error is not None:
            name = f"{record.distribution}:{record.entry_point}"
            click.echo(f"\n{name} is {record.state}: {record.error}")


@cli.command()
@_NO_PLUGIN
def schema(no_plugin: tuple[str, ...]) -> None:
    """Print the JSON Schema of a spec for what is installed (for completion in editors)."""
    from musicfw.schema import spec_schema

    click.echo(json.dumps(spec_schema(load_registry(block=no_plugin)), indent=2))


@cli.command()
@click.argument("path", metavar="RUN_DIR|MAP.npz", type=_PATH)
def show(path: Path) -> None:
    """Describe a run directory or a map file."""
    from musicfw.invert import well_posedness
    from musicfw.run_directory import load_run
    from musicfw.store import load_map

    if (path / "result.json").exists():
        _summarise(load_run(path))
        return
    trained = load_map(path)
    lattice = trained.codebook.lattice
    shape = "no lattice"
    if lattice is not None:
        joined = "" if lattice.borders == "planar" else f", {lattice.borders}"
        shape = f"{lattice.rows} × {lattice.columns} {lattice.topology}{joined}"
    click.echo(f"map        {shape}; backend {trained.backend or 'unknown'}, seed {trained.seed}")
    click.echo(f"inversion  {well_posedness(trained).message}")
    if trained.codebook.labels is not None:
        labels = sorted(set(trained.codebook.labels.tolist()) - {""})
        click.echo(f"labels     {', '.join(labels)}")


@cli.command()
@click.argument("map_path", metavar="RUN_DIR|MAP.npz", type=_PATH)
@click.argument("activations", metavar="ACTIVATIONS.npy", type=_PATH)
@click.option("--solver", default="exact", show_default=True, help="Name of a solver.")
@click.option("--with", "params", multiple=True, metavar="NAME=VALUE", help="Option of the solver.")
@click.option("--tolerance", default=1e-6, show_default=True, help="Residual that counts as none.")
@click.option("--out", required=True, type=_PATH, help="Points, as .npy (N, D).")
@_NO_PLUGIN
def invert(
    map_path: Path,
    activations: Path,
    solver: str,
    params: tuple[str, ...],
    tolerance: float,
    out: Path,
    no_plugin: tuple[str, ...],
) -> None:
    """Recover points from squared distances (N, M) to the prototypes of a map."""
    from musicfw.invert import invert as invert_distances
    from musicfw.store import load_array, load_map, save_array

    inversion = invert_distances(
        load_map(map_path),
        load_array(activations),
        solver=solver,
        registry=load_registry(block=no_plugin),
        tolerance=tolerance,
        **_keywords(params, SolverFactory),
    )
    save_array(out, inversion.points)
    counts = ", ".join(f"{n} {status.name}" for status, n in inversion.counts().items())
    click.echo(f"{inversion.status.size} points ({counts}) -> {out}")
    for status in inversion.counts():
        if status.name != "EXACT":
            click.echo(f"{status.name}: {status.advice}")


@cli.command()
@click.argument("map_path", metavar="RUN_DIR|MAP.npz", type=_PATH)
@click.argument("points", metavar="POINTS.npy", type=_PATH)
@click.option(
    "--target",
    required=True,
    metavar="KIND:VALUE",
    help="units:3,4  cell:2,5  label:3  cluster:0; with a leading 'away:' to move away.",
)
@click.option("--policy", default="music", show_default=True, help="Name of a policy.")
@click.option("--with", "params", multiple=True, metavar="NAME=VALUE", help="Option of the policy.")
@click.option("--steps", default=100, show_default=True, help="Number of steps.")
@click.option(
    "--until",
    default="settled",
    show_default=True,
    type=click.Choice(["settled", "arrived"]),
    help="When a point stops.",
)
@click.option("--out", required=True, type=_PATH, help="Trajectory, as .npz.")
@_NO_PLUGIN
def steer(
    map_path: Path,
    points: Path,
    target: str,
    policy: str,
    params: tuple[str, ...],
    steps: int,
    until: Any,
    out: Path,
    no_plugin: tuple[str, ...],
) -> None:
    """Move points (N, D) through a map towards a target."""
    from musicfw.control.targets import parse_target
    from musicfw.steer import steer as steer_points
    from musicfw.store import load_array, load_map, save_trajectory

    with _bar() as progress:
        path = steer_points(
            load_map(map_path),
            load_array(points),
            target=parse_target(target),
            policy=policy,
            steps=steps,
            until=until,
            registry=load_registry(block=no_plugin),
            progress=lambda done, total: progress("steer", done, total),
            **_keywords(params, PolicyFactory),
        )
    save_trajectory(out, path)
    counts = ", ".join(f"{n} {reason.name}" for reason, n in path.counts().items())
    click.echo(f"{path.stop.size} points ({counts}) -> {out}")
    for reason in path.counts():
        if reason.name != "REACHED":
            click.echo(f"{reason.name}: {reason.advice}")


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        cli(prog_name="musicfw", standalone_mode=False)
    except click.ClickException as err:
        err.show()
        sys.exit(2)
    except click.exceptions.Exit as err:
        sys.exit(err.exit_code)
    except (click.Abort, KeyboardInterrupt) as err:
        # click puts an Abort in the place of a KeyboardInterrupt; its notes say where it came.
        notes = getattr(err.__cause__ or err, "__notes__", ())
        click.echo(" ".join(["interrupted.", *notes]), err=True)
        sys.exit(_INTERRUPTED)
    except MusicfwError as err:
        message = " ".join([str(err), *getattr(err, "__notes__", ())])
        click.echo(message if message.count("error[") else f"error: {message}", err=True)
        sys.exit(err.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception:
        traceback.print_exc()
        click.echo("this is a bug in musicfw; please report it with the lines above", err=True)
        sys.exit(_BUG)


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """Give a callback that shows a bar per stage; nothing where the output is no terminal."""
    if not _ERR.is_terminal:
        yield lambda stage, done, total: None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        console=_ERR,
        transient=True,
    )
    tasks: dict[str, TaskID] = {}
    clock = bar.get_time()

    def update(stage: str, done: int, total: int) -> None:
        if bar.get_time() - clock > _PATIENCE_S and not bar.live.is_started:
            bar.start()
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total)
        bar.update(tasks[stage], completed=done, total=total)

    try:
        yield update
    finally:
        if bar.live.is_started:
            bar.stop()


def _keywords(settings: tuple[str, ...], kind: type[Factory[Any]]) -> dict[str, Any]:
    """Return ``NAME=VALUE`` settings with their values read as YAML."""
    from musicfw.yamlpos import load

    keywords = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--with: expected NAME=VALUE, got {setting!r}")
        if name in kind.reserved_params:
            raise UsageError(f"--with: expected an option of the {kind.kind}, got {name!r}")
        document, problems = load(f"value: {text}", source="<--with>")
        if document is None or problems:
            raise UsageError(f"--with: expected a YAML value after {name}=, got {text!r}")
        keywords[name] = document.tree["value"]
    return keywords


def _summarise(result: RunResult) -> None:
    """Print what a reader wants to know first."""
    metrics = result.metrics
    about = metrics["map"]
    click.echo(
        f"map      {about['units']} units on {about['training_points']} points of "
        f"{about['dimension']} features; quantization error "
        f"{about['held_out_quantization_error']:.4g} on {about['held_out_points']} held-out points"
    )
    for name, found in metrics["invert"].items():
        worst = found["max_relative_error"]
        error = "no usable point" if worst is None else f"relative error at most {worst:.2e}"
        click.echo(
            f"invert   {name}: {found['points']} points, {error} ({_counts(found['statuses'])})"
        )
    for name, found in metrics["control"].items():
        click.echo(f"control  {name}: {found['points']} points ({_counts(found['stops'])})")
    for name, found in metrics.get("evaluate", {}).items():
        half = found.get("target_probability at 50%", {}).get("mean")
        likely = "" if half is None else f", probability of the target half way {half:.2f}"
        arrived = found["arrived"]["mean"]
        straight = found["path_over_chord"]["mean"]
        click.echo(f"compare  {name}: {arrived:.1%} arrived, path/chord {straight:.2f}{likely}")
    for warning in result.warnings:
        click.echo(f"warning  {warning}")
    click.echo(f"report   {result.directory / 'report.html'}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {name.lower().replace('_', ' ')}" for name, n in counts.items())


def _unusable(result: RunResult) -> list[str]:
    """Return a sentence for everything that --strict does not let pass."""
    complaints = []
    for name, found in result.metrics["invert"].items():
        bad = {s: n for s, n in found["statuses"].items() if s not in ("EXACT", "REGULARISED")}
        if bad:
            complaints.append(f"inversion {name!r} has points that are {_counts(bad)}")
    for name, found in result.metrics["control"].items():
        bad = {s: n for s, n in found["stops"].items() if s != "REACHED"}
        if bad:
            complaints.append(f"walk {name!r} has points that are {_counts(bad)}")
    return complaints + list(result.warnings)
