import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import OneConv, picture
from torch import Tensor

from texturenet.config import Recipe
from texturenet.generators import Pyramid
from texturenet.losses import PerceptualLoss
from texturenet.objective import Objective, noise_factor, step_seed

RECIPE = Recipe(batch_size=2, image_size=32)
NOMINAL, SWEPT = 1, 2  # a step at recipe.noise_factor, and one from recipe.noise_range


class Painter:
    """Paints every photo as `look` says, and remembers what it was asked."""

    def __init__(self, look: Any) -> None:
        self.look, self.photos, self.noises = look, [], []  # type: ignore[var-annotated]

    def __call__(self, photo: Tensor | None, noise: list[Tensor]) -> Tensor:
        self.photos.append(photo)
        self.noises.append(noise)
        return self.look(photo, noise)  # type: ignore[no-any-return]


def objective(one_conv: OneConv, look: Any, content: bool = True, **recipe: Any) -> tuple[Objective, Painter]:
    painter = Painter(look)
    loss = PerceptualLoss(one_conv, picture(32, 32, 5), ["conv"], [1.0], ["conv"] if content else (), [1.0] * content)
    generator = Pyramid(content=content, scales=2, width=4)
    return Objective(replace(RECIPE, **recipe), generator, painter, loss), painter


def test_step_seeds_differ() -> None:
    seeds = {step_seed(seed, step) for seed in range(20) for step in range(200)}
    assert len(seeds) == 4000


def test_noise_factors_cover_the_range_and_return_to_the_nominal_one() -> None:
    recipe = replace(RECIPE, noise_factor=1.0, noise_range=(0.0, 2.0))
    factors = [noise_factor(recipe, step) for step in range(40)]
    assert set(factors[1::2]) == {1.0}
    assert factors[0] == 1.0
    swept = sorted(factors[2::2])
    assert swept[0] >= 0 and swept[-1] <= 2
    assert max(b - a for a, b in itertools.pairwise(swept)) < 0.25
    assert {noise_factor(replace(recipe, noise_range=None), step) for step in range(9)} == {1.0}


@pytest.mark.parametrize("noise_range", [(2.0, 0.0), (1.0,), (0.0, 1.0, 2.0)])
def test_a_range_has_two_ends(noise_range: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="noise_range"):
        Recipe(noise_range=noise_range)


def test_style_weighs_as_much_as_the_noise(one_conv: OneConv) -> None:
    """The same picture, painted with f times the noise, costs (1 + f) / 2 times the style term and the same content."""
    of_step, painter = objective(one_conv, lambda photo, _noise: photo.flip(3), noise_range=(1.6, 2.0))
    photo = picture(32, 32, 1, batch=2)
    nominal = of_step(photo, NOMINAL)
    strong = of_step(photo, SWEPT)
    factor = noise_factor(of_step.recipe, SWEPT)
    assert 1.6 < factor < 2
    assert strong["style"].item() == pytest.approx((1 + factor) / 2 * nominal["style"].item(), rel=1e-4)
    assert strong["content"].item() == pytest.approx(nominal["content"].item(), rel=1e-5)
    quiet, loud = (max(level.max().item() for level in noise) for noise in painter.noises)
    assert 0.95 < quiet < 1 and 0.95 < loud / factor < 1


def test_without_extras_it_is_the_perceptual_loss(one_conv: OneConv) -> None:
    of_step, _ = objective(one_conv, lambda photo, _noise: photo.flip(3))
    photo = picture(32, 32, 1, batch=2)
    expected = of_step.loss(photo.flip(3), of_step.loss.content_features(photo))
    terms = of_step(photo, NOMINAL)
    assert terms.keys() == expected.keys()
    assert all(torch.equal(terms[name], expected[name]) for name in expected)


def test_diversity_compares_two_pictures_of_one_photo(one_conv: OneConv) -> None:
    of_step, painter = objective(one_conv, lambda photo, _noise: photo, batch_size=4, diversity_weight=0.5)
    photo = picture(32, 32, 1, batch=4)
    terms = of_step(photo, NOMINAL)
    assert torch.equal(painter.photos[0], photo[[0, 0, 2, 2]])
    assert terms["diversity"].item() == pytest.approx(0.5 * -0.5 * torch.log(torch.tensor(1e-8)).item())
    parts = terms["style"] + terms["content"] + terms["diversity"]
    assert terms["total"].item() == pytest.approx(parts.item())


def test_diversity_of_a_texture_compares_all(one_conv: OneConv) -> None:
    def levels(_photo: Tensor | None, noise: list[Tensor]) -> Tensor:
        return torch.arange(len(noise[0]))[:, None, None, None].mul(0.2).expand(-1, 3, 32, 32)

    of_step, _ = objective(one_conv, levels, content=False, batch_size=4, diversity_weight=1.0)
    assert of_step(None, NOMINAL)["diversity"].item() == pytest.approx(-torch.log(torch.tensor(0.2)).item(), rel=1e-4)


def test_what_moves_with_the_photo_is_stable(one_conv: OneConv) -> None:
    """A painter of single pixels follows the shift, up to the sensor noise; one that ignores the photo does not."""
    photo = picture(32, 32, 1, batch=2)
    ramp = torch.linspace(0, 1, 32).expand(2, 3, 32, 32)
    follows, painter = objective(one_conv, lambda photo, _noise: photo, stability_weight=1.0)
    ignores, _ = objective(one_conv, lambda _photo, _noise: ramp, stability_weight=1.0)
    step = next(n for n in range(1, 99, 2) if _moved_across(n))
    steady, unsteady = (of_step(photo, step)["stability"].item() for of_step in (follows, ignores))
    assert 0 < steady < 6e-4  # the square of the sensor noise is 4e-4
    assert unsteady > 1.5 * steady
    assert all(map(torch.equal, *painter.noises))


def _moved_across(step: int) -> bool:
    """Whether the frame of this step moves by three pixels at least to the side."""
    rng = torch.Generator().manual_seed(step_seed(RECIPE.seed, step))
    torch.randint(-4, 5, (), generator=rng)
    return abs(int(torch.randint(-4, 5, (), generator=rng))) >= 3
