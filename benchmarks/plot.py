"""Draw docs/performance.svg from benchmarks/results.json: ``python -m benchmarks.plot``."""

from __future__ import annotations

import json
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, LEFT, BAR, GAP = 720, 190, 22, 10


def main() -> None:
    """Draw the CPU time of a review, for each server and each review."""
    results = json.loads(Path("benchmarks/results.json").read_text())["server"]
    rows = [
        (f"{kind}, {results['bytes'][name] / 1000:.0f} kB", median)
        for name, spreads in results["cpu_microseconds"].items()
        for kind, (_, median, _) in spreads.items()
        if "/" not in kind
    ]
    most = max(value for _, value in rows)
    height = 50 + len(rows) * (BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="12" y="24" font-size="15">CPU time per review over TLS, microseconds (median)</text>',
    ]
    for index, (label, value) in enumerate(rows):
        top = 40 + index * (BAR + GAP)
        length = max(2.0, value / most * (WIDTH - LEFT - 70))
        colour = "#2b6cb0" if label.startswith("webhook") else "#a0aec0"
        parts += [
            f'<text x="{LEFT - 8}" y="{top + 16}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LEFT}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{LEFT + length + 6:.1f}" y="{top + 16}">{value:.0f}</text>',
        ]
    Path("docs/performance.svg").write_text("\n".join([*parts, "</svg>", ""]))


if __name__ == "__main__":
    main()
