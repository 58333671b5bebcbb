"""lbfgs.py on functions whose minimum within bounds is known."""

import math

import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from texturenet.lbfgs import LBFGS, Point


class Quadratic:
    """(x - c)^T A (x - c) / 2 of condition 1,000; half of its minimum without bounds lies out of [0, 1]."""

    def __init__(self, pixels: int = 60) -> None:
        random = torch.Generator().manual_seed(0)
        basis, _ = torch.linalg.qr(torch.randn(pixels, pixels, generator=random))
        self.matrix = basis @ torch.diag(torch.logspace(0, 3, pixels)) @ basis.T
        self.centre = 0.5 + torch.randn(pixels, generator=random)

    def __call__(self, pixels: Tensor) -> Point:
        away = pixels - self.centre
        slope = self.matrix @ away
        return Point(pixels, {"total": away @ slope / 2}, slope)


def lowest(evaluate: Quadratic, start: Tensor, steps: int, optimizer: LBFGS) -> Point:
    point = evaluate(start)
    for _ in range(steps):
        after = optimizer.step(point)
        assert after.total <= point.total
        point = after
    return point


@pytest.mark.parametrize("start", [0.0, 0.5, 1.0])
def test_the_minimum_within_bounds(start: float) -> None:
    """That of scipy's L-BFGS-B; a clamp after each step of torch's sticks above it."""
    evaluate = Quadratic()
    begin = torch.full((60,), start)
    point = lowest(evaluate, begin, 200, LBFGS(evaluate, bounds=(0.0, 1.0)))
    assert point.pixels.min() >= 0 and point.pixels.max() <= 1
    matrix, centre = evaluate.matrix.double().numpy(), evaluate.centre.double().numpy()
    wanted = minimize(
        lambda x: ((x - centre) @ matrix @ (x - centre) / 2, matrix @ (x - centre)),
        begin.double().numpy(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, 1)] * 60,
        options={"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-9},
    )
    assert 20 < ((wanted.x == 0) | (wanted.x == 1)).sum() < 60
    assert point.total.item() == pytest.approx(wanted.fun, rel=1e-3)


def test_the_minimum_without_bounds() -> None:
    evaluate = Quadratic()
    point = lowest(evaluate, torch.full((60,), 0.5), 200, LBFGS(evaluate))
    assert point.total.item() < 1e-4 * evaluate(torch.full((60,), 0.5)).total.item()


def test_a_few_steps_do_what_many_of_the_gradient_do() -> None:
    evaluate = Quadratic()
    start = torch.full((60,), 0.5)
    point = lowest(evaluate, start, 10, LBFGS(evaluate, bounds=(0.0, 1.0)))
    downhill = start
    for _ in range(30):
        downhill = (downhill - 1e-3 * evaluate(downhill).gradient).clamp(0, 1)
    assert point.total < evaluate(downhill).total


def test_at_a_minimum_it_stays_and_asks_no_more() -> None:
    """Every pixel against its bound: no direction is left."""

    def evaluate(pixels: Tensor) -> Point:
        nonlocal calls
        calls += 1
        return Point(pixels, {"total": pixels.sum()}, torch.ones_like(pixels))

    calls = 0
    point = evaluate(torch.zeros(8))
    optimizer = LBFGS(evaluate, bounds=(0.0, 1.0))
    assert optimizer.step(point) is point and optimizer.step(point) is point
    assert calls == 1


def test_a_wall_of_what_is_not_finite_is_not_crossed() -> None:
    def evaluate(pixels: Tensor) -> Point:
        total = (pixels - 2).square().sum() if pixels.max() < 1.5 else torch.tensor(math.nan)
        return Point(pixels, {"total": total}, 2 * (pixels - 2))

    point = evaluate(torch.zeros(4))
    optimizer = LBFGS(evaluate)
    for _ in range(20):
        point = optimizer.step(point)
        assert point.total.isfinite()
    assert point.pixels.max() > 1.2


def test_a_start_that_is_not_finite_comes_back() -> None:
    point = Point(torch.zeros(4), {"total": torch.tensor(math.nan)}, torch.full((4,), math.nan))
    assert LBFGS(lambda _: point).step(point) is point
