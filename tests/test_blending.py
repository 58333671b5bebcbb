"""blending.py: values that are known beforehand, and what each control promises."""

import pytest
import torch
from conftest import picture
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from texturenet.blending import blend, enlarge, keep_chroma, paint_with, within
from texturenet.colors import luma, match_colors


def negative(photo: Tensor) -> Tensor:
    return 1 - photo


@pytest.fixture
def photo() -> Tensor:
    return picture(40, 56)


@pytest.fixture
def painting() -> Tensor:
    return picture(40, 56, seed=1)


def colour(*channels: float) -> Tensor:
    return torch.tensor(channels, dtype=torch.float32).view(1, 3, 1, 1)


def test_strength_from_photo_to_painting(photo: Tensor, painting: Tensor) -> None:
    assert torch.equal(blend(photo, painting, 0.0), photo)
    assert torch.equal(blend(photo, painting, 1.0), painting)
    torch.testing.assert_close(blend(colour(0, 0.2, 1), colour(1, 0.4, 0), 0.25), colour(0.25, 0.25, 0.75))
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"strength .* is outside 0 \(the photo\) to 1"):
            blend(photo, painting, wrong)


def test_chroma_of_the_photo_at_the_luma_of_the_painting() -> None:
    kept = keep_chroma(colour(0.5, 0.4, 0.4), colour(0.1, 0.6, 0.7))
    change = luma(colour(0.1, 0.6, 0.7)) - luma(colour(0.5, 0.4, 0.4))
    torch.testing.assert_close(kept, colour(0.5, 0.4, 0.4) + change)


def test_a_grey_photo_stays_grey_and_a_white_stroke_white() -> None:
    torch.testing.assert_close(
        keep_chroma(colour(0.2, 0.2, 0.2), colour(1, 0, 0)), luma(colour(1, 0, 0)).expand(1, 3, 1, 1)
    )
    torch.testing.assert_close(keep_chroma(colour(0, 0, 1), colour(1, 1, 1)), colour(1, 1, 1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_luma_is_the_paintings_everywhere_and_no_hue_turns(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    photo, painting = (torch.rand((1, 3, 8, 8), generator=rng) for _ in range(2))
    kept = keep_chroma(photo, painting)
    assert kept.min() >= 0 and kept.max() <= 1
    torch.testing.assert_close(luma(kept), luma(painting), atol=1e-5, rtol=0)
    before, after = photo - luma(photo), kept - luma(kept)
    cosine = torch.nn.functional.cosine_similarity(before, after, dim=1)
    assert (cosine[after.norm(dim=1) > 1e-3] > 0.999).all()
    assert (after.norm(dim=1) <= before.norm(dim=1) + 1e-5).all()


def test_mask_is_exact_inside_and_outside(photo: Tensor, painting: Tensor) -> None:
    mask = torch.zeros(1, 1, 40, 56)
    mask[..., 10:20, 5:30] = 1
    mask[..., 0, 0] = 0.5
    mixed = within(mask, painting, photo)
    assert torch.equal(mixed[..., 10:20, 5:30], painting[..., 10:20, 5:30])
    assert torch.equal(mixed[..., 20:, :], photo[..., 20:, :])
    torch.testing.assert_close(mixed[..., 0, 0], (photo + painting)[..., 0, 0] / 2)


def test_mask_of_another_size_is_scaled_and_of_another_shape_refused(photo: Tensor, painting: Tensor) -> None:
    small = torch.zeros(1, 1, 20, 28)
    small[..., :14] = 1
    mixed = within(small, painting, photo)
    assert torch.equal(mixed[..., :26], painting[..., :26]) and torch.equal(mixed[..., 30:], photo[..., 30:])
    with pytest.raises(ValueError, match="a mask of 40x40 px does not fit a picture of 56x40: give it the same aspect"):
        within(torch.ones(1, 1, 40, 40), painting, photo)


def test_detail_of_the_photo_comes_back() -> None:
    """Fine stripes, which the working size does not hold, are in the result at their own contrast."""
    stripes = 0.5 + 0.1 * (torch.arange(128) % 2 * 2 - 1)
    photo = stripes.expand(1, 3, 128, 128)
    reduced = torch.full((1, 3, 32, 32), 0.5)
    detailed = enlarge(torch.full((1, 3, 32, 32), 0.3), reduced, photo)
    torch.testing.assert_close(detailed, photo - 0.2, atol=1e-3, rtol=0)


def test_a_flat_photo_leaves_the_strokes_alone() -> None:
    grey, strokes = torch.full((1, 3, 96, 64), 0.5), picture(48, 32)
    smooth = torch.nn.functional.interpolate(strokes, (96, 64), mode="bicubic", antialias=True).clamp(0, 1)
    torch.testing.assert_close(enlarge(strokes, torch.full((1, 3, 48, 32), 0.5), grey), smooth, atol=1e-5, rtol=0)


def test_working_size_is_what_the_pass_sees(photo: Tensor) -> None:
    seen = []

    def paint(image: Tensor) -> Tensor:
        seen.append(tuple(image.shape[-2:]))
        return negative(image)

    for size in (28, 112, None):
        assert paint_with(paint, photo, work_size=size).shape == photo.shape
    assert seen == [(20, 28), (80, 112), (40, 56)]


def test_controls_together(photo: Tensor) -> None:
    """Colour first, then strength, then the mask."""
    mask = (torch.arange(56) < 20).float().expand(1, 1, 40, 56)
    mixed = paint_with(negative, photo, strength=0.5, preserve_color="luma", mask=mask)
    assert torch.equal(mixed[..., 20:], photo[..., 20:])
    torch.testing.assert_close(mixed[..., :20], ((photo + keep_chroma(photo, 1 - photo)) / 2)[..., :20])
    assert torch.equal(paint_with(negative, photo), 1 - photo)
    assert torch.equal(paint_with(negative, photo, preserve_color="hist"), match_colors(photo, 1 - photo))
    with pytest.raises(ValueError, match="unknown preserve_color 'lab'; choose from luma, hist"):
        paint_with(negative, photo, preserve_color="lab")
