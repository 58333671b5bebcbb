"""What a training run is made of: every input checked, every choice made, before the first step.

A run that would fail fails here, in its first seconds; what `prepare` returns can be trained.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from texturenet import checkpoint, data, images
from texturenet.config import Recipe, Run, from_plain
from texturenet.perceptual import Encoder, load_encoder

PREVIEW_PHOTOS = 3


@dataclass(frozen=True)
class Job:
    """What to train, resolved: every choice made, nothing opened for writing yet."""

    recipe: Recipe
    run: Run
    name: str
    texture: Tensor  # (1, 3, H, W)
    photos: Sequence[Path]  # empty: a texture alone
    preview_photos: Sequence[Path]
    encoder: Encoder
    device: torch.device
    resumed: dict[str, Any] | None  # fields of the checkpoint to go on from

    @property
    def path(self) -> Path:
        return self.run.checkpoint_dir / f"{self.name}.pt"

    @property
    def run_dir(self) -> Path:
        return self.run.run_dir / self.name

    @property
    def start_step(self) -> int:
        return self.resumed["step"] if self.resumed else 0


def prepare(
    recipe_given: dict[str, Any],
    run: Run,
    texture_path: Path,
    data_dir: Path | None,
    categories: Sequence[str],
    device: torch.device,
    resume: Path | str | None = None,
    say: Callable[[str], None] = print,
) -> Job:
    """Check every input before the first step, so that a run fails in its first seconds or not at all.

    recipe_given  the Recipe's fields that the user asked for; a resumed run takes the others from its checkpoint
    resume        a checkpoint, "auto" for the one of the run's name, or None
    say           receives one line for each choice that was made for the user
    Raises ValueError or OSError, one line.
    """
    texture_name = run.name or texture_path.stem
    resumed = None
    if resume is not None:
        resume_path = run.checkpoint_dir / f"{texture_name}.pt" if resume == "auto" else Path(resume)
        resumed = checkpoint.load(resume_path)
        if "training" not in resumed:
            raise ValueError(f"{resume_path} was made for stylizing alone and can't be resumed")
    recipe = _recipe(recipe_given, resumed)
    if resumed and resumed["step"] >= recipe.iterations:
        raise ValueError(f"{resume_path} has all its {resumed['step']} steps; ask for more with --iterations")

    for folder in (run.checkpoint_dir, run.run_dir):
        _require_writable(folder)
    texture = images.load_image(texture_path, recipe.style_size)
    if data_dir is None:
        say("no --data_dir: learning the texture alone, from noise")
        paths: list[Path] = []
    else:
        index = data.find_photos(data_dir, categories)
        paths = list(index.paths)
        for line in data.summary(index):
            say(line)
    held_out = paths[-PREVIEW_PHOTOS:] if len(paths) > 4 * PREVIEW_PHOTOS else []
    photos = paths[: len(paths) - len(held_out)]

    encoder = load_encoder(recipe.perceptual, recipe.perceptual_weights, recipe.perceptual_preprocess, recipe.pooling)
    say(f"perceptual network: {encoder.source}")
    recipe = replace(
        recipe,
        perceptual=encoder.name,
        width=recipe.width or {"pyramid": 8, "residual": 32}[recipe.generator],
        padding=recipe.padding or ("reflect" if paths else "circular"),
        style_layers=tuple(encoder.resolve(recipe.style_layers or encoder.style_layers)),
        content_layers=tuple(encoder.resolve(recipe.content_layers or encoder.content_layers)),
    )
    if resumed:
        _same_texture(resumed, texture)
        _same_photos(resumed, photos, say)
        name = resumed["name"]
    else:
        name = _free_name(texture_name, run, say)
    return Job(recipe, run, name, texture, photos, held_out or photos[:PREVIEW_PHOTOS], encoder, device, resumed)


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"can't write to {folder}: {error.strerror}; choose another folder") from None


def _recipe(asked: dict[str, Any], resumed: dict[str, Any] | None) -> Recipe:
    if resumed is None:
        return Recipe(**asked)
    before = from_plain(Recipe, resumed["recipe"])
    changed = [name for name, value in asked.items() if name != "iterations" and getattr(before, name) != value]
    if changed:
        fields = ", ".join(f"{name} ({getattr(before, name)} before, {asked[name]} now)" for name in changed)
        raise ValueError(f"can't resume with another recipe: {fields}; leave these flags out, or start a new run")
    again: Recipe = replace(before, **asked)
    return again


def fingerprint(photos: Sequence[Path]) -> dict[str, Any]:
    """What a checkpoint remembers of its photos: how many, and a hash of their names in order."""
    names = "\n".join(path.name for path in photos)
    return {"count": len(photos), "fingerprint": hashlib.sha256(names.encode()).hexdigest()[:16]}


def texture_pixels(texture: Tensor) -> Tensor:
    """The texture as a checkpoint keeps it: (1, 3, H, W) in [0, 1] -> uint8 (3, H, W)."""
    return texture[0].mul(255).round().to(torch.uint8)


def _same_texture(resumed: dict[str, Any], texture: Tensor) -> None:
    if not torch.equal(resumed["texture"], texture_pixels(texture)):
        raise ValueError(f"can't resume: {resumed['name']!r} learned another texture; name that one with --texture")


def _same_photos(resumed: dict[str, Any], photos: Sequence[Path], say: Callable[[str], None]) -> None:
    before, now = resumed["photos"], fingerprint(photos)
    if (before["count"] == 0) != (now["count"] == 0):
        then = "a texture alone" if before["count"] == 0 else "photos (--data_dir)"
        raise ValueError(f"can't resume: {resumed['name']!r} was trained on {then}")
    if before != now:
        say(f"other photos than before ({before['count']} then, {now['count']} now): not exactly the same run any more")


def _free_name(name: str, run: Run, say: Callable[[str], None]) -> str:
    """The name itself if the user chose it, else the first that overwrites no checkpoint."""
    taken = run.checkpoint_dir / f"{name}.pt"
    if not taken.exists():
        return name
    if run.name is not None:
        raise ValueError(f"{taken} exists; go on with it (--resume), or give another --name")
    number = next(n for n in range(2, sys.maxsize) if not (run.checkpoint_dir / f"{name}-{n}.pt").exists())
    say(f"{taken} exists and is kept: this run is called {name}-{number} (--resume goes on with an earlier one)")
    return f"{name}-{number}"
