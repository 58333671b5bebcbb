"""What one training step minimises: the perceptual loss of the generator's pictures, and what a recipe adds to it.

Noise that does what the user asks of it. A generator that is only ever trained with one amplitude of noise does
something arbitrary at any other: over noise_factor 0, 0.5, 1, 2, 4 the style term of such a network fell, then rose
again. So with a `noise_range` every other step draws its factor from there, and the style weights are multiplied by
the mean of 1 and that factor over `recipe.noise_factor`: the amplitude of the noise tells the network how strongly to
paint, half the style without noise. The steps between are at `noise_factor` itself, so that most of the training goes
where most pictures are painted. In proportion to the factor, with no style at all without noise, one small network had
to learn both the photo and the painting, and laid the texture in islands.

`diversity_weight` (Ulyanov et al. 2017) paints each photo twice and asks the two pictures to differ.
`stability_weight` paints each photo again after a shift of a few pixels and a little sensor noise, as the next frame of
a clip would have it, and asks for the shifted picture.

Everything random in step t is a function of (seed, t) alone, so that a resumed run is the same run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from texturenet import crops
from texturenet.config import Recipe
from texturenet.generators import Generator, make_noise
from texturenet.losses import PerceptualLoss, diversity_loss

EXTRA = ("diversity", "stability")
GOLDEN = 0.5 * (5**0.5 - 1)
MAX_SHIFT = 4  # pixels between two frames
SENSOR_NOISE = 0.02  # standard deviation between two frames; about ISO 1600 in 8 bits


def step_seed(seed: int, step: int) -> int:
    """One seed per (seed, step), far apart for neighbours."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {step}".encode(), digest_size=7).digest())


def noise_factor(recipe: Recipe, step: int) -> float:
    """Of the step after `step` steps: `recipe.noise_factor`, in every other step one from `recipe.noise_range`."""
    if recipe.noise_range is None or step % 2 or step == 0:  # the first step too: curves are drawn relative to it
        return recipe.noise_factor
    low, high = recipe.noise_range
    return low + (high - low) * (step // 2 * GOLDEN % 1)  # covers the range evenly after any number of steps


class Objective:
    """The loss of one step under a recipe.

    generator  whose noise it draws
    paint      (photo or None, noise) -> pictures: the generator as the trainer runs it, autocast and all
    loss       judges the pictures
    """

    def __init__(
        self,
        recipe: Recipe,
        generator: Generator,
        paint: Callable[[Tensor | None, list[Tensor]], Tensor],
        loss: PerceptualLoss,
    ) -> None:
        self.recipe, self.generator, self.paint, self.loss = recipe, generator, paint, loss

    @property
    def smallest_part(self) -> int:
        """Pictures that have to be judged together: batches are only cut into multiples of it."""
        if not self.recipe.diversity_weight:
            return 1
        return 2 if self.generator.content else self.recipe.batch_size

    def __call__(self, photo: Tensor | None, step: int, part: slice = slice(None)) -> dict[str, Tensor]:
        """Every term, as `PerceptualLoss.forward` has them; and "diversity" and "stability", weighted, if they count.

        part   which pictures of the step's batch these are. Each term is a mean over pictures, and a picture's noise
               does not depend on the others, so the mean over equal parts is the value of the batch.
        photo  of that part, (B, 3, S, S) in [0, 1] on the generator's device, or None
        """
        recipe = self.recipe
        if photo is not None and recipe.diversity_weight:
            photo = photo[::2].repeat_interleave(2, 0)  # two pictures, side by side, of each of half the photos
        factor, side, seed = noise_factor(recipe, step), crops.side(recipe, step), step_seed(recipe.seed, step)
        noise = make_noise(
            self.generator,
            recipe.batch_size,
            side,
            side,
            seed,
            factor,
            next(self.generator.parameters()).device,
            part,
        )
        picture = self.paint(photo, noise)
        content = None if photo is None else self.loss.content_features(photo)
        style_factor = 0.5 + 0.5 * factor / recipe.noise_factor if recipe.noise_factor else 1.0
        terms: dict[str, Tensor] = self.loss(picture, content, style_factor)
        if recipe.diversity_weight:
            siblings = torch.stack([picture[::2], picture[1::2]]) if photo is not None else picture[:, None]
            terms["diversity"] = recipe.diversity_weight * diversity_loss(siblings)
        if recipe.stability_weight:
            assert photo is not None
            terms["stability"] = recipe.stability_weight * self._stability(photo, noise, picture, seed, part)
        terms["total"] = sum((terms[name] for name in EXTRA if name in terms), terms["total"])
        return terms

    def _stability(self, photo: Tensor, noise: list[Tensor], picture: Tensor, seed: int, part: slice) -> Tensor:
        """Mean squared difference of the next frame's picture and this picture, moved as the frame moved; a scalar.

        The noise stays where it is, as it does over a clip.
        """
        rng = torch.Generator().manual_seed(seed)
        down, right = (int(torch.randint(-MAX_SHIFT, MAX_SHIFT + 1, (), generator=rng)) for _ in range(2))
        sensor = torch.randn((self.recipe.batch_size, *photo.shape[1:]), generator=rng)[part] * SENSOR_NOISE
        frame = (torch.roll(photo, (down, right), (2, 3)) + sensor.to(photo.device)).clamp(0, 1)
        moved = torch.roll(picture, (down, right), (2, 3))
        inside = (..., slice(MAX_SHIFT, -MAX_SHIFT), slice(MAX_SHIFT, -MAX_SHIFT))  # what has not come round the edge
        return (self.paint(frame, noise) - moved)[inside].square().mean()
