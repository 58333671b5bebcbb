"""The iterative method from files to files: what `stylize.py --method gatys` calls.

Beside PICTURE it leaves what a later reader needs: PICTURE.jsonl, whose first row is the resolved recipe and the source
of the network's weights and whose others are the losses, PICTURE-losses.png, and snapshots in PICTURE-steps/.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from texturenet import codec, files, images
from texturenet.config import to_plain
from texturenet.devices import place
from texturenet.folders import VIDEO_SUFFIXES
from texturenet.gatys import SIZE, Interrupted, Iterate, fitting, paint, pyramid_sizes, start_image
from texturenet.losses import layer_weights
from texturenet.perceptual import Encoder, load_encoder
from texturenet.presets import GatysRecipe, gatys_recipe, on_lite

TERMS = ("total", "style", "content", "tv")  # shown on the bar and in the plot


class Reference:
    """One texture and one recipe, for any number of photos.

    preset  a key of PRESETS, or None
    typed   the recipe's fields that the user asked for; they replace the preset's
    say     receives one line for each choice that was made for the user
    Raises ValueError or OSError, one line.
    """

    def __init__(
        self,
        preset: str | None,
        typed: dict[str, Any],
        texture_path: Path,
        device: torch.device,
        say: Callable[[str], None] = print,
    ) -> None:
        recipe = gatys_recipe(preset, typed)
        if (frames := images.frame_count(texture_path)) > 1:  # a misspelt name fails before a network is looked for
            say(f"{texture_path}: the first of its {frames} frames is taken")
        encoder = load_encoder(
            recipe.perceptual, recipe.perceptual_weights, recipe.perceptual_preprocess, recipe.pooling
        )
        say(f"perceptual network: {encoder.source}")
        instead = on_lite(preset, typed, recipe, say) if encoder.name == "lite" else {}
        self.recipe = _resolved(replace(recipe, **instead), encoder)
        # A contradiction is the flags', and no photo's.
        layer_weights("style", self.recipe.style_layers or (), self.recipe.style_weights)
        layer_weights("content", self.recipe.content_layers or (), self.recipe.content_weights)
        self.preset, self.instead = preset, instead
        self.encoder, self.texture_path, self.device, self.say = place(encoder, device), texture_path, device, say
        self._results: dict[Path, Path] = {}  # by their logs

    def __call__(
        self, photo_path: Path | None, target: Path, size: int | tuple[int, int] | None = None, quality: int = 95
    ) -> list[Path]:
        """Paint one picture into `target`; the files that were written, the picture first.

        photo_path  None: the texture alone
        size        longer side of the result, px, or (h, w) without a photo; default `SIZE`
        Raises ValueError, where a.jpg's log would replace that of this object's a.png too.
        On Ctrl-C the best picture so far is saved beside it as NAME-stopped, so that nobody takes it for a finished one
        and a result of before stays, and KeyboardInterrupt raised.
        """
        if photo_path is not None and photo_path.suffix.lower() in VIDEO_SUFFIXES:
            raise ValueError(f"{photo_path}: the reference takes pictures, and this is a video; a style (--model) does")
        codec.format_of(target)
        log = target.with_suffix(".jsonl")
        if (other := self._results.get(log, target)) != target:
            raise ValueError(f"{target}: its log would replace that of {other}; paint them into two folders")
        if not _is_ours(log):
            raise ValueError(f"{target}: its log would replace {log}, which is no log of a picture; choose another -o")
        size = size or SIZE
        longer = size if isinstance(size, int) else max(size)
        photo = None if photo_path is None else self._photo(photo_path, longer)
        full = (longer, longer) if isinstance(size, int) else size
        if photo is not None:
            full = (photo.shape[-2], photo.shape[-1])
        texture = images.load_image(self.texture_path, self.recipe.style_size or max(full)).to(self.device)
        recipe = replace(self.recipe, init=self.recipe.init or ("noise" if photo is None else "content"))
        if recipe.describe_layers:
            self._describe(photo, texture)
        header = {
            "preset": self.preset,
            "on_lite": sorted(self.instead),  # fields whose values are not the preset's own
            "recipe": to_plain(recipe) | recipe.options,
            "encoder": self.encoder.source,
            "photo": photo_path and str(photo_path),
            "texture": str(self.texture_path),
            "size": list(full),
        }
        start_image(recipe, photo, texture, full)  # an impossible start fails before a file is opened
        pyramid_sizes(full, recipe.pyramid)
        lock = target.with_name(f".{log.name}.lock")
        with (
            files.claimed(lock, f"{target}: another run is painting it; wait for that one, or choose another -o"),
            Trace(target, header, recipe, quality) as trace,
        ):
            try:
                picture = paint(photo, texture, self.encoder, recipe, trace, full)
            except KeyboardInterrupt as stop:
                if not isinstance(stop, Interrupted) or not trace.begun:
                    trace.bar.write("stopped before the first iteration; nothing is kept")
                    raise
                stopped = files.stopped_beside(target)
                images.save_image(stop.image, stopped, quality)
                trace.keep(stopped.with_suffix(".jsonl"))
                trace.bar.write(f"stopped; the best picture so far is in {stopped}")
                raise
            images.save_image(picture, target, quality)
            self._results[log] = target
            return [target, *trace.keep(log), *trace.plot()]

    def _photo(self, path: Path, longer: int) -> Tensor:
        """(1, 3, H, W) on the device; says what of the file does not come along."""
        with codec.opened(path) as header:
            left = [f"{frames - 1} more frames"] if (frames := getattr(header, "n_frames", 1)) > 1 else []
            left += ["its transparency"] * header.has_transparency_data
        if left:
            self.say(f"{path}: {' and '.join(left)} left out; a trained style (--model) keeps them")
        return images.load_image(path, longer).to(self.device)

    @torch.no_grad()
    def _describe(self, photo: Tensor | None, texture: Tensor) -> None:
        """What the layers hold, as TensorFlow's tutorial prints it."""
        for role, image, layers in (
            ("style", texture, self.recipe.style_layers),
            ("content", photo, self.recipe.content_layers),
        ):
            if image is None or layers is None:
                continue
            with fitting(image):
                found = self.encoder(image, layers)
            for layer, features in found.items():
                low, high, mean = features.min().item(), features.max().item(), features.mean().item()
                shape = tuple(features.shape)
                self.say(f"{role} {layer}: shape {shape}, min {low:.4g}, max {high:.4g}, mean {mean:.4g}")


