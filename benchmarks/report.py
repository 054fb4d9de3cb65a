"""Write the tables of docs/performance.md and draw its plot: ``python -m benchmarks.report [JSON_FILE]``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

PAGE, PLOT = Path("docs/performance.md"), Path("docs/performance.svg")
KINDS = ("floor", "webhook", "plain")
CREATIONS = {"creation_of_a_trainjob_node": "TrainJob node", "creation_of_a_kfp_component": "KFP pod"}
WIDTH, LEFT, BAR, GAP = 720, 150, 20, 8
OURS, OTHERS = "#2b6cb0", "#a0aec0"


def _spread(spread: list[float], form: str, unit: str = "") -> str:
    """Format a median with its unit, and the range of the rounds."""
    least, median, most = (format(value, form) for value in spread)
    return f"{median}{unit} ({least} to {most})"


class Target(NamedTuple):
    """A line of the first table. `met` compares the medians."""

    what: str
    target: str
    measured: str
    met: bool


def main() -> None:
    """Write the tables and the plot."""
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/results.json")
    results = json.loads(file.read_text())
    if missing := {"decision", "server", "stages", "cluster", "soak"} - results.keys():
        sys.exit(f"{file} lacks {', '.join(sorted(missing))}: run `make bench` once without BENCH")
    page = PAGE.read_text()
    tables = {
        "targets": _target_table,
        "server": _server_table,
        "creation": _creation_table,
        "growth": _growth_table,
        "stages": _stage_table,
        "decision": _decision_table,
        "client plugin": _plugin_table,
    }
    for name, table in tables.items():
        page = replace_part(page, name, "\n".join(table(results)))
    PAGE.write_text(page)
    PLOT.write_text("\n".join(_plot(results)) + "\n")


def replace_part(page: str, name: str, text: str) -> str:
    """Replace the text between the page's two markers with that name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{PAGE} has no part {name!r}")
    return f"{before}{begin}{text}\n{end}{after}"


def targets(results: dict[str, Any]) -> Iterator[Target]:
    """Return the targets and the results."""
    server, cluster = results["server"], results["cluster"]
    for size, connections, found in _loads(server):
        ratio = found["webhook/floor"]
        what = f"CPU of a review of {size}, {connections}, against the floor"
        yield Target(what, "≤ 2 ×", _spread(ratio, ".2f", " ×"), ratio[1] <= 2)
    for size, connections, found in _loads(server):
        ratio = found["plain/webhook"]
        what = f"CPU of the plain implementation for {size}, {connections}, against the webhook's"
        yield Target(what, "≥ 15 ×", _spread(ratio, ".1f", " ×"), ratio[1] >= 15)
    median = results["decision"]["variables"]["10000"][1] / 1e3
    yield Target("decision with 10,000 variables", "≤ 10 ms", f"{median:.1f} ms", median <= 10)
    for part, what in CREATIONS.items():
        found = cluster[part]
        more, least = found["median_difference_ms"]["wired"], found["median_difference_ms"]["recalled"]
        shown = f"{_spread(more, '.1f', ' ms')}; from memory: {_spread(least, '.1f')}"
        yield Target(f"median creation of a {what}, against no webhook", "≤ 2 ms more", shown, more[1] <= 2)
        ratio, least = found["p99_ratio"]["wired"], found["p99_ratio"]["recalled"]
        shown = f"{_spread(ratio, '.2f', ' ×')}; from memory: {_spread(least, '.2f')}"
        yield Target(f"p99 of the same, {what}", "≤ 1.5 ×", shown, ratio[1] <= 1.5)
    burst = cluster["burst"]
    longer, least = burst["ratio"]["wired"], burst["ratio"]["recalled"]
    shown = (
        f"{burst['unwired']} unwired, {burst['errors']} failed, in {_spread(longer, '.2f', ' ×')} the time without; "
        f"from memory: {_spread(least, '.2f')}"
    )
    yield Target(
        f"bursts of {burst['pods']:,} pods in all from {burst['clients']} clients",
        "none unwired, none failed",
        shown,
        not burst["unwired"] and not burst["errors"],
    )
    memory = cluster["growth"]["10000"]["rss_mib"]
    yield Target("memory with 10,000 namespaces", "< 90 MiB", _spread(memory, ".0f", " MiB"), memory[2] < 90)
    for first, where in (
        (server["seconds_to_first_answer"], "with no cluster"),
        (cluster["growth"]["0"]["seconds_to_first_answer"], "in a cluster"),
    ):
        what = f"first answer after the process starts, {where}"
        yield Target(what, "≤ 1 s", _spread(first, ".2f", " s"), first[1] <= 1)
    soak = results["soak"]
    early, late = list(soak["rss_mib"].values())[1], list(soak["rss_mib"].values())[-1]
    shown = f"{early:.1f} MiB after a tenth, {late:.1f} MiB at the end"
    yield Target(f"memory over {soak['reviews']:,} reviews", "no growth", shown, late - early < 1)


