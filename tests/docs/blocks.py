"""Runs the code blocks of a page in order, in a folder of their own, as a reader would.

- ``python``: executed; all blocks of a page share their names.
- ``text`` after ``python``: what it printed.
- ``console``: lines ``$ command`` and, below each, what it prints (nothing: not compared).
- any block with a ``:caption:`` and any ``literalinclude`` with one: a file of that name.
- ``yaml`` without a caption: a spec, or some sections of one.
- ``sh``: commands that install or download something; not run.

``…`` stands for any text. A page whose blocks need more than musicfw names it at its top, under
``requires:``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import yaml

import musicfw as mf
from musicfw import cli
from musicfw.spec import parse_spec

FENCE = re.compile(
    r"^(?P<fence>`{3,})(?:\{(?P<directive>[\w-]+)\} ?)?(?P<argument>[^\n`]*)\n"
    r"(?P<body>.*?)^(?P=fence)[ ]*$",
    flags=re.MULTILINE | re.DOTALL,
)
OPTION = re.compile(r"^:([\w-]+):[ ]*(.*)\n", flags=re.MULTILINE)
REST_OF_SPEC = {"data": {"use": "digits"}, "map": {"lattice": {"rows": 6, "columns": 6}}}


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int
    caption: str | None = None
    included: Path | None = None


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        directive, argument, body = match["directive"], match["argument"].strip(), match["body"]
        if directive not in (None, "code-block", "literalinclude"):
            continue
        options = {}
        while directive and (option := OPTION.match(body)):
            options[option[1]] = option[2].strip()
            body = body[option.end() :]
        line = text.count("\n", 0, match.start()) + 1
        caption = options.get("caption")
        if directive == "literalinclude":
            found.append(Block("file", "", line, caption, (page.parent / argument).resolve()))
        else:
            found.append(Block(argument, body.lstrip("\n"), line, caption))
    return found


def requirements_of(page: Path) -> list[str]:
    top = re.match(r"---\n(.*?)^---$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [] if top is None else list(yaml.safe_load(top[1]).get("requires", []))


def matches(expected: str, got: str) -> bool:
    """Whether the texts are the same, … standing for anything and blank ends for nothing."""

    def tidy(text: str) -> str:
        return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())

    pattern = re.escape(tidy(expected)).replace("…", ".*?")
    return re.fullmatch(pattern, tidy(got), flags=re.DOTALL) is not None


@dataclass
class Reader:
    """Someone who types a page's blocks, in the working directory."""

    page: Path
    monkeypatch: object
    names: dict = field(default_factory=lambda: {"__name__": "__main__"})
    printed: str = ""

    def follow(self) -> None:
        # Pages look the same whatever else is installed where the tests run.
        plugins = [name for name in requirements_of(self.page) if name.startswith("musicfw_")]
        self.monkeypatch.setenv("MUSICFW_PLUGINS", ",".join(["musicfw", *plugins]))
        for block in blocks_of(self.page):
            where = f"{self.page.name}:{block.line}"
            if block.caption is not None:
                target = Path(block.caption)
                target.parent.mkdir(parents=True, exist_ok=True)
                content = block.included.read_text("utf-8") if block.included else block.text
                target.write_text(content, encoding="utf-8")
            elif block.language == "python":
                with self._printing():
                    exec(compile(block.text, where, "exec"), self.names)
            elif block.language == "text" and self.printed:
                self._expect(where, block.text, self.printed)
            elif block.language == "console":
                self._console(where, block.text)
            elif block.language == "yaml":
                spec = REST_OF_SPEC | yaml.safe_load(block.text)
                parse_spec(yaml.safe_dump(spec), source=where, registry=mf.Registry.from_modules())
            elif block.language == "sh":
                assert re.match(r"(pip|git|apt-get|python3? -m venv|pre-commit) ", block.text), (
                    where
                )
            if block.language != "python":
                self.printed = ""

    @contextlib.contextmanager
    def _printing(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            yield out
        self.printed = out.getvalue()

    def _expect(self, where: str, expected: str, got: str) -> None:
        assert matches(expected, got), f"{where} shows\n{expected}\nbut what is printed is\n{got}"

    def _console(self, where: str, text: str) -> None:
        assert text.startswith("$ "), f"{where}: expected a line '$ command' first"
        for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, rest = re.sub(r"\\\n[ >]*", "", step).partition("\n")
            got = self._command(where, shlex.split(command, comments=True))
            if rest.strip():
                self._expect(f"{where}: {command}", rest, got)

    def _command(self, where: str, words: list[str]) -> str:
        name, *arguments = words
        if name == "musicfw":
            return _musicfw(arguments)
        if name in ("python", "pytest"):
            start = [sys.executable, *(["-m", "pytest"] if name == "pytest" else [])]
            done = subprocess.run([*start, *arguments], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{where}: {done.stdout}{done.stderr}"
            return done.stdout
        if name == "mkdir":
            Path(arguments[-1]).mkdir(parents=True)
        elif name == "cd":
            self.monkeypatch.chdir(arguments[0])
        elif name == "ls":
            here = Path(arguments[0] if arguments else ".")
            return "  ".join(sorted(path.name for path in here.iterdir()))
        elif words == ["pip", "install", "-e", "."]:
            self._install()
        else:
            raise AssertionError(f"{where}: the tests do not know how to run {name!r}")
        return ""

    def _install(self) -> None:
        """Do what pip does for an editable install: make the project here importable and known."""
        project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
        name, version = project["name"], project["version"]
        info = Path(f"site/{name.replace('-', '_')}-{version}.dist-info")
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        points = project["entry-points"]["musicfw"].items()
        lines = "".join(f"{key} = {module}\n" for key, module in points)
        (info / "entry_points.txt").write_text(f"[musicfw]\n{lines}")
        for folder in ("site", "src", "."):
            self.monkeypatch.syspath_prepend(str(Path(folder).resolve()))
        for module in (str(module) for _, module in points):
            self.monkeypatch.delitem(sys.modules, module.split(".")[0], raising=False)
            self.monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()
        self.monkeypatch.setenv("MUSICFW_PLUGINS", f"musicfw,{name}")


def _musicfw(arguments: list[str]) -> str:
    """Return what ``musicfw …`` prints, and below it its exit code if that is not 0."""
    out, code = io.StringIO(), 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
        mock.patch.object(sys, "argv", ["musicfw", *arguments]),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
    return out.getvalue() + (f"[exit {code}]\n" if code else "")
