"""Changes the code in small ways and runs the tests, which should fail each time: `make mutants`.

A change that no test notices is printed, unless equivalent.yaml lists it with a reason. Exit codes: 0 every mutant is
killed or listed, 3 one is not, or the list is out of date, 1 mutmut itself failed.

mutmut changes functions and methods, but no properties, and nothing at the level of modules and classes.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".mutants"
LISTED = Path(__file__).with_name("equivalent.yaml")
MUTMUT = Path(sys.executable).with_name("mutmut")
FIRST = "*__mutmut_1"
KILLED = {"killed", "timeout", "segfault", "suspicious", "caught by type check"}
"""mutmut's words for a mutant that was noticed. `suspicious`: the tests ended in another way than by failing."""


class Area(NamedTuple):
    """Modules, and the tests at the lowest place where their behaviour can be seen."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


AREAS = {
    "core": Area(
        ("webhook/core/*.py",),
        ("tests/webhook/core/test_*.py", "tests/test_golden.py", "tests/webhook/cluster/test_live_reads.py"),
    ),
    "plugin": Area(
        ("webhook/plugin/mlflow_webhook_plugin.py",),
        ("tests/webhook/plugin/test_module.py",),
    ),
    "certs": Area(("certs/*.py",), ("tests/certs/test_*.py",)),
    "namespaces": Area(
        ("webhook/cluster/namespaces.py", "webhook/cluster/live_reads.py"),
        ("tests/webhook/cluster/test_namespaces.py", "tests/webhook/cluster/test_live_reads.py"),
    ),
    "claims": Area(("webhook/token/claims.py",), ("tests/webhook/token/test_claims.py",)),
}
_TOO_MANY = {"tests/webhook/core/test_properties.py", "tests/webhook/core/test_other_servers.py"}
"""Tests that need seconds for each mutant, and find what the others find: every survivor waits for them."""
_SETTINGS = """
[tool.mutmut]
source_paths = ["webhook", "certs"]
only_mutate = {modules}
also_copy = ["README.md"]
timeout_multiplier = 5.0
pytest_add_cli_args = ["--hypothesis-profile=mutants", "-p", "tests.mutants.fresh", "-p", "no:xdist"]
pytest_add_cli_args_test_selection = {tests}
"""


class Change(NamedTuple):
    """A mutant, by what it changes: the number that mutmut gives it is another one after the next edit."""

    function: str
    lines: str


class Result(NamedTuple):
    """What became of an area's mutants, by mutmut's names for them and for their ends."""

    mutants: dict[str, str]
    survivors: dict[str, Change]


def run(name: str, area: Area, *, sample: int | None, seed: int) -> Result:
    """Run an area's mutants: all, or the first of each function and `sample` others. Raises click.ClickException."""
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for part in ("webhook", "certs", "tests", "README.md"):
        (folder / part).symlink_to(ROOT / part)
    settings = _SETTINGS.format(modules=list(area.modules), tests=_files(area))
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + settings)
    _mutmut(folder, "run", *([] if sample is None else [FIRST]))
    if sample is not None:
        left = sorted(mutant for mutant, end in _ends(folder) if end == "not checked")
        chosen = random.Random(seed).sample(left, min(sample, len(left)))
        if chosen:
            _mutmut(folder, "run", *chosen)
    mutants = {mutant: end for mutant, end in _ends(folder) if end != "not checked"}
    survivors = {mutant: _change(folder, mutant) for mutant, end in mutants.items() if end not in KILLED}
    return Result(mutants, survivors)


def _files(area: Area) -> list[str]:
    found = [path.relative_to(ROOT).as_posix() for pattern in area.tests for path in sorted(ROOT.glob(pattern))]
    return [path for path in found if path not in _TOO_MANY]