def _resolved(recipe: GatysRecipe, encoder: Encoder) -> GatysRecipe:
    """The recipe with every choice about the network made."""
    return replace(
        recipe,
        perceptual=encoder.name,
        style_layers=tuple(encoder.resolve(recipe.style_layers or encoder.style_layers)),
        content_layers=tuple(encoder.resolve(recipe.content_layers or encoder.content_layers)),
    )


def _is_ours(log: Path) -> bool:
    """Whether a file may be replaced by a log: there is none, or it is one."""
    try:
        with log.open(encoding="utf-8") as rows:
            return "recipe" in json.loads(rows.readline(1_000_000))
    except FileNotFoundError:
        return True
    except (OSError, ValueError, TypeError):
        return False


def _line(row: dict[str, Any]) -> bytes:
    return f"{json.dumps(row)}\n".encode()


class Trace:
    """What a run shows and leaves: a bar with an ETA, printed totals, PICTURE.jsonl, snapshots in PICTURE-steps/.

    target  the picture
    header  the first row of the log: recipe, encoder, inputs
    The log is PICTURE.jsonl.part until `keep` gives it its name. What of all this a full disk refuses is told, and
    costs no picture.
    """

    def __init__(self, target: Path, header: dict[str, Any], recipe: GatysRecipe, quality: int) -> None:
        from tqdm import tqdm

        self.target, self.header, self.recipe, self.quality = target, header, recipe, quality
        self.part = target.with_suffix(".jsonl.part")
        self.file = self.part.open("wb", buffering=0)  # a run that is killed keeps its losses
        self.rows: list[dict[str, Any]] = []
        self._whole = True  # whether the file has them all, and the header
        self._write(header)
        self.started = time.monotonic()
        self.bar = tqdm(total=recipe.iterations * recipe.pyramid, unit="it", dynamic_ncols=True)

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.bar.close()
        self.file.close()
        if error and not self.begun:
            self.part.unlink(missing_ok=True)

    @property
    def begun(self) -> bool:
        """Whether there is more than the picture that it starts from."""
        return any(row["iteration"] for row in self.rows)

    def __call__(self, iterate: Iterate) -> None:
        number, losses = iterate.iteration, iterate.losses
        row = {
            "iteration": number,
            "seconds": round(time.monotonic() - self.started, 3),
            "size": list(iterate.image.shape[-2:]),
            "losses": losses,
        }
        self.rows.append(row)
        self._write(row)
        self.bar.update(number - self.bar.n)
        self.bar.set_postfix_str(" ".join(f"{name} {losses[name]:.4g}" for name in TERMS), refresh=False)
        if self.recipe.print_every and number % self.recipe.print_every == 0:
            self.bar.write(f"iteration {number}: total {losses['total']:.6g}")
        if self.recipe.save_every and number and number % self.recipe.save_every == 0:
            snapshot = files.steps_beside(self.target) / f"{number:05d}{self.target.suffix}"
            try:
                images.save_image(iterate.image, snapshot, self.quality)
            except OSError as error:  # a snapshot is not worth a run
                self.bar.write(f"no snapshot: {error}", file=sys.stderr)

    def _write(self, row: dict[str, Any]) -> None:
        line = _line(row)
        try:
            self._whole &= self.file.write(line) == len(line)
        except OSError:
            self._whole = False

    def keep(self, path: Path) -> list[Path]:
        """The log as `path`; where the disk had refused some rows all are written again, or told to be missing."""
        self.file.close()  # Windows renames no open file
        try:
            if self._whole:
                self.part.replace(path)
            else:
                files.write_whole(path, b"".join(map(_line, [self.header, *self.rows])))
                self.part.unlink()
        except OSError as error:
            self.bar.write(f"no log of losses: {error}", file=sys.stderr)
            return []
        return [path]

    def plot(self) -> list[Path]:
        """The terms over the iterations as PICTURE-losses.png; none where the disk refuses it."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4), layout="constrained")
        axes = figure.add_subplot()
        for name in TERMS:
            if any(row["losses"][name] > 0 for row in self.rows):
                axes.plot(
                    [row["iteration"] for row in self.rows], [row["losses"][name] for row in self.rows], label=name
                )
        axes.set(xlabel="iteration", ylabel="loss, weighted")
        if axes.lines:
            axes.set_yscale("log")
            axes.legend()
        path, content = files.losses_beside(self.target), io.BytesIO()
        figure.savefig(content, dpi=100)
        try:
            files.write_whole(path, content.getbuffer())
        except OSError as error:
            self.bar.write(f"no plot of losses: {error}", file=sys.stderr)
            return []
        return [path]
