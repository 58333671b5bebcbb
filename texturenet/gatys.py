"""The iterative reference: the pixels themselves are optimised (Gatys et al., CVPR 2016).

    x* = argmin_x  L(x)        L of losses.py, x (1, 3, H, W) in [0, 1] up to what --clip says

`descend` is the loop; `paint` adds where it starts and the pyramid of sizes. Neither knows files: reference.py does.
All is float32, for it is the yardstick.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from texturenet import images
from texturenet.devices import out_of_memory
from texturenet.lbfgs import LBFGS, Evaluate, Point
from texturenet.losses import PerceptualLoss
from texturenet.perceptual import Encoder
from texturenet.presets import GatysRecipe

SMALLEST_SIDE = 32  # px, of the coarsest size of a pyramid
SIZE = 512  # px, longer side of a texture without a photo


@dataclass(frozen=True)
class Iterate:
    """One picture on the way.

    iteration  0 is the start
    losses     as PerceptualLoss names them, of the pixels as the optimizer has them
    image      (1, 3, H, W), a copy clamped to [0, 1]
    """

    iteration: int
    losses: dict[str, float]
    image: Tensor


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with the best picture so far in `image`, (1, 3, H, W)."""

    def __init__(self, image: Tensor) -> None:
        super().__init__("stopped")
        self.image = image


OnIterate = Callable[[Iterate], None]
Step = Callable[[Point], Point]


# --- the loop --------------------------------------------------------------------------------------------------------


def descend(
    loss_function: PerceptualLoss,
    start: Tensor,
    content: dict[str, Tensor] | None,
    recipe: GatysRecipe,
    on_iterate: OnIterate | None = None,
) -> Tensor:
    """Optimise the pixels of `start` for `recipe.iterations` steps; the picture of the lowest loss, in [0, 1].

    start       (1, 3, H, W) in [0, 1], left as it is
    content     `loss_function.content_features` of the photo, or None for texture synthesis
    recipe      its optimizer's fields and `clip` are read, nothing else
    on_iterate  called with the start and after each iteration, with the loss at that picture. One iteration is one step
                of the optimizer and evaluates the loss once; L-BFGS a few times in its first, and now and then later
    returns     (1, 3, H, W), detached
    Raises `Interrupted`, which holds the best picture, on Ctrl-C, and ValueError for a loss that is not finite, and for
    a picture that the memory does not hold.
    """
    best, lowest = start.detach().clamp(0, 1), torch.full((), math.inf, device=start.device)

    def evaluate(pixels: Tensor) -> Point:
        with torch.enable_grad():
            pixels = pixels.detach().requires_grad_()
            terms = loss_function(pixels, content)
            (gradient,) = torch.autograd.grad(terms["total"], pixels)
        return Point(pixels.detach(), {name: term.detach() for name, term in terms.items()}, gradient)

    step = _lbfgs(evaluate, recipe) if recipe.optimizer == "lbfgs" else _adam(evaluate, start, recipe)
    try:
        with fitting(start):
            point = evaluate(start)
            for iteration in range(recipe.iterations + 1):
                if iteration:
                    point = step(point)
                image, total = point.pixels.clamp(0, 1), point.total
                better = total < lowest  # on the device: reading it would wait for the device at every step
                best, lowest = torch.where(better, image, best), torch.where(better, total, lowest)
                if on_iterate:
                    values = torch.stack([term.float() for term in point.terms.values()]).tolist()
                    losses = dict(zip(point.terms, values, strict=True))
                    _require_finite(losses["total"], iteration)
                    on_iterate(Iterate(iteration, losses, image))
    except KeyboardInterrupt:
        raise Interrupted(best) from None
    _require_finite(point.total.item(), recipe.iterations)
    return best


@contextlib.contextmanager
def fitting(image: Tensor) -> Iterator[None]:
    """ValueError, one line, where what is done to an image (1, 3, H, W) does not fit the memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        height, width = image.shape[-2:]
        raise ValueError(
            f"a picture of {width}x{height} px does not fit the memory of {image.device} with this perceptual network; "
            "take a smaller one"
        ) from None


def _lbfgs(evaluate: Evaluate, recipe: GatysRecipe) -> Step:
    bounds = (0.0, 1.0) if recipe.clip else (-math.inf, math.inf)
    return LBFGS(evaluate, recipe.options["history_size"], bounds).step


def _adam(evaluate: Evaluate, start: Tensor, recipe: GatysRecipe) -> Step:
    """Adam or AdamW; torch's, on pixels of its own."""
    pixels, options = start.detach().clone().contiguous(), recipe.options
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    betas = (options["beta1"], options["beta2"])
    optimizer: torch.optim.Optimizer = kind(
        [pixels], options["learning_rate"], betas, options["eps"], options["weight_decay"]
    )

    def step(point: Point) -> Point:
        pixels.grad = point.gradient
        optimizer.step()
        if recipe.clip:
            pixels.clamp_(0, 1)
        return evaluate(pixels.clone())

    return step


def _require_finite(total: float, iteration: int) -> None:
    if not math.isfinite(total):
        raise ValueError(
            f"the loss is {total} at iteration {iteration}; try a smaller --learning_rate or --optimizer lbfgs"
        )


