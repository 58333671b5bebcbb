"""Metrics whose answer is known."""

import math

import pytest
import torch
from conftest import picture
from hypothesis import given
from hypothesis import strategies as st

from texturenet.metrics import diversity, flicker, gap_closed, matched_iterations, psnr, quartiles, rmse, ssim

GREY = torch.full((1, 3, 16, 16), 0.5)
BLACK, WHITE = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)


def test_rmse() -> None:
    assert rmse(GREY, GREY) == 0
    assert rmse(BLACK, WHITE) == 1
    assert rmse(GREY, GREY + 0.1) == pytest.approx(0.1, rel=1e-5)
    half = torch.cat([BLACK[..., :8], WHITE[..., :8]], dim=3)
    assert rmse(half, BLACK) == pytest.approx(0.5**0.5)
    assert rmse(torch.cat([BLACK, WHITE]), torch.cat([BLACK, BLACK])) == 0.5  # the mean over the batch


def test_psnr() -> None:
    assert psnr(GREY, GREY) == math.inf
    assert psnr(BLACK, WHITE) == 0
    assert psnr(GREY, GREY + 0.1) == pytest.approx(20, rel=1e-5)
    assert psnr(torch.cat([GREY, GREY]), torch.cat([GREY + 0.1, GREY + 0.01])) == pytest.approx(30, rel=1e-4)


def test_ssim() -> None:
    image = picture(24, 32)
    assert ssim(image, image) == pytest.approx(1)
    # Of two flat pictures only the term of the means is left: (2 a b + c1) / (a^2 + b^2 + c1), c1 = 0.01^2.
    assert ssim(GREY, WHITE) == pytest.approx((1 + 1e-4) / (1.25 + 1e-4), rel=1e-4)
    noisy = (image + 0.2 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert ssim(image, noisy) < 0.7
    with pytest.raises(ValueError, match="7x7"):
        ssim(image[..., :5], image[..., :5])


@pytest.mark.parametrize("metric", [rmse, psnr, ssim])
def test_different_sizes_are_refused(metric: object) -> None:
    with pytest.raises(ValueError, match="16x16 and 8x16 px"):
        metric(GREY, GREY[..., :8])  # type: ignore[operator]


def test_diversity() -> None:
    assert diversity([GREY, GREY, GREY]) == 0
    assert diversity([BLACK, GREY, WHITE]) == pytest.approx((0.5 + 0.5 + 1) / 3)
    with pytest.raises(ValueError, match="two or more"):
        diversity([GREY])


def test_flicker() -> None:
    noise = [picture(16, 16, seed) for seed in range(4)]
    assert flicker(noise, noise) == 1
    assert flicker([GREY] * 4, noise) == 0
    assert flicker([frame / 2 for frame in noise], noise) == pytest.approx(0.5)
    assert flicker([BLACK, WHITE, BLACK], [BLACK, GREY, BLACK]) == 2
    with pytest.raises(ValueError, match=r"two or more frames .* got 1 and 1"):
        flicker([GREY], [GREY])
    with pytest.raises(ValueError, match="no noise"):
        flicker([BLACK, WHITE], [GREY, GREY])


def test_matched_iterations() -> None:
    trajectory = [10.0, 6.0, 4.0, 3.0]
    assert [matched_iterations(trajectory, loss) for loss in trajectory] == [0, 1, 2, 3]
    assert matched_iterations(trajectory, 5.0) == 1.5
    assert matched_iterations(trajectory, 12.0) == 0
    assert matched_iterations(trajectory, 2.9) == math.inf
    assert matched_iterations([10.0, 4.0, 6.0, 3.0], 5.0) == pytest.approx(5 / 6)  # the first time counts


@given(st.lists(st.floats(0.1, 100), min_size=2, max_size=9, unique=True), st.floats(0.1, 100))
def test_matched_iterations_is_where_the_loss_falls_below(trajectory: list[float], loss: float) -> None:
    trajectory = sorted(trajectory, reverse=True)
    k = matched_iterations(trajectory, loss)
    if k == math.inf:
        assert loss < trajectory[-1]
    else:
        assert trajectory[math.ceil(k)] <= loss
        assert k == 0 or trajectory[math.ceil(k) - 1] > loss


def test_gap_closed() -> None:
    assert gap_closed(10, 10, 2) == 0
    assert gap_closed(10, 2, 2) == 1
    assert gap_closed(10, 4, 2) == 0.75
    assert gap_closed(10, 12, 2) == -0.25
    assert math.isnan(gap_closed(2, 2, 2))


def test_quartiles() -> None:
    assert quartiles([1, 2, 3, 4, 5]) == (2, 3, 4)
    assert quartiles([1, 2]) == (1.25, 1.5, 1.75)
    assert quartiles([1, 2, math.nan, 3]) == (1.5, 2, 2.5)
    assert quartiles([1, 2, math.inf, math.inf]) == (1, 2, math.inf)
    assert all(map(math.isnan, quartiles([])))