def _loads(server: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Return the size and the number of connections in words, with the results for them."""
    for name, loads in server["load"].items():
        for connections, found in loads.items():
            number = "one connection" if connections == "1" else f"{connections} connections"
            yield f"{server['bytes'][name] / 1e3:.0f} kB", number, found


def _target_table(results: dict[str, Any]) -> Iterator[str]:
    yield "| what | target | measured | |"
    yield "|---|---|---|---|"
    for what, target, measured, met in targets(results):
        yield f"| {what} | {target} | {measured} | {'met' if met else '**missed**'} |"


def _decision_table(results: dict[str, Any]) -> Iterator[str]:
    yield "| captured review | kB | µs, median (minimum to maximum) |"
    yield "|---|---|---|"
    captured = results["decision"]["captured"]
    for name in sorted(captured, key=lambda name: captured[name]["bytes"]):
        least, median, most = captured[name]["microseconds"]
        size = captured[name]["bytes"] / 1e3
        label = Path(name).name.removesuffix(".admissionreview.json")
        yield f"| {label} | {size:.0f} | {median:.0f} ({least:.0f} to {most:.0f}) |"


def _plugin_table(results: dict[str, Any]) -> Iterator[str]:
    yield "| review | without the plugin, µs | with it, µs | ratio | answer, kB |"
    yield "|---|---|---|---|---|"
    for what, found in results["decision"]["client_plugin"].items():
        off, on = _spread(found["off_microseconds"], ".0f"), _spread(found["on_microseconds"], ".0f")
        yield f"| {what} | {off} | {on} | {_spread(found['ratio'], '.2f')} | {found['answer_bytes'] / 1e3:.0f} |"


def _server_table(results: dict[str, Any]) -> Iterator[str]:
    yield "| review | server | CPU, µs | p50, ms | p99, ms | reviews per second |"
    yield "|---|---|---|---|---|---|"
    forms = {"cpu_microseconds": ",.0f", "p50_ms": ".2f", "p99_ms": ".2f", "per_second": ",.0f"}
    for size, connections, servers in _loads(results["server"]):
        for kind in KINDS:
            figures = " | ".join(_spread(servers[kind][figure], form) for figure, form in forms.items())
            yield f"| {size}, {connections} | {kind} | {figures} |"


def _creation_table(results: dict[str, Any]) -> Iterator[str]:
    yield "| the API server calls | " + " | ".join(f"{what}, ms more" for what in CREATIONS.values()) + " |"
    yield "|---|" + "---|" * len(CREATIONS)
    for namespace, what in (
        ("touched", "a webhook that adds an annotation, from memory, for every pod"),
        ("unconditional", "a webhook that answers with this webhook's patch, from memory, for every pod"),
        ("recalled", "the same, for the pods that this webhook is called for"),
        ("wired", "this webhook"),
    ):
        found = (results["cluster"][part]["median_difference_ms"][namespace] for part in CREATIONS)
        yield f"| {what} | " + " | ".join(_spread(spread, ".1f") for spread in found) + " |"


def _growth_table(results: dict[str, Any]) -> Iterator[str]:
    yield "| namespaces | first answer after, s | memory, MiB | CPU per review, µs |"
    yield "|---|---|---|---|"
    for number, found in results["cluster"]["growth"].items():
        first, memory = _spread(found["seconds_to_first_answer"], ".2f"), _spread(found["rss_mib"], ".0f")
        own = _spread(results["server"]["namespaces"][number], ",.0f")
        yield f"| {int(number):,} | {first} | {memory} | {own} |"


def _stage_table(results: dict[str, Any]) -> Iterator[str]:
    sizes, stages = results["server"]["bytes"], results["stages"]
    yield (
        "| stage, in the serving process | " + " | ".join(f"{size / 1e3:.0f} kB, µs" for size in sizes.values()) + " |"
    )
    yield "|---|" + "---|" * len(sizes)
    for stage in stages["small"]:
        yield f"| `{stage}` | " + " | ".join(f"{stages[name][stage]:.0f}" for name in sizes) + " |"


def _plot(results: dict[str, Any]) -> Iterator[str]:
    bars, curves = _bars(results["server"]), _curves(results["decision"])
    top, bottom = 40 + len(bars) * (BAR + GAP) + 20, 280
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top + bottom}" '
        'font-family="sans-serif" font-size="13">'
    )
    yield '<rect width="100%" height="100%" fill="white"/>'
    yield _text(12, 24, "CPU per review over TLS, one connection, µs: median, and the range of the rounds", size=15)
    most = max(spread[2] for _, spread in bars)

    def at(value: float) -> float:
        return LEFT + value / most * (WIDTH - LEFT - 70)

    for index, (label, (least, median, greatest)) in enumerate(bars):
        y = 40 + index * (BAR + GAP)
        colour = OURS if label.startswith("webhook") else OTHERS
        yield _text(LEFT - 8, y + 15, label, anchor="end")
        yield f'<rect x="{LEFT}" y="{y}" width="{at(median) - LEFT:.1f}" height="{BAR}" fill="{colour}"/>'
        yield f'<path d="M{at(least):.1f} {y + BAR / 2}H{at(greatest):.1f}" stroke="black"/>'
        yield _text(at(greatest) + 6, y + 15, f"{median:.0f}")
    yield from _growth(curves, top)
    yield "</svg>"


def _bars(server: dict[str, Any]) -> list[tuple[str, list[float]]]:
    return [
        (f"{kind}, {size}", found[kind]["cpu_microseconds"])
        for size, connections, found in _loads(server)
        for kind in KINDS
        if connections == "one connection"
    ]


def _curves(decision: dict[str, Any]) -> dict[str, list[tuple[int, float]]]:
    return {
        name: [(int(number), spread[1]) for number, spread in decision[name].items()]
        for name in ("variables", "containers")
    }


def _growth(curves: dict[str, list[tuple[int, float]]], top: float) -> Iterator[str]:
    yield _text(12, top + 24, "The decision alone, µs, by the number of variables or containers (log scales)", size=15)
    low, high, bottom = 1, 4, top + 240  # 10 µs to 10 ms

    def x(number: int) -> float:
        return LEFT + math.log10(number) / 4 * (WIDTH - LEFT - 120)

    def y(microseconds: float) -> float:
        return bottom - (math.log10(microseconds) - low) / (high - low) * 190

    for power in range(low, high + 1):
        yield f'<path d="M{LEFT} {y(10**power):.1f}H{WIDTH - 120}" stroke="#e2e8f0"/>'
        yield _text(LEFT - 8, y(10**power) + 4, f"{10**power:,}", anchor="end")
    for power in range(5):
        yield _text(x(10**power), bottom + 18, f"{10**power:,}", anchor="middle")
    for (name, points), colour in zip(curves.items(), (OURS, "#c05621"), strict=True):
        path = "L".join(f"{x(number):.1f} {y(value):.1f}" for number, value in points)
        yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield _text(x(points[-1][0]) + 8, y(points[-1][1]) - 6, name, colour=colour)


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, colour: str = "black") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"


if __name__ == "__main__":
    main()
