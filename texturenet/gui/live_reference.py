"""The iterative method, watched while it runs: what one pass of a style is measured against.

Both are of one photo at one size and under the style's own loss, so that their losses can be compared.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from texturenet import gatys, images, judging
from texturenet.gui import uploads
from texturenet.presets import GatysRecipe


@dataclass(frozen=True)
class Progress:
    """Where it is; `done` when nothing more comes, with a sentence in `trouble` if it broke."""

    iteration: int = 0
    iterations: int = 0
    seconds: float = 0.0
    total: float | None = None  # loss of the picture
    pass_total: float | None = None  # and of one pass of the style
    done: bool = True
    trouble: str = ""


class LiveReference:
    """One run at a time, in a thread; a new one ends the one before."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.picture: bytes = b""  # JPEG of the latest iterate
        self.one_pass: bytes = b""  # JPEG
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def start(self, photo: Path, style: Path, iterations: int, size: int) -> None:
        """Begin with a photo's file and a style's; `progress` and `picture` tell how it goes."""
        self.stop()
        if self._thread is not None:
            self._thread.join()
        self._stopped.clear()
        self.progress = Progress(iterations=iterations, done=False)
        self._thread = threading.Thread(target=self._run, args=(photo, style, iterations, size), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Have it end with the picture that it has."""
        self._stopped.set()

    def _run(self, path: Path, style: Path, iterations: int, size: int) -> None:
        begin, trouble, pass_total = time.monotonic(), "", None

        def watch(iterate: gatys.Iterate) -> None:
            if self._stopped.is_set():
                raise KeyboardInterrupt  # as gatys.descend is stopped from a keyboard
            self.picture = uploads.jpeg(images.to_pil(iterate.image))
            seconds = time.monotonic() - begin
            total = iterate.losses["total"]
            self.progress = Progress(iterate.iteration, iterations, seconds, total, pass_total, done=False)

        try:
            photo = images.to_tensor(uploads.open_picture(path, size))
            judging.require_at_hand(style)
            judged = judging.open_judged(style)
            painting = judged.stylizer(photo)
            pass_total = judged.terms(painting, photo)["total"]
            self.one_pass = uploads.jpeg(images.to_pil(painting))
            begin = time.monotonic()
            content = judged.loss_function.content_features(photo)
            gatys.descend(judged.loss_function, photo, content, GatysRecipe(iterations=iterations), watch)
        except gatys.Interrupted:
            pass
        except (ValueError, OSError, RuntimeError, MemoryError) as error:  # torch's, where memory runs out
            trouble = uploads.without_folders(error, path, style)
        last = self.progress
        self.progress = Progress(last.iteration, iterations, last.seconds, last.total, pass_total, True, trouble)
