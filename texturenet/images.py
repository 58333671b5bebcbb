"""The only door between picture files and tensors.

A file may be turned by EXIF, transparent, grey, CMYK, 16 bits deep, in another colour space, animated, broken, or
far too large. On this side of the door there is one kind of picture: upright 8-bit sRGB, as a `PIL.Image` in mode RGB
or as a float32 tensor (1, 3, H, W) in [0, 1]. All that goes wrong with a file is an `ImageError` of one line.
"""

import contextlib
import functools
import io
import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, ImageDraw, ImageFont, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

# Pixels. A 108 MP camera (12000 x 9000) fits with room to spare; 200 MP are 0.6 GB in 8 bits and 2.4 GB as a tensor.
MAX_PIXELS = 200_000_000
PILLOWS_LIMIT = 89_478_485  # pixels above which Pillow itself warns, at twice that refuses

# Pillow's names. Limited to what photos come in: of the rest, some run other programs (EPS) and none is a photo.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "TGA", "HEIF")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".pbm"}
    | {".jp2", ".avif", ".tga", ".heic", ".heif"}
)

# Suffix -> (Pillow's format, its longest side in pixels).
SAVE_FORMATS = {
    ".png": ("PNG", 2**31 - 1),
    ".jpg": ("JPEG", 65_500),
    ".jpeg": ("JPEG", 65_500),
    ".webp": ("WEBP", 16_383),
    ".tif": ("TIFF", 2**31 - 1),
    ".tiff": ("TIFF", 2**31 - 1),
    ".bmp": ("BMP", 2**31 - 1),
}

EXIF_ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """A picture that cannot be read or written; one line: the file, what is wrong, the way out."""


