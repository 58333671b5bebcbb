"""The styles that ship: whatever is done to networks, losses or readers, they go on painting as they were measured."""

from pathlib import Path

import pytest

from texturenet import checkpoint, styles
from texturenet.config import Recipe, from_plain
from texturenet.judging import load_recipe_encoder, loss_terms, open_judged, sample_loss
from texturenet.learner import perceptual_loss
from texturenet.stylizer import Stylizer

MEGABYTE = 10**6
TEXTURE_LOSS = {"pebbles_texture": 0.134}  # total loss of 256 x 256 px, seed 0


@pytest.mark.parametrize("path", styles.shipped(), ids=lambda path: path.stem)
def test_a_shipped_style(path: Path) -> None:
    fields = checkpoint.load(path)
    assert path.stat().st_size < MEGABYTE
    assert fields["name"] == path.stem
    assert "training" not in fields
    assert sample_loss(open_judged(path)) == pytest.approx(fields["quality"]["sample_loss"], rel=0.02)


@pytest.mark.parametrize("path", styles.textures(), ids=lambda path: path.stem)
def test_a_shipped_texture(path: Path) -> None:
    fields = checkpoint.load(path)
    assert path.stat().st_size < MEGABYTE
    assert fields["name"] == path.stem
    assert "training" not in fields
    picture = Stylizer(path).synthesize(256, 256)
    recipe = from_plain(Recipe, fields["recipe"])
    texture = fields["texture"][None].float() / 255
    loss = perceptual_loss(recipe, load_recipe_encoder(recipe), texture, with_photos=False)
    assert loss_terms(loss, picture, picture)["total"] == pytest.approx(TEXTURE_LOSS[path.stem], rel=0.02)
    # Side by side with itself it goes on: its last column is as far from its first as neighbours are.
    for axis in (2, 3):
        steps = (picture.roll(-1, axis) - picture).abs().mean(dim=tuple({0, 1, 2, 3} - {axis}))
        assert steps[-1] < 1.5 * steps[:-1].mean()
