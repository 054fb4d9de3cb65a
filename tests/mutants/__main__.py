"""Changes the code in small ways and runs the tests, which should fail each time: `make mutants`.

A change that no test notices is printed, unless equivalent.yaml lists it with a reason. Exit codes: 0 every mutant is
killed or listed, 3 one is not (or was not tried in time), or the list is out of date, 1 mutmut itself failed.

mutmut changes functions and methods, but no properties, and nothing at the level of modules and classes.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import click
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".mutants"
LISTED = Path(__file__).with_name("equivalent.yaml")
MUTMUT = Path(sys.executable).with_name("mutmut")
FIRST = "*__mutmut_1"
NOT_TRIED, UNREACHED = "not checked", "no tests"
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
        ("tests/webhook/plugin/module/test_*.py",),
    ),
    "certs": Area(("certs/*.py",), ("tests/certs/test_*.py",)),
    "namespaces": Area(
        ("webhook/cluster/namespaces.py", "webhook/cluster/live_reads.py", "webhook/cluster/informer.py"),
        (
            "tests/webhook/cluster/test_namespaces.py",
            "tests/webhook/cluster/test_live_reads.py",
            "tests/webhook/cluster/test_informer.py",
        ),
    ),
    "storage": Area(
        ("webhook/cluster/storage.py", "webhook/cluster/named.py"),
        ("tests/webhook/cluster/test_storage.py", "tests/webhook/cluster/test_named.py"),
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
    """The results of an area's mutants, by mutmut's names for mutants and results."""

    mutants: dict[str, str]
    survivors: dict[str, Change]
    late: dict[str, Change]
    """Those that were ended by the time limit, which on a busy machine also ends mutants that change nothing."""
    untried: int
    """How many of those that should have been tried were not."""


class Choice(NamedTuple):
    """Which mutants of an area to try."""

    everything: bool
    """All of them, not only the first of each function and a sample of the others."""
    sample: int
    seed: int
    only: str
    """A pattern for mutmut's names, such as `certs.keeper.*`."""
    resume: bool
    """Keep what the last run found, and try what survived it or was not tried."""
    minutes: float | None
    """The time limit for an area, without the time to start; all that is left then is not tried."""


def run(name: str, area: Area, choice: Choice) -> Result:
    """Run an area's mutants. Raises click.ClickException."""
    folder = FOLDER / name
    if not choice.resume:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("webhook", "certs", "tests", "README.md"):
        if not (folder / part).is_symlink():
            (folder / part).symlink_to(ROOT / part)
    settings = _SETTINGS.format(modules=list(area.modules), tests=_files(area))
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + settings)
    if choice.resume:
        (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)  # which tests reach what: they have changed
        _try(folder, [mutant for mutant, end in _chosen(folder, choice) if end not in KILLED], choice)
    elif choice.everything:
        _try(folder, [choice.only], choice)
    else:
        _try(folder, [FIRST], choice)
        left = sorted(mutant for mutant, end in _chosen(folder, choice) if end == NOT_TRIED)
        _try(folder, random.Random(choice.seed).sample(left, min(choice.sample, len(left))), choice)
    ends = dict(_chosen(folder, choice))
    mutants = {mutant: end for mutant, end in ends.items() if end != NOT_TRIED}
    survivors = {mutant: _change(folder, mutant) for mutant, end in mutants.items() if end not in KILLED}
    late = {mutant: _change(folder, mutant) for mutant, end in mutants.items() if end == "timeout"}
    return Result(mutants, survivors, late, len(ends) - len(mutants) if choice.everything else 0)


def _try(folder: Path, mutants: list[str], choice: Choice) -> None:
    if mutants:
        _mutmut(folder, "run", *mutants, minutes=choice.minutes)


def _chosen(folder: Path, choice: Choice) -> Iterator[tuple[str, str]]:
    return ((mutant, end) for mutant, end in _ends(folder) if fnmatchcase(mutant, choice.only))


