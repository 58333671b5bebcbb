"""Picture files on a disk: which there are, and new ones written whole. Nothing here knows a format."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".pbm"}
    | {".jp2", ".avif", ".tga", ".heic", ".heif"}
)
_UNFINISHED = ".tmp"


class ImageError(ValueError):
    """A picture that cannot be read or written; one line: the file, what is wrong, the way out."""


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def safely(ask: Callable[[], bool]) -> bool:
    """What `path.exists`, `is_dir` or `is_file` answers; False where it can't be told: a long name, a lost mount."""
    try:
        return ask()
    except OSError:
        return False


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file that appears whole or not at all; one of the same name is kept until then.

    Missing folders are made. Raises OSError (one line with the path) when the disk refuses.
    """
    target = Path(os.path.realpath(path))  # a link stays a link: its file is replaced
    temporary = target.with_name(f".{_short(target)}.{secrets.token_hex(4)}{_UNFINISHED}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a crash of the machine may leave the new name on an empty file
        temporary.replace(target)
        _flush_folder(target.parent)
    except OSError as error:
        raise OSError(f"{path}: could not be saved: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def unfinished(path: Path) -> list[Path]:
    """What `write_whole` left of a file when its process was killed."""
    target = Path(os.path.realpath(path))
    return list(target.parent.glob(f".{glob.escape(_short(target))}.{'[0-9a-f]' * 8}{_UNFINISHED}"))


def _short(path: Path) -> str:
    return path.name.encode(errors="ignore")[:100].decode(errors="ignore")  # names end at 255 bytes


def _flush_folder(folder: Path) -> None:
    """A rename outlives a power cut once its folder is on the disk; some file systems can't be asked for that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def claimed(lock: Path, taken: str) -> Iterator[None]:
    """Keep other processes out for as long as it lasts, by a file that is gone afterwards.

    The system lets go of what a killed process held; not flock's, which the readers that it leaves behind would hold on
    for seconds. Raises ValueError(taken) where another process has it, OSError, of one line, where it can't be made.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    require_writable(lock.parent)
    with lock.open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise ValueError(taken) from None
        except OSError:  # a file system without locks
            pass
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Make the folder if it is missing. Raises OSError, one line, where no file can be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"can't write to {folder}: {error.strerror}; choose another folder") from None


def nearest(folder: Path) -> Path:
    """The folder, or the first above it that is there: where it would be made. It may be a file, in the way."""
    folder = folder.absolute()
    return next(there for there in (folder, *folder.parents) if there.exists())


def stopped_beside(target: Path) -> Path:
    """Where what was stopped half-way goes, so that nobody takes it for a finished result: NAME-stopped."""
    return target.with_name(f"{target.stem}-stopped{target.suffix}")


def losses_beside(target: Path) -> Path:
    """Where the plot of an iterative run's losses goes."""
    return target.with_name(f"{target.stem}-losses.png")


def steps_beside(target: Path) -> Path:
    """The folder where an iterative run's snapshots go."""
    return target.with_name(f"{target.stem}-steps")


def is_plain_name(name: str) -> bool:
    """Whether files may be called after a name that comes out of a file: it leads to no other folder."""
    return 0 < len(name) <= 100 and name.isprintable() and not name.startswith(".") and not {"/", "\\"} & {*name}


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
