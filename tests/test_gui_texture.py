"""The texture's crop and scale."""

from __future__ import annotations

import pytest
from PIL import Image
from samples import BLUE, GREEN, RED, WHITE, corners

from texturenet.gui.texture import CROP_SIZE, Crop, at_scale, gallery


def test_all_of_it_is_all_of_it() -> None:
    assert Crop().box(300, 200) == (0, 0, 300, 200)


@pytest.mark.parametrize(("across", "down", "colour"), [(0, 0, RED), (1, 0, GREEN), (0, 1, BLUE), (1, 1, WHITE)])
def test_a_quarter(across: float, down: float, colour: tuple[int, int, int]) -> None:
    picture = corners((200, 200))
    part = picture.crop(Crop(0.5, across, down).box(*picture.size))
    assert part.size == (100, 100)
    assert part.getcolors() == [(10_000, colour)]


def test_a_crop_stays_inside() -> None:
    left, top, right, bottom = Crop(0.2, 1, 1).box(50, 37)
    assert (right, bottom) == (50, 37)
    assert right - left == bottom - top == 16


def test_twice_the_stroke_size_is_twice_as_large() -> None:
    """The texture's first quarter is red: its width in the preview is half the stroke size."""
    for size in (96, 192):
        shown = at_scale(corners((400, 400)), size, None)
        assert shown.getpixel((size // 2 - 8, 8)) == RED
        assert shown.getpixel((size // 2 + 8, 8)) == GREEN
        if size == 96:
            assert shown.getpixel((size + 8, 8)) == RED  # repeated


def test_beside_a_photo() -> None:
    both = at_scale(corners((400, 400)), 512, Image.new("RGB", (90, 60), "black"))
    assert both.size == (2 * CROP_SIZE, CROP_SIZE)
    assert both.getpixel((10, 10)) == (0, 0, 0)
    assert both.getpixel((CROP_SIZE + 10, 10)) == RED


def test_gallery() -> None:
    assert "mosaic" in [path.stem for path in gallery()]
