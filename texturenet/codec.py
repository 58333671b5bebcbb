"""Pillow's decoders and encoders made safe: few formats, sizes checked first, one line for whatever goes wrong."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from texturenet.files import ImageError, write_whole

# Pixels. A 108 MP camera (12000 x 9000) fits with room to spare; 200 MP are 0.8 GB in Pillow and 2.4 GB as a tensor.
MAX_PIXELS = 200_000_000
PILLOWS_LIMIT = 89_478_485  # pixels above which Pillow itself warns, at twice that refuses

# Pillow's names. Limited to what photos come in: of the rest, some run other programs (EPS) and none is a photo.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "TGA", "HEIF")

# Suffix -> (Pillow's format, its longest side in pixels).
SAVE_FORMATS = {
    ".png": ("PNG", 2**31 - 1),
    ".jpg": ("JPEG", 65_500),
    ".jpeg": ("JPEG", 65_500),
    ".webp": ("WEBP", 16_383),
    ".tif": ("TIFF", 2**31 - 1),
    ".tiff": ("TIFF", 2**31 - 1),
    ".gif": ("GIF", 65_535),
    ".bmp": ("BMP", 2**31 - 1),
}


@contextlib.contextmanager
def opened(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The file as a PIL picture with its header read and its size allowed; whatever fails inside is an ImageError."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise ImageError(f"{path}: is {kind}, not a picture: name one file")
        if status.st_size == 0:
            raise ImageError(f"{path}: is empty (0 bytes): copy or download it again")
        with path.open("rb") as file:
            with _without_pillows_limit():
                image = Image.open(file, formats=_formats())
            if image.width * image.height > max_pixels:
                raise ImageError(
                    f"{path}: {image.width}x{image.height} is over the limit of {max_pixels // 10**6} million pixels: "
                    "make it smaller first"
                )
            yield image
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file: check the spelling and the folder") from error
    except PermissionError as error:
        raise ImageError(f"{path}: no permission to read it: change its mode or owner") from error
    except UnidentifiedImageError as error:
        if _is_heif(path):
            raise ImageError(f"{path}: is a HEIC picture, which needs a plug-in: pip install pillow-heif") from error
        raise ImageError(
            f"{path}: not a picture, or of a kind that is not read here: convert it to JPEG or PNG"
        ) from error
    except MemoryError as error:
        raise ImageError(f"{path}: too large for the memory of this machine: make it smaller first") from error
    except Exception as error:  # a broken file can make Pillow's decoders raise nearly anything
        if isinstance(error, OSError) and error.errno is not None:
            raise ImageError(f"{path}: could not be read: {error.strerror}") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImageError(f"{path}: broken picture ({reason}): copy or download it again") from error


def decode(image: Image.Image, shorter_side: int | None = None, longer_side: int | None = None) -> tuple[int, int]:
    """Decode an `opened` picture and turn it upright, in place -> its full upright (h, w).

    `shorter_side` or `longer_side`: pixels that are enough. A JPEG is then decoded at 1/2, 1/4 or 1/8 as long as that
    side stays at least so long, which is several times faster; other formats come at full size.
    """
    width, height = image.size
    if shorter_side is not None:
        image.draft(None, (shorter_side, shorter_side))
    elif longer_side is not None:
        enough = fit((height, width), longer_side)
        image.draft(None, (enough[1], enough[0]))
    # TIFF asks Pillow's limit once more. For a picture below it the guard stays: a small one may claim a huge tile.
    with _without_pillows_limit() if width * height > PILLOWS_LIMIT else contextlib.nullcontext():
        image.load()
    stored = image.size
    turn_upright(image)
    return (height, width) if image.size == stored else (width, height)


def turn_upright(image: Image.Image) -> None:
    """Turn and mirror a decoded picture, in place, as its EXIF asks, and take that entry out."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # a damaged EXIF block is no reason to lose the picture
        pass


def fit(native: tuple[int, int], longer_side: int) -> tuple[int, int]:
    """(h, w) with the longer side given and the aspect kept, each at least 1."""
    scale = longer_side / max(native)
    return max(1, round(native[0] * scale)), max(1, round(native[1] * scale))


def require_pixels(name: object, size: tuple[int, int], max_pixels: int = MAX_PIXELS) -> None:
    """Raises ImageError where a size (h, w) that was asked for is over the limit, before memory is taken for it."""
    height, width = size
    if height * width > max_pixels:
        raise ImageError(
            f"{name}: {width}x{height} as asked for is over the limit of {max_pixels // 10**6} million pixels: "
            "ask for a smaller size"
        )


def format_of(path: Path) -> str:
    """Pillow's name of the format that the suffix asks for. Raises ImageError when it is not in SAVE_FORMATS."""
    if path.suffix.lower() not in SAVE_FORMATS:
        raise ImageError(
            f"{path}: cannot save as {path.suffix or 'a file without suffix'!r}: {', '.join(SAVE_FORMATS)}"
        )
    return SAVE_FORMATS[path.suffix.lower()][0]


def require_length(path: Path, size: tuple[int, int]) -> None:
    """Raises ImageError where a picture (h, w) is too long for the format that the suffix asks for, or for a suffix."""
    name, (height, width) = format_of(path), size
    longest = SAVE_FORMATS[path.suffix.lower()][1]
    if max(size) > longest:
        raise ImageError(f"{path}: {width}x{height} is too long for {name} ({longest} a side): save as .png")


def encode(image: Image.Image, path: Path, quality: int, **extra: Any) -> None:
    """Write a picture in a mode that its format knows, whole or not at all. `extra`: Pillow's options of that format.

    Raises ImageError for a suffix that is not in SAVE_FORMATS or a picture too long for it, OSError (one line with the
    path) when the disk refuses.
    """
    require_length(path, (image.height, image.width))
    name = format_of(path)
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": quality, "subsampling": 0},  # full colour resolution: strokes have sharp coloured edges
        "WEBP": {"quality": quality},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }
    content = io.BytesIO()  # Pillow's writers hide why a write failed ("encoder error -2"), so the writing is ours
    image.save(content, name, **(options.get(name, {}) | extra))
    write_whole(path, content.getbuffer())


_limit_lock = threading.Lock()
_limit_lifted = 0  # how many threads are inside `_without_pillows_limit`
_limit_of_others: int | None = None
if hasattr(os, "register_at_fork"):  # a worker forked while a thread holds the lock would wait for it for ever
    os.register_at_fork(
        before=_limit_lock.acquire, after_in_parent=_limit_lock.release, after_in_child=_limit_lock.release
    )


@contextlib.contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Pillow warns at 89 MP and refuses at 179 MP on its own, and both can only be changed for the whole process.

    So its limit is lifted while headers are read and put back by the last thread that leaves. It guards no decoding:
    between the two, `opened` compares the size with ours.
    """
    global _limit_lifted, _limit_of_others
    with _limit_lock:
        if _limit_lifted == 0:
            _limit_of_others, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _limit_lifted += 1
    try:
        yield
    finally:
        with _limit_lock:
            _limit_lifted -= 1
            if _limit_lifted == 0:
                Image.MAX_IMAGE_PIXELS = _limit_of_others


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow was built with; HEIF (iPhones) where its plugin is installed."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _is_heif(path: Path) -> bool:
    """By content: phones and mail programs hand out HEIC under the name .jpg too."""
    with path.open("rb") as file:
        return file.read(12)[4:] in (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1", b"ftypmsf1")
