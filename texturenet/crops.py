"""How large the crops of each training step are.

A network with drawn weights needs many steps more than it needs large crops, and what strokes look like far from a
border it can only learn on large ones. So crops may grow, as those of a classifier do in progressive resizing (Howard
2018, fast.ai's DAWNBench entry): `GROWN` says until which share of the steps they have gone which part of the way from
`grow_from` to `image_size`. A step costs in proportion to its pixels, so time left is told by pixels.
"""

from __future__ import annotations

from texturenet.config import Recipe

GROWN = ((0.45, 0.0), (0.75, 0.5))


def smaller(recipe: Recipe) -> list[tuple[int, int]]:
    """(step, side in px) in order: the steps before that one have crops of that side in place of `image_size`."""
    if recipe.grow_from is None or recipe.grow_from >= recipe.image_size:
        return []
    way = recipe.image_size - recipe.grow_from
    return [(int(share * recipe.iterations), recipe.grow_from + round(part * way)) for share, part in GROWN]


def side(recipe: Recipe, step: int) -> int:
    """Of the crops of the step after `step` steps, px."""
    return next((side for end, side in smaller(recipe) if step < end), recipe.image_size)


def pixels(recipe: Recipe, first: int, last: int) -> int:
    """Of one crop a step, over the steps after the first `first` up to the `last`."""
    total, begin = 0, 0
    for end, side in [*smaller(recipe), (recipe.iterations, recipe.image_size)]:
        total += max(0, min(end, last) - max(begin, first)) * side**2
        begin = end
    return total