def find_images(
    folder: str | Path,
    suffixes: Collection[str] = SUFFIXES,
    on_unreadable: Callable[[Path, str], None] | None = None,
) -> list[Path]:
    """All files below `folder` with one of `suffixes` (lower case), in natural order: img2 before img10.

    Hidden files and folders are left out. Links are followed, each folder once, so a loop of links ends. A sub-folder
    that cannot be read goes to `on_unreadable(path, reason)` if given. Raises ImageError for it otherwise, and always
    when `folder` itself cannot be read.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting = [Path(folder)]
    for here in waiting:  # breadth first: of two names for one folder, the shallower is kept
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            if on_unreadable is None or here == waiting[0]:
                raise ImageError(f"{here}: {_folder_trouble(error)}") from error
            on_unreadable(here, _folder_trouble(error))
            continue
        for entry in entries:
            path = here / entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and path.is_dir()):
                waiting.append(path)
            elif path.suffix.lower() in suffixes:
                found.append(path)
    return sorted(found, key=_natural_order)


def image_size(path: str | Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(h, w) of a picture as it is stored (before EXIF turns it), from the file's header alone. Raises ImageError."""
    with _opened(Path(path), max_pixels) as image:
        return image.height, image.width


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
        height, width = _fit(native, size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return to_tensor(image)


def to_uint8(image: Image.Image) -> Tensor:
    """PIL picture -> uint8 (3, H, W) in 0..255."""
    pixels = torch.from_numpy(np.array(image.convert("RGB")))  # (H, W, 3)
    return pixels.permute(2, 0, 1).contiguous()


def to_tensor(image: Image.Image) -> Tensor:
    """PIL picture -> float32 (1, 3, H, W) in [0, 1]."""
    return to_uint8(image).unsqueeze(0).to(torch.float32).div_(255)


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
    """(B, 3, H, W) -> (B, 3, h, w) in [0, 1], antialiased bicubic. `size`: (h, w), or the longer side in pixels."""
    height, width = image.shape[-2:]
    target = _fit((height, width), size) if isinstance(size, int) else size
    if target == (height, width):
        return image
    return functional.interpolate(image, target, mode="bicubic", antialias=True).clamp(0, 1)


def save_image(image: Tensor | Image.Image, path: str | Path, quality: int = 95) -> None:
    """Write a picture; the suffix names the format. `quality`: 1..100, of JPEG and WebP.

    The file appears whole or not at all, and one of the same name is kept until then; missing folders are made.
    Raises ImageError for a suffix that is not in SAVE_FORMATS or a picture too long for it, OSError (one line with the
    path) when the disk refuses.
    """
    path = Path(path)
    if path.suffix.lower() not in SAVE_FORMATS:
        raise ImageError(
            f"{path}: cannot save as {path.suffix or 'a file without suffix'!r}: {', '.join(SAVE_FORMATS)}"
        )
    format_name, longest = SAVE_FORMATS[path.suffix.lower()]
    picture = to_pil(image) if isinstance(image, Tensor) else image
    if max(picture.size) > longest:
        raise ImageError(
            f"{path}: {picture.width}x{picture.height} is too long for {format_name} ({longest} a side): save as .png"
        )
    if format_name in ("JPEG", "BMP") or picture.mode not in ("L", "LA", "RGB", "RGBA"):
        picture = _flatten(picture)
    options: dict[str, dict[str, int | str]] = {
        "JPEG": {"quality": quality, "subsampling": 0},  # full colour resolution: strokes have sharp coloured edges
        "WEBP": {"quality": quality},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }
    target = path.resolve()  # a link stays a link: its file is replaced
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.tmp")
    encoded = io.BytesIO()  # Pillow's writers hide why a write failed ("encoder error -2"), so the writing is ours
    picture.save(encoded, format_name, **options.get(format_name, {}))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(encoded.getbuffer())
            file.flush()
            os.fsync(file.fileno())  # else a crash of the machine may leave the new name on an empty file
        temporary.replace(target)
    except OSError as error:
        raise OSError(f"{path}: could not be saved: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def sheet(rows: Sequence[Sequence[Tensor]], titles: Sequence[str] = (), gap: int = 4, text_size: int = 14) -> Tensor:
    """Contact sheet: pictures (1, 3, h, w) or (3, h, w), row by row, on white -> (1, 3, H, W) in [0, 1].

    Nothing is resized: a column is as wide as its widest picture, a row as high as its highest. `titles`: one line of
    text over each column; `gap` and `text_size` in pixels. Raises ValueError when there is no picture at all.
    """
    pictures = [[to_pil(image) for image in row] for row in rows]
    columns = max((len(row) for row in pictures), default=0)
    if columns == 0:
        raise ValueError("a contact sheet needs at least one picture")
    font = ImageFont.load_default(text_size)
    widths = [max([row[i].width for row in pictures if i < len(row)]) for i in range(columns)]
    for i, title in enumerate(titles[:columns]):
        widths[i] = max(widths[i], round(font.getlength(title)) + 1)
    heights = [max((picture.height for picture in row), default=0) for row in pictures]
    top = gap + (text_size + text_size // 2 if titles else 0)
    canvas = Image.new("RGB", (sum(widths) + gap * (columns + 1), top + sum(heights) + gap * len(heights)), "white")
    left = [gap + sum(widths[:i]) + gap * i for i in range(columns)]
    for i, title in enumerate(titles[:columns]):
        ImageDraw.Draw(canvas).text((left[i], gap), title, fill="black", font=font)
    for row, height in zip(pictures, heights, strict=True):
        for i, picture in enumerate(row):
            canvas.paste(picture, (left[i], top))
        top += height + gap
    return to_tensor(canvas)


# --------------------------------------------------------------------------------------------------- reading a file


def _read(
    path: Path, shorter_side: int | None, longer_side: int | None, max_pixels: int
) -> tuple[Image.Image, tuple[int, int]]:
    """The picture, perhaps decoded smaller, and its full upright (h, w)."""
    with _opened(path, max_pixels) as image:
        width, height = image.size
        if shorter_side is not None:
            image.draft(None, (shorter_side, shorter_side))
        elif longer_side is not None:
            enough = _fit((height, width), longer_side)
            image.draft(None, (enough[1], enough[0]))
        # TIFF asks Pillow's limit once more. For a picture below it the guard stays: a small one may claim a huge tile.
        with _without_pillows_limit() if width * height > PILLOWS_LIMIT else contextlib.nullcontext():
            image.load()
        turn = _orientation(image)
        flat = _flatten(image)
        if turn in UPRIGHT:
            flat = flat.transpose(UPRIGHT[turn])
        if turn in (5, 6, 7, 8):
            height, width = width, height
        flat.info = {}  # the profile and EXIF of the file no longer hold for these pixels
        return flat, (height, width)


@contextlib.contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
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
        hint = "pip install pillow-heif" if path.suffix.lower() in (".heic", ".heif") else "convert it to JPEG or PNG"
        raise ImageError(f"{path}: not a picture, or of a kind that is not read here: {hint}") from error
    except MemoryError as error:
        raise ImageError(f"{path}: too large for the memory of this machine: make it smaller first") from error
    except Exception as error:  # a broken file can make Pillow's decoders raise nearly anything
        if isinstance(error, OSError) and error.errno is not None:
            raise ImageError(f"{path}: could not be read: {error.strerror}") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImageError(f"{path}: broken picture ({reason}): copy or download it again") from error


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
    between the two, `_opened` compares the size with ours.
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


# ------------------------------------------------------------------------------------------------- to upright sRGB


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block is no reason to lose the picture
        return 1


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode -> RGB in sRGB; transparent parts lie over white, as on a page."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith(("I", "F")):
        image = _deep_grey_to_8_bits(image)
    if not image.has_transparency_data:
        return _to_srgb(image, profile)
    image = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
    page = Image.new("RGB", image.size, "white")
    page.paste(_to_srgb(image.convert("RGB"), profile), mask=image.getchannel("A"))
    return page


def _deep_grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Modes I;16, I and F -> L by scaling; Pillow's own conversion clips at 255 or wraps.

    16 bits span 0..65535. Mode F carries no range: [0, 1] where it fits, else that of 8 bits, of 16 bits, or its own.
    """
    values = np.nan_to_num(np.asarray(image).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    peak = float(values.max())
    ranges = (1.0, 255.0, 65535.0, peak) if image.mode == "F" else (65535.0, peak)
    full = next(top for top in ranges if peak <= top)
    return Image.fromarray((values.clip(0, full) * (255 / full)).round().astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A picture without transparency -> RGB, through the file's ICC profile where there is a usable one."""
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        profile = profile if image.mode == "P" else None
        image = image.convert("RGB")
    transform = _transform(image.mode, profile) if profile or image.mode == "LAB" else None
    if transform is None:
        return image.convert("RGB")
    return ImageCms.applyTransform(image, transform) or image.convert("RGB")


@functools.lru_cache(maxsize=16)  # photos share a handful of profiles, and building a transform takes milliseconds
def _transform(mode: str, profile: bytes | None) -> ImageCms.ImageCmsTransform | None:
    """The way from `mode` with this profile to sRGB; None where none is needed, or the profile is of no use."""
    try:
        lab = ImageCms.createProfile("LAB") if mode == "LAB" else None
        source = ImageCms.ImageCmsProfile(lab or io.BytesIO(profile or b""))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        return ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None  # damaged, or made for another mode


# ------------------------------------------------------------------------------------------------------ small parts


def _fit(native: tuple[int, int], longer_side: int) -> tuple[int, int]:
    """(h, w) with the longer side given and the aspect kept, each at least 1."""
    scale = longer_side / max(native)
    return max(1, round(native[0] * scale)), max(1, round(native[1] * scale))


def _natural_order(path: Path) -> tuple[list[list[str | int]], str]:
    """Sort key: numbers by value, letters without case, the whole path last so that no two are equal."""
    parts: list[list[str | int]] = [
        [int(piece) if i % 2 else piece for i, piece in enumerate(re.split(r"([0-9]+)", part.casefold()))]
        for part in path.parts
    ]
    return parts, str(path)


def _folder_trouble(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such folder: check the spelling"
    if isinstance(error, NotADirectoryError):
        return "is a file, not a folder: name the folder that it is in"
    if isinstance(error, PermissionError):
        return "no permission to list this folder: change its mode or owner"
    return f"could not be listed: {error.strerror}"
