"""Uploaded photos, painted. Pixels are on the disk, in a folder that goes with the server; in memory are names."""

from __future__ import annotations

import secrets
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from texturenet import pictures
from texturenet.files import ImageError
from texturenet.gui import uploads
from texturenet.stylizer import Stylizer

VIEW = 1400  # px, longer side of what the page shows; downloads have every pixel
MOST_PHOTOS = 60


@dataclass(frozen=True)
class Settings:
    """How photos are painted; the fields but the last are Stylizer's."""

    style: Path
    strength: float = 1.0
    noise_factor: float | None = None
    seed: int = 0
    size: int | None = 1024  # longer side at most, px; None: the photo's own
    preserve_color: str | None = None
    strokes: float = 1.0  # how many times as large as the style has them


@dataclass(frozen=True)
class Photo:
    """An uploaded photo."""

    key: str
    name: str
    path: Path
    thumbnail: str  # data URL


@dataclass(frozen=True)
class Painting:
    """A photo's painting as a file to download and one to show."""

    path: Path
    view: Path
    before: Path
    seconds: float
    size: tuple[int, int]  # (w, h)


class Easel:
    """Paints one picture at a time with the style that was used last still in memory.

    folder  for uploads and results
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photos: dict[str, Photo] = {}
        self.packed: Path | None = None  # the latest archive
        self._paintings: dict[tuple[str, Settings, float], Painting] = {}
        self._style: tuple[tuple[Path, float], Stylizer] | None = None
        self._lock = threading.Lock()

    def add(self, path: Path) -> Photo:
        """Take an uploaded file. Raises ImageError, naming it, for one that is no picture; it is discarded then."""
        try:
            if len(self.photos) >= MOST_PHOTOS:
                raise ImageError(f"{path.name}: {MOST_PHOTOS} photos are here already; take some away first")
            thumbnail = uploads.data_url(uploads.open_picture(path, uploads.THUMBNAIL))
        except ImageError:
            uploads.discard(path)
            raise
        photo = Photo(secrets.token_hex(8), path.name, path, thumbnail)
        self.photos[photo.key] = photo
        return photo

    def remove(self, key: str) -> None:
        """Take a photo and its paintings away."""
        photo = self.photos.pop(key)
        with self._lock:
            self._forget(key)
        uploads.discard(photo.path)

    def paint(self, key: str, settings: Settings) -> Painting:
        """The painting, made unless it is at hand. Only the latest of a photo is kept.

        Raises ValueError or OSError, one line that names the photo or the style.
        """
        photo = self.photos[key]
        with self._lock:
            known = (key, settings, settings.style.stat().st_mtime)
            if known not in self._paintings:
                self._forget(key)
                self._paintings[known] = self._painted(photo, settings)
            return self._paintings[known]

    def latest(self, key: str) -> Painting:
        """What `paint` made last of a photo. Raises KeyError where there is none."""
        return {known[0]: made for known, made in list(self._paintings.items())}[key]

    def archive(
        self, keys: Sequence[str], settings: Settings, on_progress: Callable[[int], None] = lambda _: None
    ) -> Path:
        """A zip of all their paintings."""
        target = self.folder / f"{settings.style.stem}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:  # pictures do not get smaller
            for done, key in enumerate(keys):
                path = self.paint(key, settings).path
                name, number = path.name, 1
                while name in archive.namelist():
                    number += 1
                    name = f"{path.stem}-{number}{path.suffix}"
                archive.write(path, name)
                on_progress(done + 1)
        self.packed = target
        return target

    def style(self, path: Path) -> Stylizer:
        """Loaded, and kept until another is asked for, or the file has changed."""
        known = (path, path.stat().st_mtime)
        if self._style is None or self._style[0] != known:
            self._style = known, Stylizer(path)
        return self._style[1]

    def _painted(self, photo: Photo, settings: Settings) -> Painting:
        style = self.style(settings.style)
        try:
            picture = uploads.load(photo.path, settings.size)
            begin = time.perf_counter()
            frames = [
                style(
                    frame,
                    settings.seed,
                    settings.noise_factor,
                    strength=settings.strength,
                    preserve_color=settings.preserve_color,
                    work_size=None if settings.strokes == 1 else max(16, round(max(frame.size) / settings.strokes)),
                )
                for frame in picture.frames
            ]
            seconds = time.perf_counter() - begin
        except ImageError as error:
            raise ImageError(str(error).replace(str(photo.path), photo.name, 1)) from None
        stem = f"{Path(photo.name).stem}-{settings.style.stem}"
        target = self._results(photo.key) / f"{stem}{uploads.result_suffix(photo.name)}"
        pictures.save_picture(picture.with_frames(frames), target)
        before, view = target.parent / "before.view", target.parent / "after.view"
        for image, path in ((picture.frames[0], before), (frames[0], view)):
            shown = image.copy()
            shown.thumbnail((VIEW, VIEW))
            path.write_bytes(uploads.jpeg(shown))
        return Painting(target, view, before, seconds, frames[0].size)

    def _results(self, key: str) -> Path:
        folder = self.folder / "results" / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _forget(self, key: str) -> None:
        for known in [known for known in self._paintings if known[0] == key]:
            del self._paintings[known]
        for file in self._results(key).glob("*"):
            file.unlink()
