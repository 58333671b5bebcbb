"""Trained styles from files to files: what `stylize.py --model` calls."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from texturenet import blending, codec, files, folders, images, pictures, reports, styles, video
from texturenet.config import to_plain
from texturenet.look import Look
from texturenet.segments import Segments
from texturenet.stylizer import Kind, Stylizer

if TYPE_CHECKING:
    from texturenet.refining import Refiner

SHEET_SIZE = 480  # longer side of a picture on a sheet of styles, px, unless --size says otherwise
SHEET_COLUMNS = 4
# Pixels that are read ahead at most, of all frames, with their masks and the other pictures of a sheet: 24 MP cameras'.
AHEAD_PIXELS = 25_000_000
# Bytes that reading the next photo and writing the painting before take together, for each of them: measured 17 with
# JPEG, 33 with PNG and transparency.
_AHEAD_BYTES = 33


@dataclass(frozen=True)
class Photo:
    """What a painter reads of a file."""

    picture: pictures.Picture
    mask: Tensor | None  # where to paint, (1, 1, h, w), 1 where the first style shows; None: everywhere


@dataclass(frozen=True)
class Painting:
    """What a painter makes of it."""

    picture: pictures.Picture
    stopped: bool = False  # whether Ctrl-C came while it was refined


class Painter:
    """One look of one style, or of several, for any number of files.

    models      paths or names of styles: one; two with a mask (inside, outside); any number for a sheet, all if none
    seed        of the noise, the same for every picture and every frame
    max_memory  bytes, as of a Stylizer
    precision   as of a Stylizer
    Raises ValueError or OSError, one line.
    """

    def __init__(
        self,
        models: Sequence[str | Path],
        look: Look,
        seed: int = 0,
        device: torch.device | str = "cpu",
        max_memory: int | None = None,
        precision: str = "auto",
    ) -> None:
        if look.grid and not models:
            models = styles.for_photos(partial(print, file=sys.stderr))
        if not models:
            raise ValueError("no style ships with this installation; name some with --model FILE")
        if len(models) != 1 and not look.grid and not (look.masked and len(models) == 2):
            raise ValueError(
                f"{len(models)} styles for one painting: give --grid for a sheet of them, or --mask and two, "
                "inside and outside"
            )
        self.look, self.seed = look, seed
        self._files = [styles.find(model) if isinstance(model, str) else model for model in models]
        self._refiners = (
            [_refiner(file, look.refine, device, max_memory) for file in self._files] if look.refine else []
        )
        finishes = list(map(self._unless_stopped, self._refiners)) if self._refiners else [None] * len(models)
        self.styles = [
            Stylizer(file, device, max_memory=max_memory, precision=precision, finish=finish)
            for file, finish in zip(self._files, finishes, strict=True)
        ]
        categories = [name.strip() for name in (look.segments_category or "").split(",")]
        self.segments = Segments(look.segments, categories) if look.segments else None
        self._masks = _by_stem(look.mask) if look.mask and look.mask.is_dir() else None
        most = AHEAD_PIXELS
        if max_memory is not None and torch.device(device).type == "cpu":  # what waits takes a tenth of it at most
            most = min(most, max_memory // (10 * _AHEAD_BYTES))
        pictures_shown = 1 + len(self.styles) if look.grid else 2 if look.compare else 1
        self._ahead_pixels = most // (pictures_shown + look.masked)

    @property
    def name(self) -> str:
        """What results are called after."""
        if self.look.grid:
            return "grid"
        return "+".join(style.name for style in self.styles) + ("-compare" if self.look.compare else "")

    @property
    def paints_photos(self) -> bool:
        """Whether it takes photos. Raises ValueError where one style does and another makes a texture."""
        kinds = {style.paints_photos for style in self.styles}
        if len(kinds) > 1:
            textures = [style.name for style in self.styles if not style.paints_photos]
            raise ValueError(f"{', '.join(textures)} makes a texture and takes no photo; leave it out")
        return kinds.pop()

    def texture(self, target: Path, height: int, width: int, quality: int = 95) -> Path:
        """The style's texture itself, of height x width px, into `target`; says so if it will not tile."""
        codec.require_pixels("--size", (height, width))
        codec.require_length(target, (height, width))  # before the work, not after it
        style = self.styles[0]
        _, made_height, made_width = style.generator.noise_shapes(height, width)[0]
        if style.recipe.get("padding") == "circular" and (made_height, made_width) != (height, width):
            print(
                f"{width}x{height} px: cut from {made_width}x{made_height}, so it does not go on at its own edges; "
                "a picture of that size does",
                file=sys.stderr,
            )
        images.save_image(style.synthesize(height, width, self.seed, self.look.noise_factor), target, quality)
        return target

    def __call__(self, source: Path, target: Path, size: int | None = None, quality: int = 95) -> Path:
        """Paint a picture, every frame of it, into `target`; EXIF, profile and transparency come along.

        size  longer side of the result, or of each picture on a sheet, px; None: as the picture
        On Ctrl-C while it is refined, what that has come to is saved beside it as NAME-stopped, and KeyboardInterrupt
        raised.
        """
        if _is_video(source, target):
            if self.look.grid or self.look.compare:
                raise ValueError(f"{source}: --grid and --compare make pictures, and this is a video; leave it out")
            self._require_no_refining(source)
            mask = self._mask(source)
            on_device = self.styles[0].device.type != "cpu"
            video.stylize(
                lambda frame: self._paint(frame, mask),
                source,
                target,
                size=size,
                quality=quality,
                side_by_side=on_device,
                painter=self._identity(mask),
            )
            return target
        photo = self.read(source, size)
        self._require_room(photo, target)
        return self.write(self.paint(photo), target, quality)

    def steps(self, size: int | None = None, quality: int = 95) -> folders.Steps[Photo, Painting]:
        """The same for a run over many files, which reads ahead what memory surely holds beside two others."""

        def read(source: Path, target: Path) -> Photo:
            if _is_video(source, target):
                raise ValueError(f"{source}: a video is read while it is painted")
            if size and size * size > self._ahead_pixels:
                raise ValueError(f"{source}: {size} px are too many to wait in memory")
            photo = self.read(source, size, max_pixels=self._ahead_pixels)
            self._require_room(photo, target)
            return photo

        def write(painting: Painting, target: Path) -> str:
            return str(self.write(painting, target, quality))

        return folders.Steps(read, self.paint, write)

    def read(self, source: Path, size: int | None = None, **limit: int) -> Photo:
        """A picture and its mask. `limit`: max_pixels of either, as of `pictures.load_picture`."""
        if self.look.grid:
            size = size or SHEET_SIZE
        picture = pictures.load_picture(source, size, **limit)
        if len(picture.frames) > 1:
            self._require_no_refining(source)
        return Photo(picture, self._mask(source, **limit))

    def paint(self, photo: Photo) -> Painting:
        """The painting, every frame of it. Raises KeyboardInterrupt where the one before was stopped."""
        if self._stopped:
            raise KeyboardInterrupt
        picture = photo.picture
        if self.look.grid or self.look.compare:
            picture = picture.over_white()  # transparency fits one picture, not a sheet of them
        frames = [self._frame(frame, photo.mask) for frame in picture.frames]
        return Painting(picture.with_frames(frames), self._stopped)

    def write(self, painting: Painting, target: Path, quality: int = 95) -> Path:
        """Into `target`, whole or not at all; what was stopped, beside it, and KeyboardInterrupt is raised."""
        if painting.stopped:
            target = files.stopped_beside(target)
        pictures.save_picture(painting.picture, target, quality)
        if painting.stopped:
            print(f"stopped; refined as far as it came: {target}", file=sys.stderr)
            raise KeyboardInterrupt
        return target

    def _require_room(self, photo: Photo, target: Path) -> None:
        """Raises ImageError for a result that its format can't hold, before it is painted; sheets are told after it."""
        width, height = photo.picture.frames[0].size
        codec.require_length(target, (height, 2 * width if self.look.compare else width))

    def _frame(self, frame: Image.Image, mask: Tensor | None) -> Image.Image:
        """A frame of a picture; one style takes it in 8 bits, so that a huge one is never a tensor as a whole."""
        if len(self.styles) == 1 and not (self.look.grid or self.look.compare):
            return self._in(self.styles[0], frame, mask)
        return images.to_pil(self._paint(images.to_tensor(frame), mask))

    def _paint(self, photo: Tensor, mask: Tensor | None) -> Tensor:
        """One frame (1, 3, H, W) -> the painting, or a sheet with it."""
        if self.look.grid:
            tiles = [("photo", photo)] + [(style.name, self._in(style, photo)) for style in self.styles]
            rows = [tiles[i : i + SHEET_COLUMNS] for i in range(0, len(tiles), SHEET_COLUMNS)]
            return reports.titled_sheet(rows, max(photo.shape[-2:]))
        if mask is not None and len(self.styles) == 2:
            inside, outside = self.styles
            painting = blending.within(mask, self._in(inside, photo), self._in(outside, photo))
        else:
            painting = self._in(self.styles[0], photo, mask)
        return images.sheet([[photo, painting]]) if self.look.compare else painting

    def _in(self, style: Stylizer, photo: Kind, mask: Tensor | None = None) -> Kind:
        """One frame in one style."""
        look = self.look
        return style(
            photo,
            self.seed,
            look.noise_factor,
            strength=look.strength,
            preserve_color=look.preserve_color,
            work_size=look.work_size,
            mask=mask,
        )

    @property
    def _stopped(self) -> bool:
        """Whether Ctrl-C came while a painting was refined."""
        return any(refiner.stopped for refiner in self._refiners)

    def _identity(self, mask: Tensor | None) -> str:
        """What makes this painter's frames others than those of another, in one line."""
        marked = mask is not None and hashlib.sha256(mask.numpy().tobytes()).hexdigest()
        return json.dumps([list(map(files.sha256, self._files)), self.seed, to_plain(self.look), marked])

    def _unless_stopped(self, refiner: Refiner) -> Callable[[Tensor, Tensor], Tensor]:
        """The refiner; a painting as it is from then on, of the other styles of a sheet."""
        return lambda photo, painting: painting if self._stopped else refiner(photo, painting)

    def _require_no_refining(self, source: Path) -> None:
        if self.look.refine:
            raise ValueError(f"{source} has frames, and each refined by itself they would flicker; leave out --refine")

    def _mask(self, source: Path, **limit: int) -> Tensor | None:
        """Where to paint this picture, as in `Photo`."""
        if self.segments:
            mask = self.segments.mask(source)
        elif self.look.mask:
            mask = _marked(self._mask_file(source), **limit)
        else:
            return None
        if not mask.any():
            print(f"{source}: nothing is marked in {self.look.mask or self.look.segments}", file=sys.stderr)
        return 1 - mask if self.look.mask_invert else mask

    def _mask_file(self, source: Path) -> Path:
        """The mask itself, or in a folder of masks the one that is called as the picture."""
        mask = self.look.mask
        assert mask is not None
        if self._masks is None:
            return mask
        found = self._masks.get(source.stem, [])
        if len(found) > 1:
            names = " and ".join(map(str, found))
            raise ValueError(f"{source}: {names} are both called so; leave one of them in {mask}")
        if not found:
            raise ValueError(f"{source}: no mask of that name in {mask}: add {source.stem}.png")
        return found[0]


def _refiner(file: Path, iterations: int, device: torch.device | str, max_memory: int | None) -> Refiner:
    """What goes on from a style's paintings."""
    from texturenet import judging  # all that trains a style comes with it

    return judging.refiner(file, iterations, device, max_memory)


def _is_video(source: Path, target: Path) -> bool:
    return not {source.suffix.lower(), target.suffix.lower()}.isdisjoint(folders.VIDEO_SUFFIXES)


def _marked(path: Path, **limit: int) -> Tensor:
    """What a file marks."""
    picture = pictures.load_picture(path, **limit)
    alpha = None if picture.alphas is None else picture.alphas[0]
    return images.to_mask(picture.frames[0], alpha, lambda line: print(f"{path}: {line}", file=sys.stderr))


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """The pictures below a folder by what they are called."""
    found: dict[str, list[Path]] = {}
    for path in files.find_images(folder):
        found.setdefault(path.stem, []).append(path)
    return found