# --- where it starts, what it descends -------------------------------------------------------------------------------


def reference_loss(encoder: Encoder, texture: Tensor, recipe: GatysRecipe, canvas: Tensor) -> PerceptualLoss:
    """The recipe's loss against `texture`, for pictures of the canvas's size.

    texture, canvas  (1, 3, h, w); only the canvas's size matters, for reductions that sum over positions
    """
    bare = recipe.gram_normalization == "none"
    loss = PerceptualLoss(
        encoder,
        texture,
        recipe.style_layers or encoder.style_layers,
        recipe.style_weights,
        recipe.content_layers or encoder.content_layers,
        recipe.content_weights,
        recipe.tv_weight,
        recipe.loss_scale,
        "hw" if bare else recipe.gram_normalization,
        recipe.content_norm,
        recipe.content_colors,
    )
    with torch.no_grad():
        features = encoder(canvas, [*loss.style_weights, *loss.content_weights])
    for layer in loss.style_weights:
        _, channels, height, width = features[layer].shape
        if bare:  # F F^T is H W times what "hw" makes of it; so a texture of another size counts as if of the canvas's
            loss.style_weights[layer] *= (height * width) ** 2
        if recipe.style_reduction == "mean":
            loss.style_weights[layer] /= channels**2
    if recipe.content_reduction == "half":
        for layer in loss.content_weights:
            loss.content_weights[layer] *= features[layer].numel() / 2
    return loss


def start_image(recipe: GatysRecipe, photo: Tensor | None, texture: Tensor, size: tuple[int, int]) -> Tensor:
    """What the optimizer starts from, (1, 3, *size) in [0, 1]; noise is uniform, drawn from the recipe's seed.

    Raises ValueError where the recipe starts from a photo and there is none.
    """
    init = recipe.init or ("noise" if photo is None else "content")
    if init == "texture":
        return _cover(texture, size)
    if init != "noise" and photo is None:
        raise ValueError(f"--init {init} starts from a photo, and there is none; use --init noise or texture")
    # Drawn on the CPU, so that every device starts from the same picture.
    noise = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(recipe.seed % 2**64)).to(texture.device)
    if init == "noise":
        return noise
    assert photo is not None
    photo = images.resize(photo, size)
    return photo if init == "content" else torch.lerp(photo, noise, recipe.init_noise)


def _cover(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resized to cover `size` (h, w), its aspect kept, and cut to it around the middle."""
    factor = max(size[0] / image.shape[-2], size[1] / image.shape[-1])
    height, width = (max(want, round(factor * have)) for want, have in zip(size, image.shape[-2:], strict=True))
    image = images.resize(image, (height, width))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return image[..., top : top + size[0], left : left + size[1]]


def pyramid_sizes(size: tuple[int, int], levels: int) -> list[tuple[int, int]]:
    """(h, w), each half the next, coarse first. Raises ValueError where the coarsest is under `SMALLEST_SIDE`."""
    sizes = [(max(1, size[0] >> level), max(1, size[1] >> level)) for level in reversed(range(levels))]
    if levels > 1 and min(sizes[0]) < SMALLEST_SIDE:
        most = max(1, (min(size) // SMALLEST_SIDE).bit_length())
        raise ValueError(f"--pyramid {levels} is too much for {size[1]}x{size[0]} px; give {most} at most")
    return sizes


def paint(
    photo: Tensor | None,
    texture: Tensor,
    encoder: Encoder,
    recipe: GatysRecipe,
    on_iterate: OnIterate | None = None,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """A photo in the look of a texture, or with no photo the texture alone; coarse to fine as the recipe says.

    photo    (1, 3, H, W), or None
    texture  (1, 3, h, w) of any size; shown to the loss at `style_size`, smaller by as much as a coarse picture is
    size     (h, w) of the result without a photo
    returns  (1, 3, H, W) in [0, 1]
    Iterations count on through the pyramid; the first picture of each size is called with the number of the one before.
    Raises as `descend`; `Interrupted.image` has the full size.
    """
    full: tuple[int, int] = (photo.shape[-2], photo.shape[-1]) if photo is not None else size or (SIZE, SIZE)
    picture: Tensor | None = None
    try:
        for level, at in enumerate(pyramid_sizes(full, recipe.pyramid)):
            shown = images.resize(texture, max(16, round((recipe.style_size or max(full)) * max(at) / max(full))))
            small = None if photo is None else images.resize(photo, at)
            start = start_image(recipe, small, shown, at) if picture is None else images.resize(picture, at)
            with fitting(start):
                loss = reference_loss(encoder, shown, recipe, start)
                content = None if small is None else loss.content_features(small)
            picture = descend(loss, start, content, recipe, _counted_from(level * recipe.iterations, on_iterate))
    except KeyboardInterrupt as stop:  # between two sizes too, where the smaller one is what there is
        best = stop.image if isinstance(stop, Interrupted) else picture
        if best is None:
            raise
        raise Interrupted(images.resize(best, full)) from None
    assert picture is not None
    return picture


def _counted_from(first: int, on_iterate: OnIterate | None) -> OnIterate | None:
    if on_iterate is None or first == 0:
        return on_iterate
    return lambda iterate: on_iterate(replace(iterate, iteration=first + iterate.iteration))
