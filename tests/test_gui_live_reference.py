"""The iterative method, watched."""

from __future__ import annotations

import io
import time
from pathlib import Path

from conftest import picture
from PIL import Image

from texturenet import images
from texturenet.gui.live_reference import LiveReference


def wait(reference: LiveReference) -> None:
    end = time.monotonic() + 60
    while not reference.progress.done:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_to_the_end(photo_dir: Path) -> None:
    reference = LiveReference()
    reference.start(photo_dir / "0.png", images.to_pil(picture(48, 48, 9)), 3, size=48)
    wait(reference)
    assert reference.progress.iteration == reference.progress.iterations == 3
    assert reference.progress.trouble == ""
    assert reference.progress.total is not None
    assert Image.open(io.BytesIO(reference.picture)).size == (48, 36)


def test_stop(photo_dir: Path) -> None:
    reference = LiveReference()
    reference.start(photo_dir / "0.png", images.to_pil(picture(48, 48, 9)), 100_000, size=32)
    while reference.progress.iteration < 1:
        time.sleep(0.01)
    reference.stop()
    wait(reference)
    assert 1 <= reference.progress.iteration < 100_000


def test_trouble(tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("a text")
    reference = LiveReference()
    reference.start(tmp_path / "note.png", Image.new("RGB", (32, 32)), 3, 32)
    wait(reference)
    assert reference.progress.trouble.startswith("note.png: not a picture")
