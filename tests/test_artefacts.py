"""Artefacts that were painted on purpose, and pictures without any."""

import math

import pytest
import torch
from conftest import picture
from torch import Tensor

from texturenet.artefacts import (
    GridEnergy,
    artefacts,
    border_colour,
    border_gradient,
    clipped_share,
    colour_drift,
    grid_energy,
    grid_lock,
    ratio,
)

GREY = torch.full((1, 3, 64, 64), 0.5)


def dots(period: int, size: int = 64) -> Tensor:
    """One bright pixel every `period` px in both directions."""
    image = torch.zeros(1, 3, size, size)
    image[..., ::period, ::period] = 1
    return image


def waves(height: int, width: int, period: int, across: bool, down: bool) -> Tensor:
    """A wave along x, along y, or the product of both."""
    x, y = (torch.cos(2 * math.pi * torch.arange(side) / period) for side in (width, height))
    along_x, along_y = x if across else torch.ones(width), y if down else torch.ones(height)
    return (0.5 + 0.4 * torch.outer(along_y, along_x)).expand(1, 3, height, width)


def noise(size: int = 64) -> Tensor:
    return torch.rand((1, 3, size, size), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("period", [2, 4])
@pytest.mark.parametrize("size", [(64, 64), (63, 97), (24, 32)])
def test_a_grid_is_all_in_its_own_direction(period: int, size: tuple[int, int]) -> None:
    for across, down, direction in ((True, False, "horizontal"), (False, True, "vertical"), (True, True, "both")):
        found = grid_energy(waves(*size, period, across, down), period)
        assert getattr(found, direction) > 0.97, direction
        assert found.total <= 1 + 1e-9
        assert grid_energy(waves(*size, period, across, down), 6 - period).total < 0.01  # 2 <-> 4


def test_dots_are_in_every_direction() -> None:
    # A comb of one pixel in n has the same energy at each of its n * n frequencies, the mean's left out: of period 2
    # three are left, of period 4 fifteen. Three of these are of period 2, eight of period 4, four are (1/4, 1/2).
    assert grid_energy(dots(2), 2) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert grid_energy(dots(2), 4).total == pytest.approx(0, abs=1e-9)
    assert grid_energy(dots(4), 4) == pytest.approx((2 / 15, 2 / 15, 4 / 15))
    assert grid_energy(dots(4), 2) == pytest.approx((1 / 15, 1 / 15, 1 / 15))


def test_pictures_without_a_grid() -> None:
    assert grid_energy(GREY, 2) == GridEnergy(0, 0, 0)
    assert grid_energy(noise(512), 2).total == pytest.approx(3 / 16**2, rel=0.1)  # as its share of all frequencies
    assert grid_energy(noise(512), 4).total == pytest.approx(8 / 16**2, rel=0.1)
    for period in (2, 4):
        assert grid_energy(picture(96, 128), period).total < 1e-5
        ramp = torch.linspace(0, 1, 99).expand(1, 3, 65, 99)  # the jump from its right edge to its left is none
        assert grid_energy(ramp, period).total < 1e-5


def test_a_faint_checkerboard_over_a_picture_counts_by_its_energy() -> None:
    checks = waves(96, 128, 2, True, True) - 0.5
    clean, faint, strong = (0.25 + 0.5 * picture(96, 128) + amount * checks for amount in (0, 0.02, 0.04))
    assert grid_energy(faint, 2).both > 100 * grid_energy(clean, 2).both
    assert grid_energy(strong, 2).both == pytest.approx(4 * grid_energy(faint, 2).both, rel=0.05)
    batch = torch.cat([clean, strong])
    assert grid_energy(batch, 2).both == pytest.approx((grid_energy(clean, 2).both + grid_energy(strong, 2).both) / 2)


def test_edges_that_keep_to_a_grid() -> None:
    torch.manual_seed(0)
    edges = torch.zeros(1, 3, 256, 256)
    places = 8 * torch.randperm(31)[:16].sort().values + 4  # irregular, and of no one frequency
    for first, last in zip(places[::2], places[1::2], strict=True):
        edges[..., first:last] = 1
    assert grid_lock(edges) == pytest.approx(7**0.5)
    assert grid_lock(edges.mT) == pytest.approx(7**0.5)
    assert grid_lock(edges[..., 3:, 5:]) == pytest.approx(7**0.5)  # wherever the grid begins
    assert grid_lock(edges, 7) < 1
    assert grid_lock(GREY) == 0
    assert grid_lock(noise(512)) < 0.01
    assert grid_lock(torch.cat([edges, edges * 0])) == pytest.approx(7**0.5 / 2)
    with pytest.raises(ValueError, match="a grid of 8 px takes a picture of more than 8x8 px, not 40x8"):
        grid_lock(torch.zeros(1, 3, 8, 40))


def test_a_border_of_another_contrast() -> None:
    strong = waves(128, 128, 2, True, True)
    inside = torch.zeros(128, 128, dtype=torch.bool)
    inside[8:-8, 8:-8] = True
    weak = torch.where(inside, 0.5 + (strong - 0.5) / 2, strong)
    assert border_gradient(weak) == pytest.approx(4, rel=0.05)
    assert border_gradient(strong) == pytest.approx(1)
    assert border_gradient(noise(256)) == pytest.approx(1, rel=0.1)
    assert border_gradient(GREY) == 1
    assert border_gradient(torch.where(inside, 0.5, strong)) > 100
    assert border_gradient(torch.where(inside, strong, 0.5)) < 0.2


def test_a_border_of_another_colour() -> None:
    framed = torch.ones(1, 3, 64, 80)
    framed[..., 8:-8, 8:-8] = 0
    assert border_colour(framed) == pytest.approx(100, abs=0.1)  # black to white, in L
    assert border_colour(GREY) == pytest.approx(0, abs=1e-6)
    assert border_colour(noise(256)) < 1.5
    assert border_colour(torch.cat([framed, framed * 0])) == pytest.approx(50, abs=0.1)
    small = torch.nn.functional.pad(torch.zeros(1, 3, 10, 10), (5, 5, 5, 5), value=1)
    assert border_colour(small, band=8) == pytest.approx(100, abs=0.1)  # narrowed to a quarter of 20 px


def test_a_colour_veil() -> None:
    photo = picture(48, 64)
    assert colour_drift(photo, photo) == (0, 0, 0)
    assert colour_drift(torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)) == pytest.approx((100, 0, 0), abs=0.1)
    veil = torch.tensor([0.1, 0.1, 0.0]).view(1, 3, 1, 1)  # yellow
    lightness, _, yellow = colour_drift(0.8 * photo + veil, 0.8 * photo)
    assert lightness > 2
    assert yellow > 5
    back = colour_drift(0.8 * photo, 0.8 * photo + veil)
    assert back[2] == pytest.approx(-yellow)
    assert max(map(abs, colour_drift(photo.flip(-1), photo))) < 1e-9  # pixels that moved are no veil


def test_clipped_pixels() -> None:
    assert clipped_share(GREY) == 0
    half = GREY.clone()
    half[..., :32] = 1
    assert clipped_share(half) == 0.5
    one_channel = GREY.clone()
    one_channel[:, 2, :16] = 0.001  # 0 in a file of 8 bits
    assert clipped_share(one_channel) == 0.25
    over = (2 * noise(128) - 0.5).clamp(0, 1)  # each channel clips half of the time
    assert clipped_share(over) == pytest.approx(1 - 0.5**3, abs=0.02)


def test_all_of_them() -> None:
    photo = picture(48, 64)
    found = artefacts(photo, photo)
    assert found["nyquist"] < 1e-4
    assert found["drift_lightness"] == 0
    assert 0 <= found["clipped"] <= 1
    assert all(map(math.isfinite, found.values()))


def test_ratio() -> None:
    assert [ratio(1, 2), ratio(0, 0), ratio(1, 0)] == [0.5, 1, math.inf]


def test_too_small() -> None:
    with pytest.raises(ValueError, match="8x8 px or more, not 20x7"):
        grid_energy(GREY[..., :7, :20], 2)
    with pytest.raises(ValueError, match="3x3 px is too small"):
        border_colour(GREY[..., :3, :3])
