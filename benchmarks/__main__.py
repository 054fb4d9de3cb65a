"""Measure, print and write a JSON file: ``python -m benchmarks [--only PART] [--soak REVIEWS] [--out FILE]``."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

from benchmarks import cluster, decision, http, stages
from benchmarks.measuring import Spread

PARTS = {
    "decision": decision.measure,
    "server": http.measure,
    "stages": stages.measure,
    "cluster": cluster.measure,
}


def main() -> None:
    """Run the selected parts."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="run only these parts")
    parser.add_argument(
        "--soak", type=int, default=1_000_000, help="reviews to send while memory is measured (default: 0)"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results.json"))
    arguments = parser.parse_args()
    found: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.only and arguments.out.exists() else {}
    found["machine"] = {"python": platform.python_version(), "processor": platform.machine()}
    for name in arguments.only or PARTS:
        print(f"== {name}", flush=True)  # noqa: T201 - this is what the command is for
        found[name] = PARTS[name]()
        _show(found[name], "  ")
    if arguments.soak and (not arguments.only or "server" in arguments.only):
        found["soak"] = http.soak(arguments.soak)
        _show({"soak": found["soak"]}, "  ")
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def _show(found: Any, indent: str) -> None:
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")  # noqa: T201
            _show(value, indent + "  ")
        else:
            shown = str(value) if isinstance(value, Spread | int) else f"{value:.4g}"
            print(f"{indent}{name}: {shown}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
