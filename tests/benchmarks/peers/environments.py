"""A virtual environment for every peer, made once and kept."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class InstallError(Exception):
    """An environment could not be made; the text is what the installer said at last."""


def python_with(requirements: list[str], *, folder: Path, build: Sequence[str] = ()) -> str:
    """Return a Python that has the requirements: this one, if there are none.

    ``build`` is installed first, for distributions that need it to be built and do not say so.

    Raises
    ------
    InstallError
        If pip, or the making of the environment, fails.
    """
    if not requirements:
        return sys.executable
    python, done = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join(requirements) + "\n"
    if done.exists() and done.read_text() == wanted:
        return str(python)
    _call([sys.executable, "-m", "venv", "--clear", str(folder)])
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    if build:
        _call([*pip, *build])
        pip.append("--no-build-isolation")
    _call([*pip, *requirements])
    done.write_text(wanted)
    return str(python)


def _call(command: list[str]) -> None:
    print("  $", *command, file=sys.stderr, flush=True)
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode:
        lines = [line.strip() for line in ended.stdout.splitlines() if line.strip()]
        telling = [line for line in lines if "Error: " in line or line.startswith("ERROR: ")]
        raise InstallError((telling or lines or ["no output"])[-1])