def _mutmut(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [MUTMUT, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise click.ClickException(
            f"mutmut {arguments[0]} failed in {folder}:\n{result.stdout[-3000:]}{result.stderr[-3000:]}"
        )
    return result.stdout


def _ends(folder: Path) -> Iterator[tuple[str, str]]:
    for line in _mutmut(folder, "results", "--all", "True").splitlines():
        mutant, colon, end = line.strip().partition(": ")
        if colon:
            yield mutant, end


def _change(folder: Path, mutant: str) -> Change:
    diff = _mutmut(folder, "show", mutant).splitlines()
    lines = [line for line in diff if line.startswith(("-", "+")) and not line.startswith(("---", "+++"))]
    module, _, mangled = mutant.rpartition(".")
    function = re.sub(r"^x_|__mutmut_\d+$", "", mangled).replace("xǁ", "").replace("ǁ", ".")
    return Change(f"{module}.{function}", "\n".join(line[0] + " " + line[1:].strip() for line in lines))


def listed() -> dict[Change, str]:
    """Return the mutants that change nothing that anybody can see, each with the reason.

    An entry without `change` is for every mutant of the function.
    """
    entries = yaml.safe_load(LISTED.read_text()) or []
    return {Change(entry["in"], entry.get("change", "").strip()): entry["why"] for entry in entries}


@click.command()
@click.option("--all", "everything", is_flag=True, help="Try every mutant, not a sample.")
@click.option("--sample", default=40, show_default=True, help="Mutants of each area beside the first of each function.")
@click.option("--seed", default=1, show_default=True, help="Which sample.")
@click.argument("areas", nargs=-1, type=click.Choice(list(AREAS)))
def main(areas: tuple[str, ...], everything: bool, sample: int, seed: int) -> None:
    """Try mutants of AREAS, or of all, and print those that no test notices."""
    known = listed()
    survived: dict[str, Change] = {}
    out_of_date: list[Change] = []
    totals: Counter[str] = Counter()
    for name in areas or AREAS:
        started = time.monotonic()
        result = run(name, AREAS[name], sample=None if everything else sample, seed=seed)
        new = {mutant: change for mutant, change in result.survivors.items() if not _entries(change) & known.keys()}
        survived.update(new)
        counts = Counter(
            tried=len(result.mutants),
            killed=len(result.mutants) - len(result.survivors),
            listed=len(result.survivors) - len(new),
            survived=len(new),
        )
        totals += counts
        if everything:
            gone = known.keys() - {entry for change in result.survivors.values() for entry in _entries(change)}
            out_of_date += [change for change in gone if change.function.startswith(_prefixes(AREAS[name]))]
        click.echo(f"{_line(name, counts)}, {time.monotonic() - started:.0f} s")
    for mutant, change in sorted(survived.items(), key=lambda item: item[1]):
        click.echo(f"\nno test notices {mutant}:\n{_shown(change)}")
    for change in sorted(out_of_date):
        click.echo(f"\nlisted in {LISTED.name}, but a test notices it, or it does not exist:\n{_shown(change)}")
    click.echo("\n" + _line("together", totals))
    sys.exit(3 if survived or out_of_date else 0)


def _entries(change: Change) -> set[Change]:
    """Return the entries that list a mutant: by what it changes, or by its function."""
    return {change, change._replace(lines="")}


def _prefixes(area: Area) -> tuple[str, ...]:
    return tuple(module.removesuffix("*.py").removesuffix(".py").replace("/", ".") for module in area.modules)


def _shown(change: Change) -> str:
    return f"- in: {change.function}\n  change: |-\n" + textwrap.indent(change.lines, "    ") + "\n  why:"


def _line(name: str, counts: Counter[str]) -> str:
    share = 100 * counts["killed"] / max(1, counts["tried"])
    return (
        f"{name}: {counts['tried']} mutants, {counts['killed']} killed ({share:.1f} %), "
        f"{counts['listed']} listed as equivalent, {counts['survived']} survived"
    )


if __name__ == "__main__":
    main()
