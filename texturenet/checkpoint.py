"""Checkpoints: one file that holds a style whole, written so that a crash never costs the one before.

A checkpoint is a plain dict of tensors, strings and numbers, read through `torchfile`: a file of a stranger is data,
never code. Its fields:

    format, version     "texturenet", 1
    name                of the style
    generator           {"name": key of GENERATORS, "options": its keyword arguments}
    weights             the generator's state dict, float32
    recipe              the Recipe that made it, plain
    perceptual          {"name", "source"} of the network that judged it
    texture             the texture as the loss saw it, uint8 (3, H, W)
    photos              {"count", "fingerprint"} of what it was trained on; count 0 for a texture alone
    step                optimizer steps taken
    losses              {term: last logged value}
    converted_from      {"file", "sha256"} of another program's weights; its training is unknown, and its step 0
    started_from        {"name", "step", "sha256"} of the checkpoint whose weights were begun with; absent if drawn
    changes             [{"step", "fields": {name: [before, now]}}] of a recipe that was changed on the way
    training            for resuming: optimizer and scaler states, factor of the learning rate, smoothed and least loss;
                        absent from a file made for stylizing alone
    quality             {figure: number} that `evaluate matched --record` found; absent before
    sample_loss         total loss of a style that ships, which tests hold later code to, see `judging.sample_loss`
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from texturenet import torchfile
from texturenet.config import MOST_NOISE
from texturenet.files import is_plain_name
from texturenet.generators import GENERATORS, Generator

FORMAT = "texturenet"
VERSION = 1
_REQUIRED = ("name", "generator", "weights", "recipe", "perceptual", "step")


def _is_plain(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(item is None or isinstance(item, str | int | float) for item in items)


# What each field of a file has to be before anybody works with it.
_HOLDS: dict[str, Callable[[Any], bool]] = {
    "name": lambda name: isinstance(name, str),
    "generator": lambda spec: (
        isinstance(spec, dict) and isinstance(spec.get("name"), str) and isinstance(spec.get("options"), dict)
    ),
    "weights": lambda weights: isinstance(weights, dict),
    "recipe": lambda recipe: (
        isinstance(recipe, dict)
        and all(isinstance(key, str) and _is_plain(value) for key, value in recipe.items())
        and isinstance(recipe.get("noise_factor"), int | float)
        and abs(recipe["noise_factor"]) < MOST_NOISE
    ),
    "perceptual": lambda network: (
        isinstance(network, dict) and isinstance(network.get("name"), str) and isinstance(network.get("source"), str)
    ),
    "step": lambda step: type(step) is int and 0 <= step < 2**63,
    "quality": lambda quality: (
        isinstance(quality, dict)
        and all(isinstance(key, str) and isinstance(value, int | float) for key, value in quality.items())
    ),
    "sample_loss": lambda loss: isinstance(loss, float),
    "photos": lambda photos: isinstance(photos, dict) and type(photos.get("count")) is int,
    "texture": lambda texture: (
        isinstance(texture, torch.Tensor)
        and texture.dtype == torch.uint8
        and texture.shape[:1] == (3,)
        and texture.ndim == 3
    ),
    "losses": lambda losses: isinstance(losses, dict),
    "changes": lambda changes: isinstance(changes, list),
    "training": lambda training: isinstance(training, dict),
    "started_from": lambda start: isinstance(start, dict),
}
WORDS = {"normalization", "padding", "upsampling"}  # the generator's options that are no numbers
# What a file may ask of a generator: sizes are claims until its weights have been seen to fit.
RANGES = {"scales": (1, 12), "width": (1, 1024), "blocks": (0, 64), "noise_channels": (0, 64), "noise_scales": (0, 12)}


def out_of_range(options: dict[str, Any]) -> str | None:
    """What is wrong with a generator's numbers, None standing for a default, in words; None: nothing."""
    for option, value in options.items():
        least, most = RANGES.get(option, (0, 1))
        if value is not None and not least <= value <= most:
            return f"{option} {value:g} is not between {least} and {most}"
    return None


