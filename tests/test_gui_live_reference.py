"""The iterative method, watched."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from PIL import Image

from texturenet import images, judging, styles
from texturenet.gui.live_reference import LiveReference

MOSAIC = styles.find("mosaic")


def wait(reference: LiveReference) -> None:
    end = time.monotonic() + 60
    while not reference.progress.done:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_to_the_end(photo_dir: Path) -> None:
    """Both losses are the style's own, of the photo at the same size."""
    reference = LiveReference()
    reference.start(photo_dir / "0.png", MOSAIC, 3, size=48)
    wait(reference)
    progress = reference.progress
    assert progress.iteration == progress.iterations == 3
    assert progress.trouble == ""
    for made in (reference.picture, reference.one_pass):
        assert Image.open(io.BytesIO(made)).size == (48, 36)
    style, photo = judging.open_judged(MOSAIC), images.load_image(photo_dir / "0.png", 48)
    assert progress.pass_total == pytest.approx(style.terms(style.stylizer(photo), photo)["total"], rel=1e-3)
    assert progress.total is not None and progress.total < style.terms(photo, photo)["total"]
    shown = images.to_tensor(Image.open(io.BytesIO(reference.picture)))
    assert style.terms(shown, photo)["total"] == pytest.approx(progress.total, rel=0.2)  # it is a JPEG


def test_stop(photo_dir: Path) -> None:
    reference = LiveReference()
    reference.start(photo_dir / "0.png", MOSAIC, 100_000, size=32)
    while reference.progress.iteration < 1:
        time.sleep(0.01)
    reference.stop()
    wait(reference)
    assert 1 <= reference.progress.iteration < 100_000


def test_trouble(tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("a text")
    reference = LiveReference()
    reference.start(tmp_path / "note.png", MOSAIC, 3, 32)
    wait(reference)
    assert reference.progress.trouble.startswith("note.png: not a picture")
    reference.start(tmp_path / "note.png", tmp_path / "gone.pt", 3, 32)
    wait(reference)
    assert str(tmp_path) not in reference.progress.trouble