def _files(area: Area) -> list[str]:
    found = [path.relative_to(ROOT).as_posix() for pattern in area.tests for path in sorted(ROOT.glob(pattern))]
    return [path for path in found if path not in _TOO_MANY]


def _mutmut(folder: Path, *arguments: str, minutes: float | None = None) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        [MUTMUT, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=None if minutes is None else minutes * 60)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it ends its workers, and has noted what is known so far
            output, errors = process.communicate()
    if process.returncode:
        raise click.ClickException(f"mutmut {arguments[0]} failed in {folder}:\n{output[-3000:]}{errors[-3000:]}")
    return output


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
@click.option(
    "--sample", default=40, show_default=True, help="Mutants of each area, in addition to the first of each function."
)
@click.option("--seed", default=1, show_default=True, help="Which sample.")
@click.option(
    "--only", default="*", metavar="PATTERN", help='With --all: only these mutants, such as "certs.keeper.*".'
)
@click.option("--resume", is_flag=True, help="Like --all, without the mutants that the last run has killed.")
@click.option("--minutes", type=float, help="Try mutants for so long in each area. Go on with --resume.")
@click.argument("areas", nargs=-1, type=click.Choice(list(AREAS)))
def main(
    areas: tuple[str, ...],
    everything: bool,
    sample: int,
    seed: int,
    only: str,
    resume: bool,
    minutes: float | None,
) -> None:
    """Try mutants of AREAS, or of all, and print those that no test notices."""
    everything = everything or resume
    choice = Choice(everything, sample, seed, only, resume, minutes)
    known = listed()
    survived: dict[str, Change] = {}
    unreached: Counter[str] = Counter()
    out_of_date: list[Change] = []
    totals: Counter[str] = Counter()
    for name in areas or AREAS:
        started = time.monotonic()
        result = run(name, AREAS[name], choice)
        is_listed = {
            mutant for mutant, change in (result.survivors | result.late).items() if _entries(change) & known.keys()
        }
        new = {mutant: change for mutant, change in result.survivors.items() if mutant not in is_listed}
        survived.update({mutant: change for mutant, change in new.items() if result.mutants[mutant] != UNREACHED})
        unreached.update(change.function for mutant, change in new.items() if result.mutants[mutant] == UNREACHED)
        counts = Counter(
            tried=len(result.mutants),
            killed=len(result.mutants) - len(is_listed) - len(new),
            listed=len(is_listed),
            survived=sum(result.mutants[mutant] != UNREACHED for mutant in new),
            late=len(result.late.keys() - is_listed),
            unreached=sum(result.mutants[mutant] == UNREACHED for mutant in new),
            untried=result.untried,
        )
        totals += counts
        if everything and only == "*" and not result.untried:
            found = [*result.survivors.values(), *result.late.values()]
            gone = known.keys() - {entry for change in found for entry in _entries(change)}
            out_of_date += [change for change in gone if change.function.startswith(_prefixes(AREAS[name]))]
        click.echo(f"{_line(name, counts)}, {time.monotonic() - started:.0f} s")
    for mutant, change in sorted(survived.items(), key=lambda item: item[1]):
        click.echo(f"\nno test notices {mutant}:\n{_shown(change)}")
    if unreached:
        click.echo("\nno test of the area calls these functions, so none of their mutants was tried:")
    for function, mutants in sorted(unreached.items()):
        click.echo(f"- {function}: {mutants}")
    for change in sorted(out_of_date):
        click.echo(f"\nlisted in {LISTED.name}, but a test notices it, or it does not exist:\n{_shown(change)}")
    click.echo("\n" + _line("together", totals))
    sys.exit(3 if survived or unreached or out_of_date or totals["untried"] else 0)


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
        f"{name}: {counts['tried']} mutants, {counts['killed']} killed ({share:.1f} %, {counts['late']} by the time "
        f"limit), {counts['listed']} listed as equivalent, {counts['survived']} survived, "
        f"{counts['unreached']} reached by no test"
        + (f"; {counts['untried']} were not tried" if counts["untried"] else "")
    )


if __name__ == "__main__":
    main()
