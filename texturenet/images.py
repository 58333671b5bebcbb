"""The only door between picture files and tensors.

A file may be turned by EXIF, transparent, grey, CMYK, 16 bits deep, in another colour space, animated, broken, or
far too large. On this side of the door there is one kind of picture: upright 8-bit sRGB, as a `PIL.Image` in mode RGB
or as a float32 tensor (1, 3, H, W) in [0, 1]. All that goes wrong with a file is an `ImageError` of one line.
What a file holds besides (alpha, profile, EXIF, frames) is dropped here; `pictures` keeps it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from texturenet import codec, pixels
from texturenet.codec import MAX_PIXELS
from texturenet.files import ImageError as ImageError  # what every function here raises

TITLE_SIZE = 14  # px, over the columns of a contact sheet


def image_size(path: str | Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(h, w) of a picture as it is stored (before EXIF turns it), from the file's header alone. Raises ImageError."""
    with codec.opened(Path(path), max_pixels) as image:
        return image.height, image.width


def frame_count(path: str | Path) -> int:
    """Frames or pages of a picture, from the file's header. Raises ImageError."""
    with codec.opened(Path(path)) as image:
        return int(getattr(image, "n_frames", 1))


def open_image(
    path: str | Path,
    *,
    shorter_side: int | None = None,
    longer_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Read a picture as upright sRGB in mode RGB; of an animation the first frame; transparency lies over white.

    `shorter_side` or `longer_side`: pixels that are enough for the caller. A JPEG is then decoded at 1/2, 1/4 or 1/8
    as long as that side stays at least so long, which is several times faster; other formats come at full size.
    Raises ImageError: no such file, folder, no permission, empty, not a picture, broken, over `max_pixels`.
    """
    return _read(Path(path), shorter_side, longer_side, max_pixels)[0]


def load_image(path: str | Path, size: int | None = None, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Read a picture as float32 (1, 3, H, W) in [0, 1].

    `size`: the longer side in pixels, the aspect kept, smaller pictures enlarged; None: as it is. Raises ImageError as
    `open_image` does.
    """
    if size is not None and size < 1:
        raise ValueError(f"size is {size}: the longer side needs at least 1 pixel")
    # Twice what is asked for: the last halving is left to Lanczos, which is sharper than JPEG's own.
    image, native = _read(Path(path), None, 2 * size if size else None, max_pixels)
    if size is not None:
        height, width = codec.fit(native, size)
        codec.require_pixels(path, (height, width))
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return to_tensor(image)


def to_uint8(image: Image.Image) -> Tensor:
    """PIL picture -> uint8 (3, H, W) in 0..255."""
    pixels = torch.from_numpy(np.array(image.convert("RGB")))  # (H, W, 3)
    return pixels.permute(2, 0, 1).contiguous()


def to_tensor(image: Image.Image, device: torch.device | str = "cpu") -> Tensor:
    """PIL picture -> float32 (1, 3, H, W) in [0, 1] on the device, where it goes in 8 bits."""
    return to_uint8(image).unsqueeze(0).to(device).to(torch.float32).div_(255)


def to_pil(image: Tensor) -> Image.Image:
    """(1, 3, H, W) or (3, H, W), any float type and device -> PIL picture; clamped to [0, 1], rounded, NaN is black.

    Raises ValueError for any other shape.
    """
    if image.ndim == 4 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
        raise ValueError(f"a tensor of shape {tuple(image.shape)} is no picture: (1, 3, H, W) or (3, H, W) is")
    pixels = image.detach().float().nan_to_num(0.0).clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())  # (H, W, 3)


def resize(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """(B, 3, H, W) -> (B, 3, h, w) in [0, 1], antialiased bicubic. `size`: (h, w), or the longer side in pixels.

    Raises ImageError for a size over MAX_PIXELS.
    """
    height, width = image.shape[-2:]
    target = codec.fit((height, width), size) if isinstance(size, int) else size
    if target == (height, width):
        return image
    codec.require_pixels("picture", target)
    return functional.interpolate(image, target, mode="bicubic", antialias=True).clamp(0, 1)


def to_mask(colours: Image.Image, alpha: Image.Image | None, say: Callable[[str], None]) -> Tensor:
    """(1, 1, h, w): how white a picture is, as far as it is opaque; nothing is marked where it is transparent.

    say  is told where 1 is taken as white, of a picture that has values of 0 and 1 alone
    """

    def values(grey: Image.Image) -> Tensor:
        return to_tensor(grey)[:, :1].clone()  # without the memory of the other two channels

    grey = colours.convert("L")
    if grey.getextrema() == (0, 1):  # what programs that segment pictures write
        say("a mask with values of 0 and 1 alone: 1 is taken as white")
        grey = grey.point(lambda value: 255 * value)
    return values(grey) if alpha is None else values(grey) * values(alpha)


def save_image(image: Tensor | Image.Image, path: str | Path, quality: int = 95) -> None:
    """Write a picture; the suffix names the format. `quality`: 1..100, of JPEG and WebP.

    The file appears whole or not at all, and one of the same name is kept until then; missing folders are made.
    Raises ImageError for a suffix that is not in codec.SAVE_FORMATS or a picture too long for it, OSError (one line
    with the path) when the disk refuses.
    """
    path = Path(path)
    format_name = codec.format_of(path)
    picture = to_pil(image) if isinstance(image, Tensor) else image
    if format_name in ("JPEG", "BMP", "GIF") or picture.mode not in ("L", "LA", "RGB", "RGBA"):
        picture = pixels.flatten(picture)
    codec.encode(picture, path, quality)


def sheet(rows: Sequence[Sequence[Tensor]], titles: Sequence[str] = (), gap: int = 4) -> Tensor:
    """Contact sheet: pictures (1, 3, h, w) or (3, h, w), row by row, on white -> (1, 3, H, W) in [0, 1].

    Nothing is resized: a column is as wide as its widest picture, a row as high as its highest. `titles`: one line of
    text over each column; `gap` in pixels. Raises ValueError when there is no picture at all.
    """
    pictures = [[to_pil(image) for image in row] for row in rows]
    columns = max((len(row) for row in pictures), default=0)
    if columns == 0:
        raise ValueError("a contact sheet needs at least one picture")
    font = ImageFont.load_default(TITLE_SIZE)
    widths = [max([row[i].width for row in pictures if i < len(row)]) for i in range(columns)]
    for i, title in enumerate(titles[:columns]):
        widths[i] = max(widths[i], round(font.getlength(title)) + 1)
    heights = [max((picture.height for picture in row), default=0) for row in pictures]
    top = gap + (round(1.5 * TITLE_SIZE) if titles else 0)
    canvas = Image.new("RGB", (sum(widths) + gap * (columns + 1), top + sum(heights) + gap * len(heights)), "white")
    left = [gap + sum(widths[:i]) + gap * i for i in range(columns)]
    for i, title in enumerate(titles[:columns]):
        ImageDraw.Draw(canvas).text((left[i], gap), title, fill="black", font=font)
    for row, height in zip(pictures, heights, strict=True):
        for i, picture in enumerate(row):
            canvas.paste(picture, (left[i], top))
        top += height + gap
    return to_tensor(canvas)


def _read(
    path: Path, shorter_side: int | None, longer_side: int | None, max_pixels: int
) -> tuple[Image.Image, tuple[int, int]]:
    """The picture, perhaps decoded smaller, and its full upright (h, w)."""
    with codec.opened(path, max_pixels) as image:
        native = codec.decode(image, shorter_side, longer_side)
        flat = pixels.flatten(image)
        flat.info = {}  # the profile and EXIF of the file no longer hold for these pixels
        return flat, native
