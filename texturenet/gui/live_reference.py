"""The iterative method, watched while it runs: what one pass of a network is measured against."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from texturenet import gatys, images
from texturenet.gui import uploads
from texturenet.perceptual import load_encoder
from texturenet.presets import gatys_recipe


@dataclass(frozen=True)
class Progress:
    """Where it is; `done` when nothing more comes, with a sentence in `trouble` if it broke."""

    iteration: int = 0
    iterations: int = 0
    seconds: float = 0.0
    total: float | None = None
    done: bool = True
    trouble: str = ""


class LiveReference:
    """One run at a time, in a thread; a new one ends the one before."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.picture: bytes = b""  # JPEG of the latest iterate
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def start(self, photo: Path, texture: Image.Image, iterations: int, size: int) -> None:
        """Begin with a photo's file and a texture; `progress` and `picture` tell how it goes."""
        self.stop()
        if self._thread is not None:
            self._thread.join()
        self._stopped.clear()
        self.progress = Progress(iterations=iterations, done=False)
        self._thread = threading.Thread(target=self._run, args=(photo, texture, iterations, size), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Have it end with the picture that it has."""
        self._stopped.set()

    def _run(self, path: Path, texture: Image.Image, iterations: int, size: int) -> None:
        begin, trouble = time.monotonic(), ""

        def watch(iterate: gatys.Iterate) -> None:
            if self._stopped.is_set():
                raise KeyboardInterrupt  # as gatys.descend is stopped from a keyboard
            self.picture = uploads.jpeg(images.to_pil(iterate.image))
            seconds = time.monotonic() - begin
            self.progress = Progress(iterate.iteration, iterations, seconds, iterate.losses["total"], done=False)

        try:
            photo = uploads.open_picture(path, size)
            recipe = gatys_recipe(given={"iterations": iterations, "perceptual": "lite"})
            gatys.paint(
                images.to_tensor(photo),
                images.to_tensor(texture),
                load_encoder("lite", None, None, None),
                recipe,
                watch,
            )
        except gatys.Interrupted:
            pass
        except (ValueError, OSError) as error:
            trouble = str(error)
        last = self.progress
        self.progress = Progress(last.iteration, iterations, last.seconds, last.total, True, trouble)
