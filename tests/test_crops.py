"""How crops grow over a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from texturenet import crops
from texturenet.config import Recipe

GROWING = Recipe(iterations=20, image_size=256, grow_from=128)


def test_small_crops_come_first() -> None:
    assert [crops.side(GROWING, step) for step in range(20)] == [128] * 12 + [256] * 8


@pytest.mark.parametrize("grow_from", [None, 256, 300])
def test_crops_of_one_size(grow_from: int | None) -> None:
    recipe = replace(GROWING, grow_from=grow_from)
    assert {crops.side(recipe, step) for step in range(20)} == {256}
    assert crops.pixels(recipe, 3, 20) == 17 * 256**2


@pytest.mark.parametrize("iterations", [1, 2, 3, 2000])
def test_the_last_step_is_large_however_short_the_run(iterations: int) -> None:
    assert crops.side(replace(GROWING, iterations=iterations), iterations - 1) == 256


@pytest.mark.parametrize("first, last", [(0, 20), (0, 12), (11, 13), (3, 17), (16, 20), (0, 1), (5, 5)])
def test_pixels_are_those_of_the_steps(first: int, last: int) -> None:
    assert crops.pixels(GROWING, first, last) == sum(crops.side(GROWING, step) ** 2 for step in range(first, last))
