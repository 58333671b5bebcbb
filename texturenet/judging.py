"""A checkpoint together with the loss that made it, rebuilt from its file, and the photos that it is judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from texturenet import checkpoint, images
from texturenet.config import Recipe, from_plain
from texturenet.devices import place
from texturenet.files import find_images
from texturenet.gatys import OnIterate
from texturenet.learner import perceptual_loss
from texturenet.losses import PerceptualLoss
from texturenet.perceptual import Encoder, load_encoder, weights_at_hand
from texturenet.refining import Refiner
from texturenet.reports import fingerprint
from texturenet.stylizer import Stylizer

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample" / "val2017"  # drawn photos that come with the project
SAMPLE_COUNT, SAMPLE_SIZE = 4, 192
NARROWEST = 16  # px of a photo's shorter side: a generator takes no less, nor do the deeper layers


@dataclass(frozen=True)
class Judged:
    """One style and its judge."""

    name: str
    stylizer: Stylizer
    recipe: Recipe
    texture: Tensor  # (1, 3, H, W) as the loss sees it, on the CPU
    loss_function: PerceptualLoss
    loss_key: str  # equal where the loss is: same network, weights, layers and texture

    def terms(self, image: Tensor, photo: Tensor) -> dict[str, float]:
        """Every term of the loss of a picture of `photo`, both (1, 3, H, W), as numbers."""
        return loss_terms(self.loss_function, image, photo)


@torch.no_grad()
def loss_terms(loss_function: PerceptualLoss, image: Tensor, photo: Tensor) -> dict[str, float]:
    """Every term of the loss of `image` as a picture of `photo`, both (1, 3, H, W), on any device, as numbers."""
    device = next(iter(loss_function.targets.values())).device
    content = loss_function.content_features(photo.to(device))
    return {name: value.item() for name, value in loss_function(image.to(device), content).items()}


def open_judged(
    path: Path,
    texture_path: Path | None = None,
    device: torch.device | str = "cpu",
    of_photos: bool = True,
    refine: int = 0,
) -> Judged:
    """Load a style and rebuild its loss from its recipe, in float32.

    texture_path  the texture's own file, for checkpoints that hold a thumbnail only
    of_photos     whether it has to paint photos, or else to make a texture
    refine        iterations of L-BFGS that go on from each of its paintings; 0: it is judged by its pass alone
    Raises ValueError or OSError for a file that is no checkpoint, for one of the other kind, and where its texture or
    its perceptual network is not at hand.
    """
    fields = checkpoint.load(path)
    stylizer = Stylizer(path, device)
    if stylizer.paints_photos != of_photos:
        if of_photos:
            raise ValueError(f"{path} makes a texture and paints no photos; `evaluate synthesis` is for it")
        raise ValueError(f"{path} paints photos and makes no texture; `evaluate matched` is for it")
    recipe, texture, encoder, loss_function = _rebuilt(path, fields, device, texture_path)
    if refine:
        stylizer = Stylizer(path, device, finish=_to_the_end(Refiner(loss_function, encoder, refine)))
    key = fingerprint(
        texture,
        encoder_key(encoder),
        loss_function.style_weights,
        loss_function.content_weights,
        [recipe.tv_weight, recipe.loss_scale, recipe.content_norm, recipe.content_colors],
    )
    return Judged(fields["name"], stylizer, recipe, texture, loss_function, key)


def _to_the_end(refiner: Refiner) -> Callable[[Tensor, Tensor], Tensor]:
    """A picture that was stopped on its way is not what is judged: Ctrl-C ends the judging."""

    def refined(photo: Tensor, painting: Tensor) -> Tensor:
        picture = refiner(photo, painting)
        if refiner.stopped:
            raise KeyboardInterrupt
        return picture

    return refined


def refiner(
    path: Path,
    iterations: int,
    device: torch.device | str,
    max_memory: int | None = None,
    watch: OnIterate | None = None,
) -> Refiner:
    """What goes on from a style's paintings by the loss that it was trained with, see `Refiner`.

    Raises ValueError or OSError for a file that is no checkpoint, and where it lacks its texture or its perceptual
    network.
    """
    if path.suffix == ".onnx":
        raise ValueError(f"{path}: --refine goes by the texture, which an ONNX file does not hold; name its checkpoint")
    fields = checkpoint.load(path)
    _, _, encoder, loss = _rebuilt(path, fields, device, without_it="paint without refining")
    return Refiner(loss, encoder, iterations, max_memory, watch)


def _rebuilt(
    path: Path,
    fields: dict[str, Any],
    device: torch.device | str,
    texture_path: Path | None = None,
    without_it: str = "add --texture FILE",
) -> tuple[Recipe, Tensor, Encoder, PerceptualLoss]:
    """A checkpoint's recipe, its texture as the loss sees it, on the CPU, its perceptual network and its loss.

    without_it  the way out where the file does not hold its texture
    """
    recipe: Recipe = from_plain(Recipe, fields["recipe"])
    texture = _texture(path, fields.get("texture"), texture_path, recipe.style_size, without_it)
    encoder = place(load_recipe_encoder(recipe), torch.device(device))
    with_photos = fields["generator"]["options"].get("content", True)
    return recipe, texture, encoder, perceptual_loss(recipe, encoder, texture.to(device), with_photos)


def open_several(
    paths: Sequence[Path],
    texture_path: Path | None,
    device: torch.device | str,
    of_photos: bool = True,
    refine: int = 0,
) -> list[Judged]:
    """`open_judged` of each. Raises ValueError for several with one texture too."""
    if texture_path is not None and len(paths) > 1:
        raise ValueError("--texture is of one style; give one checkpoint with it")
    return [open_judged(path, texture_path, device, of_photos, refine) for path in paths]


def sample_loss(style: Judged) -> float:
    """Total loss of one pass, the mean over a few photos of `SAMPLE`: what later code is held to, see test_shipped.py.

    Raises ValueError where these photos are missing, as in an installation.
    """
    chosen = choose_photos(SAMPLE, SAMPLE_COUNT, SAMPLE_SIZE, say=lambda _: None)
    photos = [images.load_image(path, SAMPLE_SIZE) for path in chosen]
    return sum(style.terms(style.stylizer(photo), photo)["total"] for photo in photos) / len(photos)


def require_at_hand(path: Path) -> None:
    """Raises ValueError for a style whose perceptual network would be downloaded before it can be judged."""
    recipe: Recipe = from_plain(Recipe, checkpoint.load(path)["recipe"])
    if recipe.perceptual_weights is None and not weights_at_hand(recipe.perceptual):
        raise ValueError(
            f"{path} was trained with {recipe.perceptual}, whose weights are not on this machine; "
            f"`python -m texturenet.doctor` tells where they are looked for"
        )


def load_recipe_encoder(recipe: Recipe) -> Encoder:
    """The perceptual network that a recipe names. Raises ValueError where its weights can't be had."""
    return load_encoder(recipe.perceptual, recipe.perceptual_weights, recipe.perceptual_preprocess, recipe.pooling)


