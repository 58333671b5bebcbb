"""Uploaded photos, painted. Pixels are on the disk, in a folder that goes with the server; in memory are names."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from texturenet import gatys, judging, pictures
from texturenet.files import ImageError
from texturenet.gui import uploads
from texturenet.pictures import Picture
from texturenet.stylizer import Stylizer

VIEW = 1400  # px, longer side of what the page shows; downloads have every pixel
MOST_PHOTOS = 60
MOST_ARCHIVES = 3  # the newest, which some browser may be fetching
_LOOK_UP = 0.2  # s, after which one that waits asks whether it is wanted still


@dataclass(frozen=True)
class Settings:
    """How photos are painted; the fields but the last two are Stylizer's."""

    style: Path
    strength: float = 1.0
    noise_factor: float | None = None
    seed: int = 0
    size: int | None = 1024  # longer side at most, px; None: the photo's own
    preserve_color: str | None = None
    strokes: float = 1.0  # how many times as large as the style has them
    refine: int = 0  # iterations that go on from the painting, see refining.py


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


class Stopped(Exception):
    """A painting that is not wanted any longer was not finished; the one before it stands."""


class Easel:
    """Paints one picture at a time with the style that was used last still in memory; beside it, refines one.

    folder  for uploads and results
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photos: dict[str, Photo] = {}
        self._paintings: dict[tuple[str, Settings, float], Painting] = {}
        self._style: tuple[tuple[Path, float], Stylizer] | None = None
        self._painting, self._refining, self._keeping = threading.Lock(), threading.Lock(), threading.Lock()
        self._archives: list[Path] = []
        self._closed = False

    def close(self) -> None:
        """Keep no painting that is not finished, and end a refining at its next iteration."""
        with self._keeping:
            self._closed = True

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
        with self._painting, self._keeping:
            self._forget(key)
        uploads.discard(photo.path)

    def paint(self, key: str, settings: Settings, go_on: Callable[[int], bool] = lambda _: True) -> Painting:
        """The painting, made unless it is at hand. Only the latest of a photo is kept.

        go_on  asked with the number of each iteration of a refining, from 0; False stops it
        Raises ValueError or OSError, one line that names the photo or the style, and Stopped, for a photo that was
        taken away too.
        """
        known = _known(key, settings)
        if (photo := self.photos.get(key)) is None:  # taken away in another tab
            raise Stopped
        if made := self._paintings.get(known):
            return made
        with self._turn(self._refining if settings.refine else self._painting, go_on):
            before, after, seconds = self._painted(photo, settings, go_on)
            with self._keeping:
                if self._closed or key not in self.photos:
                    raise Stopped
                self._forget(key)
                self._paintings[known] = made = self._saved(photo, settings, before, after, seconds)
                return made

    @contextlib.contextmanager
    def _turn(self, lock: threading.Lock, go_on: Callable[[int], bool]) -> Iterator[None]:
        """Wait for it as long as the painting is wanted. Raises Stopped."""
        while not lock.acquire(timeout=_LOOK_UP):
            if self._closed or not go_on(0):
                raise Stopped
        try:
            if self._closed or not go_on(0):
                raise Stopped
            yield
        finally:
            lock.release()

    def at_hand(self, key: str, settings: Settings) -> bool:
        """Whether `paint` has it already. Raises ValueError for a style whose file is gone."""
        return _known(key, settings) in self._paintings

    def latest(self, key: str) -> Painting:
        """What `paint` made last of a photo. Raises KeyError where there is none."""
        return {known[0]: made for known, made in list(self._paintings.items())}[key]

    def archive(
        self, keys: Sequence[str], settings: Settings, on_progress: Callable[[int], None] = lambda _: None
    ) -> tuple[Path, list[str]]:
        """A zip of all their paintings, and a line for each that could not be painted.

        Photos that are taken away meanwhile are left out. Raises ValueError where none is left, with the first line.
        """
        target = self.folder / secrets.token_hex(8) / f"{settings.style.stem}.zip"
        target.parent.mkdir()
        try:
            troubles = self._pack(keys, settings, target, on_progress)
        except BaseException:
            shutil.rmtree(target.parent, ignore_errors=True)
            raise
        with self._keeping:
            self._archives.append(target)
            old, self._archives = self._archives[:-MOST_ARCHIVES], self._archives[-MOST_ARCHIVES:]
        for archive in old:
            shutil.rmtree(archive.parent, ignore_errors=True)
        return target, troubles

    def _pack(
        self, keys: Sequence[str], settings: Settings, target: Path, on_progress: Callable[[int], None]
    ) -> list[str]:
        troubles: list[str] = []
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:  # pictures do not get smaller
            for done, key in enumerate(keys):
                try:
                    name, content = self._file(key, settings)
                except Stopped:
                    if self._closed:
                        raise
                    continue
                except (ValueError, OSError) as error:
                    troubles.append(str(error))
                    continue
                path, number = Path(name), 1
                while name in archive.namelist():
                    number += 1
                    name = f"{path.stem}-{number}{path.suffix}"
                archive.writestr(name, content)
                on_progress(done + 1)
            if not archive.namelist():
                raise ValueError(troubles[0] if troubles else "no photo is left to paint")
        return troubles

    def _file(self, key: str, settings: Settings) -> tuple[str, bytes]:
        """Name and content of a painting, made again where another tab had the photo painted otherwise meanwhile."""
        while True:
            made = self.paint(key, settings)
            with self._keeping:
                if any(made is kept for kept in self._paintings.values()):
                    return made.path.name, made.path.read_bytes()

    def style(self, path: Path) -> Stylizer:
        """Loaded, and kept until another is asked for, or the file has changed."""
        known = (path, path.stat().st_mtime)
        if self._style is None or self._style[0] != known:
            self._style = known, Stylizer(path)
        return self._style[1]

    def _painted(
        self, photo: Photo, settings: Settings, go_on: Callable[[int], bool]
    ) -> tuple[Picture, Picture, float]:
        """The photo, its painting, and the seconds that it took."""

        def watch(iterate: gatys.Iterate) -> None:
            if self._closed or not go_on(iterate.iteration):
                raise KeyboardInterrupt  # as it is stopped from a keyboard

        try:
            picture, refiner = uploads.load(photo.path, settings.size), None
            if settings.refine:
                if len(picture.frames) > 1:
                    raise ValueError(f"{photo.name} has frames, and each refined by itself they would flicker")
                judging.require_at_hand(settings.style)
                refiner = judging.refiner(settings.style, settings.refine, "cpu", watch=watch)
            style = Stylizer(settings.style, finish=refiner) if refiner else self.style(settings.style)
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
        except (ValueError, OSError) as error:
            raise ValueError(uploads.without_folders(error, photo.path, settings.style)) from None
        if refiner and refiner.stopped:
            raise Stopped
        return picture, picture.with_frames(frames), seconds

    def _saved(self, photo: Photo, settings: Settings, before: Picture, after: Picture, seconds: float) -> Painting:
        stem = f"{Path(photo.name).stem}-{settings.style.stem}"
        target = self._results(photo.key) / f"{stem}{uploads.result_suffix(photo.name)}"
        pictures.save_picture(after, target)
        views = target.parent / "before.view", target.parent / "after.view"
        for picture, path in zip((before, after), views, strict=True):
            shown = picture.over_white().frames[0].copy()
            shown.thumbnail((VIEW, VIEW))
            path.write_bytes(uploads.jpeg(shown))
        return Painting(target, views[1], views[0], seconds, after.frames[0].size)

    def _results(self, key: str) -> Path:
        folder = self.folder / "results" / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _forget(self, key: str) -> None:
        for known in [known for known in self._paintings if known[0] == key]:
            del self._paintings[known]
        for file in self._results(key).glob("*"):
            file.unlink()


def _known(key: str, settings: Settings) -> tuple[str, Settings, float]:
    """A style that is trained on is another one. Raises ValueError where its file is gone."""
    try:
        return key, settings, settings.style.stat().st_mtime
    except OSError:
        raise ValueError(f"{settings.style.name} is gone; choose another style") from None
