"""The styles that ship: whatever is done to networks, losses or readers, they go on painting as they were measured."""

from pathlib import Path

import pytest

from texturenet import checkpoint, styles
from texturenet.judging import open_judged, sample_loss
from texturenet.stylizer import Stylizer

MEGABYTE = 10**6
# What a user has trained here, as by the README's first commands, does not ship.
SHIPS = {line.split()[1] for line in (styles.FOLDER / "SHA256SUMS").read_text().splitlines()}


def recorded_loss(path: Path) -> float:
    """What its loss was when it was recorded; it is small, called as its file is, and bare of what resuming needs."""
    fields = checkpoint.load(path)
    assert path.stat().st_size < MEGABYTE
    assert fields["name"] == path.stem
    assert "training" not in fields
    loss: float = fields["sample_loss"]
    return loss


@pytest.mark.parametrize("path", [path for path in styles.shipped() if path.name in SHIPS], ids=lambda path: path.stem)
def test_a_shipped_style(path: Path) -> None:
    assert sample_loss(open_judged(path)) == pytest.approx(recorded_loss(path), rel=0.02)


@pytest.mark.parametrize("path", styles.textures(), ids=lambda path: path.stem)
def test_a_shipped_texture(path: Path) -> None:
    picture = Stylizer(path).synthesize(256, 256)
    total = open_judged(path, of_photos=False).terms(picture, picture)["total"]
    assert total == pytest.approx(recorded_loss(path), rel=0.02)
    # Side by side with itself it goes on: its last column is as far from its first as neighbours are.
    for axis in (2, 3):
        steps = (picture.roll(-1, axis) - picture).abs().mean(dim=tuple({0, 1, 2, 3} - {axis}))
        assert steps[-1] < 1.5 * steps[:-1].mean()
