"""Trained styles from files to files: what `stylize.py --model` calls."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from texturenet import blending, files, folders, images, pictures, reports, styles, video
from texturenet.look import Look
from texturenet.segments import Segments
from texturenet.stylizer import Kind, Stylizer

SHEET_SIZE = 480  # longer side of a picture on a sheet of styles, px, unless --size says otherwise
SHEET_COLUMNS = 4


class Painter:
    """One look of one style, or of several, for any number of files.

    models      paths or names of styles: one; two with a mask (inside, outside); any number for a sheet, all if none
    seed        of the noise, the same for every picture and every frame
    max_memory  bytes, as of a Stylizer
    Raises ValueError or OSError, one line.
    """

    def __init__(
        self,
        models: Sequence[str | Path],
        look: Look,
        seed: int = 0,
        device: torch.device | str = "cpu",
        max_memory: int | None = None,
    ) -> None:
        if look.grid and not models:
            models = styles.shipped()
        if not models:
            raise ValueError("no style ships with this installation; name some with --model FILE")
        if len(models) != 1 and not look.grid and not (look.masked and len(models) == 2):
            raise ValueError(
                f"{len(models)} styles for one painting: give --grid for a sheet of them, or --mask and two, "
                "inside and outside"
            )
        self.styles = [Stylizer(model, device, max_memory=max_memory) for model in models]
        self.look, self.seed = look, seed
        categories = (look.segments_category or "").split(",")
        self.segments = Segments(look.segments, categories) if look.segments else None

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
        """The style's texture itself, of height x width px, into `target`."""
        images.save_image(self.styles[0].synthesize(height, width, self.seed, self.look.noise_factor), target, quality)
        return target

    def __call__(self, source: Path, target: Path, size: int | None = None, quality: int = 95) -> Path:
        """Paint a picture, every frame of it, into `target`; EXIF, profile and transparency come along.

        size  longer side of the result, or of each picture on a sheet, px; None: as the picture
        """
        if self.look.grid:
            size = size or SHEET_SIZE
        mask = self._mask(source)
        if {source.suffix.lower(), target.suffix.lower()} & folders.VIDEO_SUFFIXES:
            if self.look.grid or self.look.compare:
                raise ValueError(f"{source}: --grid and --compare make pictures, and this is a video; leave it out")
            video.stylize(lambda frame: self._paint(frame, mask), source, target, size=size, quality=quality)
            return target
        picture = pictures.load_picture(source, size)
        frames = [self._frame(frame, mask) for frame in picture.frames]
        if self.look.grid or self.look.compare:
            picture = replace(picture, alphas=None)  # it fits one picture, not a sheet of them
        pictures.save_picture(picture.with_frames(frames), target, quality)
        return target

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

    def _mask(self, source: Path) -> Tensor | None:
        """Where to paint this picture, (1, 1, h, w), 1 where the first style shows; None: everywhere."""
        if self.segments:
            mask = self.segments.mask(source)
        elif self.look.mask:
            grey = images.open_image(_mask_file(self.look.mask, source)).convert("L")
            mask = images.to_tensor(grey)[:, :1]
        else:
            return None
        if not mask.any():
            print(f"{source}: nothing is marked in {self.look.mask or self.look.segments}", file=sys.stderr)
        return 1 - mask if self.look.mask_invert else mask


def _mask_file(mask: Path, source: Path) -> Path:
    """The mask itself, or in a folder of masks the one that is called as the picture."""
    if not mask.is_dir():
        return mask
    for path in files.find_images(mask):
        if path.stem == source.stem:
            return path
    raise ValueError(f"{source}: no mask of that name in {mask}: add {source.stem}.png")
