"""All that a server has at hand, once for all its tabs.

What needs torch is made when it is first asked for, so that the page stands before torch is loaded.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from texturenet.files import ImageError, find_images
from texturenet.gui import pace, uploads
from texturenet.gui.desk import Desk
from texturenet.gui.photos import SAMPLE, Finding
from texturenet.gui.texture import LONGEST
from texturenet.gui.training import ENDED, Order, TrainingRoom

if TYPE_CHECKING:
    from texturenet.gui.easel import Easel
    from texturenet.gui.gallery import Gallery
    from texturenet.gui.live_reference import LiveReference


class Studio:
    """Everything below `run_dir` and `checkpoint_dir`, where train.py keeps things too."""

    def __init__(self, run_dir: Path = Path("runs"), checkpoint_dir: Path = Path("checkpoints")) -> None:
        self.run_dir, self.checkpoint_dir = run_dir, checkpoint_dir
        self.desk = Desk.at(run_dir)
        self.trainings = TrainingRoom(run_dir, checkpoint_dir)
        self.probe = pace.Probe()
        self.speed: pace.Speed | None = None
        self.finding: Finding | None = None
        self._temporary = tempfile.TemporaryDirectory(prefix="texturenet-")
        self.temporary = Path(self._temporary.name)
        self._measuring = threading.Lock()
        self._rows: tuple[tuple[str, int, float], list[dict[str, Any]]] = (("", 0, 0.0), [])

    def close(self) -> None:
        """Take uploads and paintings away; a training goes on."""
        self.probe.cancel()
        if "easel" in vars(self):
            self.easel.close()
        self._temporary.cleanup()

    def warm_up(self) -> None:
        """Load torch, and look at what there is, before it is asked for."""
        self.gallery.cards()

    @functools.cached_property
    def gallery(self) -> Gallery:
        from texturenet.gui.gallery import Gallery

        return Gallery(self.checkpoint_dir)

    @functools.cached_property
    def easel(self) -> Easel:
        from texturenet.gui.easel import Easel

        return Easel(self.temporary)

    @functools.cached_property
    def reference(self) -> LiveReference:
        from texturenet.gui.live_reference import LiveReference

        return LiveReference()

    # --- the texture --------------------------------------------------------------------------------------------------

    def choose_texture(self, path: Path) -> None:
        """Take a picture for the texture. Raises ImageError for a file that is none; the choice before is kept then."""
        _opened(path, path.stat().st_mtime)
        self.desk.texture = str(path)
        self.desk.save()

    def whole_texture(self) -> Image.Image | None:
        """The picture that was chosen, at most LONGEST px; None before that, and where it is gone."""
        return _opened_if_there(Path(self.desk.texture)) if self.desk.texture else None

    def texture(self) -> Image.Image | None:
        """Its part that is learned."""
        whole = self.whole_texture()
        return None if whole is None else whole.crop(self.desk.crop.box(*whole.size))

    def example_photo(self) -> Image.Image | None:
        """One of the photos, to preview the scale; a sample scene before there are any, None where they are gone."""
        try:
            return _opened_if_there(_first_photo(self.desk.data_dir or str(SAMPLE)))
        except ImageError:
            return None

    # --- the training -------------------------------------------------------------------------------------------------

    def start_training(self, name: str, preset: str, typed: dict[str, str]) -> str:
        """Begin; returns the name that it got. Raises ValueError or OSError, one line."""
        texture = self.texture()
        if texture is None or not self.desk.data_dir:
            raise ValueError("Choose photos and a texture first.")
        flags = pace.flags_of(preset, typed, self.desk.style_size)
        self.probe.cancel()
        name = self.trainings.free_name(name.strip() or Path(self.desk.texture).stem)
        self.trainings.start(Order(name, self.desk.texture, self.desk.data_dir, flags), texture)
        return name

    def measure(self) -> None:
        """Find out how fast this machine trains, unless it is known, or busy training or being measured."""
        texture, status = self.texture(), self.trainings.status()
        busy = status is not None and status.state not in ENDED
        if texture is None or not self.desk.data_dir or self.speed is not None or busy:
            return
        from texturenet.monitor import read_log

        path = self.temporary / "probe.png"
        if self._measuring.acquire(blocking=False):
            try:
                texture.save(path)
                self.speed = self.probe.measure(path, self.desk.data_dir, read_log)
            finally:
                self._measuring.release()

    def learn_speed(self, name: str) -> None:
        """Take this machine's speed from a training that runs, unless it is known."""
        order, rows = self.trainings.order(name), self.rows(name)
        photos = pace.recent_speed(rows)
        if self.speed is None and order is not None and photos is not None:
            size = pace.crop_side(order.flags, rows)
            if size >= pace.TELLING_SIZE:
                self.speed = pace.Speed(photos * size**2, 0.0)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The log of a run; read again only when it grew."""
        from texturenet.monitor import read_log

        path = self.run_dir / name / "log.jsonl"
        try:
            status = path.stat()
        except OSError:
            return []
        known = (name, status.st_size, status.st_mtime)
        if self._rows[0] != known:
            self._rows = (known, read_log(path))
        return self._rows[1]

    def previews(self, name: str) -> list[tuple[int, str]]:
        """(step, file name) of the previews of a run, first to last."""
        rows = [row for row in self.rows(name) if row.get("path")]
        return [(row["step"], Path(row["path"]).name) for row in rows]


@functools.lru_cache(maxsize=4)
def _first_photo(folder: str) -> Path:
    """The first that can be read, without a walk through all of a large dataset more than once. Raises ImageError."""
    for path in find_images(folder)[:5]:
        with contextlib.suppress(ImageError):
            uploads.open_picture(path, 64)
            return path
    raise ImageError(f"{folder}: no picture that can be read")


def _opened_if_there(path: Path) -> Image.Image | None:
    """A disk may be unplugged, and the page has to stand without it."""
    try:
        return _opened(path, path.stat().st_mtime)
    except (ImageError, OSError):
        return None


@functools.lru_cache(maxsize=4)
def _opened(path: Path, _changed: float) -> Image.Image:
    return uploads.open_picture(path, LONGEST)
