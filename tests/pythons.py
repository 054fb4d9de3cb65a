"""Runs the unit tests on other Pythons of this machine: `make test-pythons`.

The oldest and the newest supported Python that are found, unless `make test` itself runs on them. The client plugin's
module runs in users' images, which may be older: its tests run on the oldest Python that it supports and that is found.
What is not found is skipped, and named. Exit codes: 0 the tests passed, 3 they failed on some Python, 1 an environment
could not be made.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNIT = ["-q", "-n", "3", "--dist", "worksteal", "-m", "not mlflow and not cluster and not e2e"]
MODULE_TESTS = "tests/webhook/plugin/module"
MODULE = ["-q", "-c", f"{MODULE_TESTS}/older-pythons.ini", "--rootdir", ".", MODULE_TESTS]
MODULE_PYTHONS = ["3.8", "3.9", "3.10"]
"""Supported only by the plugin's module, the oldest first."""


def supported() -> list[str]:
    """Return the versions that pyproject.toml names, the oldest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    start = "Programming Language :: Python :: "
    versions = [line.removeprefix(start) for line in project["classifiers"] if line.startswith(start)]
    return sorted(versions, key=lambda version: int(version.partition(".")[2]))


def find(version: str) -> Path | None:
    """Return an interpreter of a version: on the PATH, or where pyenv and uv keep theirs."""
    home = Path.home()
    on_path = shutil.which(f"python{version}")
    places = [
        *([Path(on_path)] if on_path else []),
        *sorted((home / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}")),
        *sorted((home / ".local" / "share" / "uv" / "python").glob(f"cpython-{version}.*/bin/python{version}")),
    ]
    return next((place for place in places if _version(place) == version), None)


def _version(interpreter: Path) -> str:
    # a shim of pyenv's is on the PATH even if it leads to nothing
    command = [str(interpreter), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def choose(found: list[str], own: str) -> Iterator[tuple[str, str]]:
    """Return each supported version with what happens to it: `tested` here, or why not."""
    for version in supported():
        if version not in found:
            yield version, "was not found on this machine: not tested"
        elif version == own:
            yield version, "is what make test itself runs on"
        elif version in {found[0], found[-1]}:
            yield version, "tested"
        else:
            yield version, "lies between the oldest and the newest found: not tested"


def environment(version: str, interpreter: Path, requirements: str, *, package: bool) -> Path:
    """Return the interpreter of an environment, made when it is not there or the requirements are newer."""
    folder = ROOT / f".venv-{version}"
    stamp, wanted = folder / ".installed", ROOT / "requirements" / requirements
    python = folder / "bin" / "python"
    if not stamp.exists() or stamp.stat().st_mtime < wanted.stat().st_mtime:
        pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([interpreter, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([*pip, "--require-hashes", "-r", wanted], check=True)
        if package:
            subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", ROOT], check=True)
        stamp.touch()
    return python


def main() -> int:
    """Run the tests, and return the exit code."""
    own = "{}.{}".format(*sys.version_info)
    interpreters = {version: found for version in supported() if (found := find(version))}
    failed = []
    for version, fate in choose(list(interpreters), own):
        if fate != "tested":
            _say(f"Python {version} {fate}")
        elif not _passes(environment(version, interpreters[version], "dev.txt", package=True), UNIT, version):
            failed.append(version)
    oldest = next(((version, found) for version in MODULE_PYTHONS if (found := find(version))), None)
    if oldest is None:
        _say(f"None of Python {', '.join(MODULE_PYTHONS)} was found: the plugin's module is not tested on them")
    elif not _passes(environment(*oldest, "plugin.txt", package=False), MODULE, oldest[0]):
        failed.append(oldest[0])
    if failed:
        _say(f"Tests failed on Python {', '.join(failed)}")
    return 3 if failed else 0


def _passes(python: Path, arguments: list[str], version: str) -> bool:
    _say(f"Python {version}: {'unit tests' if arguments is UNIT else 'tests of the client plugin’s module'}")
    return subprocess.run([python, "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode == 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"An environment could not be made: {error}")