class CheckpointError(ValueError):
    """A file that is no checkpoint of ours, in one line that names it."""


def save(path: Path, **fields: Any) -> None:
    """Write a checkpoint whole or not at all, see `files.write_whole`.

    Raises OSError naming the path; what was there before is then still there.
    """
    missing = [name for name in _REQUIRED if name not in fields]
    assert not missing, missing
    try:
        torchfile.write(path, _on_cpu(fields) | {"format": FORMAT, "version": VERSION})
    except OSError as error:
        raise OSError(f"{error}{'; the checkpoint that was there is untouched' if path.exists() else ''}") from error


def load(path: Path) -> dict[str, Any]:
    """A checkpoint's fields, tensors on the CPU. Raises CheckpointError saying what the file is instead."""
    try:
        with path.open("rb") as file:
            magic = file.read(2)
        if magic != b"PK":  # torch.save writes a zip archive; an older bare pickle is not even opened
            raise CheckpointError(f"{path} is not a checkpoint")
        fields = torchfile.read(path)
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}; train one with train.py, or check the path") from None
    except OSError as error:
        raise CheckpointError(f"can't read {path}: {error.strerror or error}") from None
    except torchfile.ObjectsError as error:
        raise CheckpointError(f"{path} holds {error} and is not loaded: such a file can run code") from None
    except CheckpointError:
        raise
    except ValueError:
        raise CheckpointError(f"{path} is damaged or cut short; use an earlier copy or train again") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("format"), str) or fields["format"] != FORMAT:
        raise CheckpointError(f"{path} is a file of weights, but of another program than texturenet")
    version = fields.get("version")
    if type(version) is not int or not 0 < version < 10**6:
        raise CheckpointError(f"{path} has no format version; it is damaged")
    if version != VERSION:
        raise CheckpointError(f"{path} has format version {version}; this texturenet reads {VERSION}")
    if missing := [name for name in _REQUIRED if name not in fields]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}; it is damaged")
    if wrong := [name for name, holds in _HOLDS.items() if name in fields and not holds(fields[name])]:
        raise CheckpointError(f"{path} has something else than expected as its {', '.join(wrong)}; it is damaged")
    if not is_plain_name(fields["name"]):  # results and checkpoints are called after it
        raise CheckpointError(f"{path} calls its style {fields['name'][:40]!r}, which is no name for a file")
    return fields


def record(path: Path, quality: dict[str, float], sample_loss: float | None, resumable: bool = True) -> None:
    """Write figures into a checkpoint. Not resumable: without what only resuming needs, as styles ship."""
    without = {"sample_loss"} if resumable else {"sample_loss", "training"}
    kept = {name: value for name, value in load(path).items() if name not in without}
    found = {"quality": quality} | ({} if sample_loss is None else {"sample_loss": sample_loss})
    save(path, **kept | found)


def build_generator(fields: dict[str, Any]) -> Generator:
    """The generator of a loaded checkpoint, with its weights, in evaluation mode. Raises CheckpointError."""
    spec = fields["generator"]
    try:
        options = spec["options"]
        for option in WORDS & options.keys():
            if not isinstance(options[option], str):
                raise ValueError(f"its {option} is no name")
        numbers = {option: value for option, value in options.items() if option not in WORDS}
        if trouble := out_of_range(numbers):
            raise ValueError(f"its {trouble}")
        with torch.device("meta"):  # sizes are claims until weights of these sizes have been loaded
            generator = GENERATORS[spec["name"]](**spec["options"])
        # Not to_empty and a copy: on "meta" that loads torch's compiler, half a second.
        generator.load_state_dict({name: weight.float() for name, weight in fields["weights"].items()}, assign=True)
    except (KeyError, TypeError, RuntimeError, ValueError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"the checkpoint {fields['name']!r} does not fit its own generator: {reason}") from None
    return generator.eval()


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu").contiguous()
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_on_cpu(item) for item in value]
    return value
