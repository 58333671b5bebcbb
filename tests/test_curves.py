"""Loss curves as HTML."""

from __future__ import annotations

import math
import re

from texturenet import curves


def row(step: int, **losses: float | None) -> dict[str, object]:
    return {"event": "step", "step": step, "iterations": 10, "losses": losses}


def heights(html: str) -> list[list[float]]:
    """y of the points of each thick line, 0 at the top."""
    paths = re.findall(r'<path class="mean"[^>]* d="M([^"]*)"', html)
    return [[float(point.split(",")[1]) for point in path.split(" L")] for path in paths]


def test_values_that_no_line_has() -> None:
    rows = [row(1, total=2.0, style=None), row(2, total=math.inf), {"event": "preview", "step": 2}, row(3, total=0.0)]
    assert curves.of_rows(rows) == {"total": [(1, 2.0)]}


def test_a_loss_that_halves_falls_by_equal_steps() -> None:
    (line,) = heights(curves.figure({"total": [(0, 8.0), (5, 4.0), (10, 2.0)]}, 10))
    assert line[0] < line[1] < line[2]
    assert math.isclose(line[1] - line[0], line[2] - line[1], abs_tol=0.2)


def test_the_last_value_is_told_to_all() -> None:
    html = curves.figure({"total": [(1, 9.0), (10, 1.25)]}, 10)
    assert "<b>1.25</b>" in html
    assert 'aria-label="Loss curves: total 9 at first, 1.25 now"' in html


def test_one_value_and_none() -> None:
    assert len(heights(curves.figure({"total": [(1, 1.0)]}, 10))) == 1
    assert "first numbers" in curves.figure({}, 10)


def test_a_long_run_is_thinned_and_ends_where_it_ended() -> None:
    line = [(step, 1.0 + step) for step in range(10_000)]
    (drawn,) = heights(curves.figure({"total": line}, 10_000))
    assert len(drawn) <= 401
    assert drawn[-1] == min(drawn)


def test_a_mean_of_few_values_is_the_value() -> None:
    line = [(1, 9.0), (2, 1.0), (3, 4.0)]
    assert [round(value, 6) for _, value in curves.smooth(line)] == [9.0, 1.0, 4.0]


def test_the_mean_calms_a_line_that_jumps() -> None:
    line = [(step, 4.0 if step % 2 else 1.0) for step in range(300)]
    end = [value for _, value in curves.smooth(line)][-50:]
    assert all(1.9 < value < 2.1 for value in end)  # the geometric mean is 2


def test_names_are_text() -> None:
    assert "<script>" not in curves.figure({"<script>": [(1, 1.0)]}, 2)
