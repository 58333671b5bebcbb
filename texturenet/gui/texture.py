"""The texture: which part of a picture, and how large its strokes are beside a photo.

What decides the strokes is `style_size`, the longer side in pixels at which the loss sees the texture, against crops of
photos of `image_size` pixels. The preview shows the two at the same scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

GALLERY = Path(__file__).resolve().parents[2] / "data" / "textures"
LONGEST = 2048  # px that a texture is kept at
STROKES = (96, 768)  # least and greatest style_size on offer, px
CROP_SIZE = 256  # px, of the photo's crops, in the preview


@dataclass(frozen=True)
class Crop:
    """A square part of a picture: its side as a share of the shorter side, and where it lies, 0 to 1 each."""

    share: float = 1.0
    across: float = 0.5
    down: float = 0.5

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in pixels."""
        if self.share >= 1:
            return (0, 0, width, height)  # all of it, whatever its shape
        side = max(16, round(min(width, height) * self.share))
        left, top = round((width - side) * self.across), round((height - side) * self.down)
        return (left, top, left + side, top + side)


def gallery() -> list[Path]:
    """The textures that ship; none in an installation without them."""
    return sorted(GALLERY.glob("*.jpg"))


def at_scale(texture: Image.Image, style_size: int, photo: Image.Image | None) -> Image.Image:
    """The texture as the loss sees it, beside a photo's crop as it sees that: two squares of CROP_SIZE px.

    A texture that is shown smaller than the crop is repeated, a larger one cut.
    """
    scale = style_size / max(texture.size)
    tile = texture.resize((max(1, round(texture.width * scale)), max(1, round(texture.height * scale))))
    square = Image.new("RGB", (CROP_SIZE, CROP_SIZE))
    for top in range(0, CROP_SIZE, tile.height):
        for left in range(0, CROP_SIZE, tile.width):
            square.paste(tile, (left, top))
    if photo is None:
        return square
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    crop = photo.resize((CROP_SIZE, CROP_SIZE), Image.Resampling.LANCZOS, (left, top, left + side, top + side))
    both = Image.new("RGB", (2 * CROP_SIZE, CROP_SIZE))
    both.paste(crop, (0, 0))
    both.paste(square, (CROP_SIZE, 0))
    return both