def encoder_key(encoder: Encoder) -> str:
    """Equal for networks that compute the same: by their layers and weights, wherever these came from."""
    pools = [str(layer) for layer in encoder.chain.values()]
    return fingerprint(encoder.preprocess, pools, *encoder.state_dict().values())


def _texture(path: Path, kept: Tensor | None, texture_path: Path | None, style_size: int, without_it: str) -> Tensor:
    if texture_path is not None:
        return images.load_image(texture_path, style_size)
    if kept is None or max(kept.shape[-2:]) != style_size:
        size = "none" if kept is None else f"one of {max(kept.shape[-2:])} px"
        raise ValueError(f"{path}: its loss saw a texture of {style_size} px and the file holds {size}; {without_it}")
    return kept.unsqueeze(0).float() / 255


def choose_photos(folder: Path, count: int, size: int, say: Callable[[str], None]) -> list[Path]:
    """The first `count` pictures below a folder, in natural order, that can be read and are judged at a longer side of
    `size` px; `say` gets a line for each other.

    Raises ValueError where there is none.
    """
    photos: list[Path] = []
    for path in find_images(folder):
        if len(photos) == count:
            break
        try:
            height, width = images.load_image(path, size).shape[-2:]
        except images.ImageError as error:
            say(f"left out: {error}")
            continue
        if min(height, width) < NARROWEST:
            say(f"left out: {path}: {width}x{height} px as it would be judged, and {NARROWEST} are the least")
        else:
            photos.append(path)
    if not photos:
        raise ValueError(f"{folder}: no picture in it that can be read; --photos names a folder of photos")
    if len(photos) < count:
        say(f"{len(photos)} photos in {folder}, {count} asked for")
    return photos


def labels(judged: Sequence[Judged], paths: Sequence[Path]) -> list[str]:
    """What each style is called in tables: its name, or its path where a name comes twice."""
    names = [style.name for style in judged]
    return [
        name if names.count(name) == 1 else str(path.with_suffix("")) for name, path in zip(names, paths, strict=True)
    ]
