"""The styles that ship: whatever is done to networks, losses or readers, they go on painting as they were measured."""

from pathlib import Path

import pytest

from texturenet import checkpoint, styles
from texturenet.judging import open_judged, sample_loss

MEGABYTE = 10**6


@pytest.mark.parametrize("path", styles.shipped(), ids=lambda path: path.stem)
def test_a_shipped_style(path: Path) -> None:
    fields = checkpoint.load(path)
    assert path.stat().st_size < MEGABYTE
    assert fields["name"] == path.stem
    assert "training" not in fields
    assert sample_loss(open_judged(path)) == pytest.approx(fields["quality"]["sample_loss"], rel=0.02)
