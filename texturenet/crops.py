"""How large the crops of each training step are.

A network with drawn weights needs many steps more than it needs large crops, and what strokes look like far from a
border it can only learn on large ones. So crops may be small first, as those of a classifier are in progressive
resizing (Howard 2018, fast.ai's DAWNBench entry). the_scream from drawn weights, half an hour of one core with AVX2
alone for each, total loss on squares of ten photos at 256 and at 512 px: 2,700 steps of 192 px 1.03 and 1.24; 2,300 of
128, 192 and 256 px (45, 30 and 25 % of them) 1.04 and 1.12; 2,200 of 128 and 256 px (60 and 40 %) 1.03 and 1.07.
Of two such cores: 5,400 of 128 and 192 px 0.89 and 1.02.

A step costs in proportion to its pixels, so time left is told by pixels.
"""

from __future__ import annotations

from texturenet.config import Recipe

SMALL = 0.6  # share of the steps that have crops of `grow_from`


def small_steps(recipe: Recipe) -> int:
    """How many steps, from the first, have crops of `grow_from` px; the others have those of `image_size`."""
    if recipe.grow_from is None or recipe.grow_from >= recipe.image_size:
        return 0
    return int(SMALL * recipe.iterations)


def side(recipe: Recipe, step: int) -> int:
    """Of the crops of the step after `step` steps, px."""
    return recipe.grow_from if recipe.grow_from and step < small_steps(recipe) else recipe.image_size


def pixels(recipe: Recipe, first: int, last: int) -> int:
    """Of one crop a step, over the steps after the first `first` up to the `last`."""
    change = min(max(small_steps(recipe), first), last)
    return (change - first) * side(recipe, 0) ** 2 + (last - change) * recipe.image_size**2
