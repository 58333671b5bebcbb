"""Files that come from a browser, and paths that are asked for by one: neither is trusted."""

from __future__ import annotations

import base64
import io
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from PIL import Image

from texturenet import codec, pictures
from texturenet.codec import SAVE_FORMATS
from texturenet.files import ImageError, is_plain_name

MAX_BYTES = 128 * 2**20  # of one file
MAX_PIXELS = 120_000_000  # of one picture: a 108 MP camera's fits
THUMBNAIL = 240  # px, longer side


def plain_name(name: str, otherwise: str = "picture") -> str:
    """The last part of a name from a browser, as a name that files may have."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1].lstrip(".")
    last = "".join(letter for letter in last if letter.isprintable()).strip()
    stem, suffix = last[: len(last) - len(Path(last).suffix)], Path(last).suffix[:10]
    last = stem[:80] + suffix
    return last if is_plain_name(last) else otherwise


def without_folders(error: Exception, *paths: Path) -> str:
    """What an error says, with names for the paths of these files: a page tells nobody where its server has them."""
    said = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        said = f"{error.filename}: {error.strerror}"
    for path in paths:
        said = said.replace(str(path), path.name)
    return said


def inside(root: Path, *parts: str) -> Path:
    """An existing file below `root`. Raises FileNotFoundError for any other, links that lead out included."""
    path = root.joinpath(*parts).resolve()
    if not all(map(is_plain_name, parts)) or not path.is_relative_to(root.resolve()) or not path.is_file():
        raise FileNotFoundError(f"{'/'.join(parts)}: no such file here")
    return path


async def receive(chunks: AsyncIterator[bytes], folder: Path, name: str, most: int = MAX_BYTES) -> Path:
    """Write an upload to a folder of its own below `folder`; its path, which ends with its plain name.

    Raises ValueError for one of more than `most` bytes; nothing of it is left then.
    """
    path = folder / secrets.token_hex(8) / plain_name(name)
    path.parent.mkdir(parents=True)
    size = 0
    try:
        with path.open("wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > most:
                    raise ValueError(f"{path.name}: more than {most // 2**20} MB; make it smaller first")
                file.write(chunk)
    except BaseException:  # a tab that was closed in the middle, too
        discard(path)
        raise
    return path


def discard(path: Path) -> None:
    """Take an upload away, and its folder."""
    for file in path.parent.glob("*"):
        file.unlink(missing_ok=True)
    path.parent.rmdir()


def load(path: Path, size: int | None = None) -> pictures.Picture:
    """All of an upload, its longer side at most `size`; a smaller one is not enlarged. Raises ImageError."""
    with codec.opened(path, MAX_PIXELS) as header:
        shorter = size is not None and max(header.size) > size
    return pictures.load_picture(path, size if shorter else None, MAX_PIXELS)


def open_picture(path: Path, size: int | None = None) -> Image.Image:
    """The first frame of an upload, RGB, transparent parts over white, its longer side at most `size`.

    Raises ImageError with its name alone.
    """
    try:
        return load(path, size).over_white().frames[0]
    except ImageError as error:
        raise ImageError(str(error).replace(str(path), path.name, 1)) from None


def result_suffix(name: str) -> str:
    """Of a painting of the file `name`: the same where it can be written, else PNG."""
    suffix = Path(name).suffix.lower()
    return suffix if suffix in SAVE_FORMATS else ".png"


def jpeg(picture: Image.Image, quality: int = 88) -> bytes:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=quality)
    return content.getvalue()


def data_url(picture: Image.Image, size: int = THUMBNAIL) -> str:
    """A small copy as an address that holds the picture itself, so that no path is ever served."""
    small = picture.copy()
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(small, 80)).decode()}"
