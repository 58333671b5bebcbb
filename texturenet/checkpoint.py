"""Checkpoints: one file that holds a style whole, written so that a crash never costs the one before.

A checkpoint is a plain dict of tensors, strings and numbers, loaded with ``weights_only=True``: a file of a stranger
is data, never code. Its fields:

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
    training            optimizer state for resuming; absent from a file made for stylizing alone
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from texturenet.generators import GENERATORS, Generator

FORMAT = "texturenet"
VERSION = 1
_REQUIRED = ("name", "generator", "weights", "recipe", "perceptual", "step")


class CheckpointError(ValueError):
    """A file that is no checkpoint of ours, in one line that names it."""


def save(path: Path, **fields: Any) -> None:
    """Write a checkpoint whole or not at all: to a new file beside it, flushed to the disk, then renamed over it.

    Raises OSError naming the path; what was there before is then still there.
    """
    missing = [name for name in _REQUIRED if name not in fields]
    assert not missing, missing
    content = io.BytesIO()  # torch's own writer turns a full disk into an error that does not say so
    torch.save({"format": FORMAT, "version": VERSION, **_on_cpu(fields)}, content)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        kept = "; the checkpoint that was there is untouched" if path.exists() else ""
        raise OSError(f"can't write {path}: {error.strerror or error}{kept}") from error


def load(path: Path) -> dict[str, Any]:
    """A checkpoint's fields, tensors on the CPU. Raises CheckpointError saying what the file is instead."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}; train one with train.py, or check the path") from None
    except OSError as error:
        raise CheckpointError(f"can't read {path}: {error.strerror or error}") from None
    if not content.startswith(b"PK"):  # torch.save writes a zip archive; an older bare pickle is not even opened
        raise CheckpointError(f"{path} is not a checkpoint")
    try:
        fields = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} holds Python objects, not plain weights, and is not loaded: such a file can run code"
        ) from None
    except Exception:  # a damaged archive makes torch's reader raise nearly anything
        raise CheckpointError(f"{path} is damaged or cut short; use an earlier copy or train again") from None
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise CheckpointError(f"{path} is a file of weights, but of another program than texturenet")
    if fields.get("version") != VERSION:
        raise CheckpointError(f"{path} has format version {fields.get('version')}; this texturenet reads {VERSION}")
    if missing := [name for name in _REQUIRED if name not in fields]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}; it is damaged")
    return fields


def build_generator(fields: dict[str, Any]) -> Generator:
    """The generator of a loaded checkpoint, with its weights, in evaluation mode. Raises CheckpointError."""
    spec = fields["generator"]
    try:
        generator = GENERATORS[spec["name"]](**spec["options"])
        generator.load_state_dict(fields["weights"])
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
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
