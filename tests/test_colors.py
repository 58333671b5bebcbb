"""colors.py: values that are known beforehand, and what a palette promises."""

import pytest
import torch
from conftest import picture

from texturenet.colors import luma, match_colors


def test_luma_of_the_primaries() -> None:
    green, grey = (torch.tensor(values).view(1, 3, 1, 1) for values in ([0.0, 1.0, 0.0], [0.3, 0.3, 0.3]))
    assert luma(green).item() == pytest.approx(0.7152)
    assert luma(grey).item() == pytest.approx(0.3)


def test_matched_colors_have_the_palettes_mean_and_covariance() -> None:
    palette, images = 0.4 + 0.2 * picture(64, 64), 0.1 + 0.6 * picture(48, 80, seed=1, batch=2)  # nothing to clip
    images[1] *= torch.tensor([0.5, 0.9, 0.1])[:, None, None]
    matched = match_colors(palette, images)
    assert matched.shape == images.shape
    for one in matched:
        for statistic in (lambda x: x.mean(dim=1), torch.cov):
            torch.testing.assert_close(statistic(one.flatten(1)), statistic(palette[0].flatten(1)), atol=1e-4, rtol=0)


def test_each_picture_of_a_batch_is_matched_by_itself() -> None:
    palette, images = picture(24, 24), picture(32, 40, seed=1, batch=3)
    alone = torch.cat([match_colors(palette, image[None]) for image in images])
    torch.testing.assert_close(match_colors(palette, images), alone, atol=1e-5, rtol=0)


def test_matching_a_picture_to_itself_changes_nothing() -> None:
    photo = picture(40, 56)
    torch.testing.assert_close(match_colors(photo, photo), photo, atol=1e-4, rtol=0)
    grey = photo.mean(dim=1, keepdim=True).expand_as(photo)
    assert torch.isfinite(match_colors(grey, photo)).all() and torch.isfinite(match_colors(photo, grey)).all()
