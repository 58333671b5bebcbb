"""Loss curves as a piece of HTML: the same in the live page and in a report, without a script or a plotting library.

The lines are an SVG that stretches with the page; numbers stand beside it as text, so that they stay readable on a
phone. Values are on a logarithmic scale: losses fall by decades. Thin lines are the values, thick ones their recent
mean.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

TERMS = ("total", "style", "content")
_POINTS = 400  # of a line; more than the pixels that it is drawn on
_WIDTH, _HEIGHT = 1000, 300  # of the drawing, stretched to the page

# Colours come from the page: --c0 ... are its lines, --line and --quiet its rules and small print.
CSS = """
.curves { margin: 0; }
.curves .legend { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: 13px; margin-bottom: 10px; }
.curves .legend span { display: inline-flex; align-items: center; gap: 7px; color: var(--quiet); }
.curves .legend b { font-weight: 600; color: var(--ink); font-variant-numeric: tabular-nums; }
.curves .legend i { width: 14px; height: 3px; border-radius: 2px; display: inline-block; }
.curves .plot { position: relative; height: 200px; margin: 0 0 22px 42px; }
.curves svg { width: 100%; height: 100%; display: block; overflow: visible; }
.curves path { fill: none; stroke-width: 2; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.curves .raw { opacity: .28; stroke-width: 1; }
.curves .rule { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
.curves .tick { position: absolute; font-size: 11px; color: var(--quiet); font-variant-numeric: tabular-nums; }
.curves .y { right: 100%; margin-right: 8px; transform: translateY(50%); }
.curves .x { top: 100%; margin-top: 6px; transform: translateX(-50%); }
.curves .x.last { transform: translateX(-100%); }
"""


def of_rows(rows: Sequence[dict[str, Any]], terms: Sequence[str] = TERMS) -> dict[str, list[tuple[int, float]]]:
    """Rows of a log -> {term: [(step, value)]}, without values that are missing, infinite or not above 0."""
    lines: dict[str, list[tuple[int, float]]] = {term: [] for term in terms}
    for row in rows:
        for term in terms:
            value = row["losses"].get(term) if row.get("event") == "step" else None
            if isinstance(value, int | float) and 0 < value < math.inf:
                lines[term].append((row["step"], float(value)))
    return {term: line for term, line in lines.items() if line}


def figure(lines: dict[str, list[tuple[int, float]]], last_step: int) -> str:
    """The curves from step 0 to `last_step`, with a legend that tells their recent means; a sentence for no values."""
    if not lines:
        return '<p class="quiet">The first numbers come after a few steps.</p>'
    values = [value for line in lines.values() for _, value in line]
    ticks = _ticks(min(values), max(values))
    low, high = math.log(ticks[0]), math.log(ticks[-1])

    def height(value: float) -> float:
        return (math.log(value) - low) / (high - low)

    legend, paths = [], []
    for i, (term, raw) in enumerate(lines.items()):
        line = smooth(raw)
        name = html.escape(term)
        legend.append(f'<span><i style="background: var(--c{i})"></i>{name} <b>{line[-1][1]:.3g}</b></span>')
        for kind, drawn in (("raw", raw), ("mean", line)):
            points = [
                f"{_WIDTH * at / last_step:.1f},{_HEIGHT * (1 - height(value)):.1f}" for at, value in _thin(drawn)
            ]
            paths.append(f'<path class="{kind}" style="stroke: var(--c{i})" d="M{" L".join(points)}"/>')
    rules = [f'<line class="rule" x1="0" x2="{_WIDTH}" y1="{y}" y2="{y}"/>' for y in _rule_heights(ticks, height)]
    labels = [f'<span class="tick y" style="bottom: {100 * height(tick):.1f}%">{tick:g}</span>' for tick in ticks]
    labels += [
        f'<span class="tick x{" last" if part == 1 else ""}" style="left: {100 * part:g}%">'
        f"{round(part * last_step):,}</span>"
        for part in (0.5, 1)
    ]
    said = ", ".join(f"{term} {line[0][1]:.3g} at first, {smooth(line)[-1][1]:.3g} now" for term, line in lines.items())
    return (
        f'<figure class="curves"><div class="legend">{"".join(legend)}</div>'
        f'<div class="plot" role="img" aria-label="Loss curves: {html.escape(said)}">'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(rules)}{''.join(paths)}</svg>{''.join(labels)}</div></figure>"
    )


def smooth(line: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The geometric mean of each value and those shortly before it: photos differ, and so do their losses."""
    mean, result = math.log(line[0][1]), []
    weight = min(1.0, 15 / len(line))
    for step, value in line:
        mean += weight * (math.log(value) - mean)
        result.append((step, math.exp(mean)))
    return result


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten that enclose the values; every second or third where they would be many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = [digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)]
    start = max(i for i, step in enumerate(steps) if step <= low)
    end = next(i for i, step in enumerate(steps) if step >= high and i > start)
    stride = -(-(end - start) // 5)
    return [*steps[start:end:stride], steps[end]]


def _rule_heights(ticks: Sequence[float], height: Any) -> list[str]:
    return [f"{_HEIGHT * (1 - height(tick)):.1f}" for tick in ticks]


def _thin(line: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most _POINTS of them, the last one always."""
    stride = -(-len(line) // _POINTS)
    return [*line[:-1:stride], line[-1]]
