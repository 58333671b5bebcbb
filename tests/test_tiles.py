from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, picture
from torch import Tensor

from texturenet import checkpoint, tiles
from texturenet.generators import PADDINGS, UPSAMPLINGS, Generator, Pyramid, Residual, make_noise

ENOUGH, SOME, NOTHING = 2**30, 2**23, 0  # bytes to store maps in
SHIPPED = sorted((ROOT / "checkpoints").glob("*.pt"))


def untrained(kind: type[Pyramid | Residual], **options: Any) -> Generator:
    torch.manual_seed(0)
    small = {"scales": 4, "width": 4} if kind is Pyramid else {"width": 4, "blocks": 2}
    return kind(**(small | options)).eval()


@torch.no_grad()
def both_ways(
    generator: Generator, height: int, width: int, values: int, room: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, Tensor, list[int]]:
    """The picture in one piece, the picture in strips, and the first row of each strip."""
    photo = picture(height, width) if generator.content else None
    whole = generator(photo, make_noise(generator, 1, height, width, seed=3))[..., :height, :width]
    monkeypatch.setitem(tiles.STRIP_VALUES, "cpu", values)
    monkeypatch.setattr(tiles, "_FIXED", 0)
    room += 2 * 4 * tiles._STRIPS_ALIVE * values
    rows = None if photo is None else lambda first, last: photo[..., first:last, :]
    strips = list(tiles.paint(generator, rows, height, width, 3, 1.0, room))
    return whole, torch.cat([strip for _, strip in strips], dim=-2), [first for first, _ in strips]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_style_without_seams(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Odd sides, and strips of 15 rows, less than one convolution of the coarsest scale sees."""
    generator = checkpoint.build_generator(checkpoint.load(path))
    whole, tiled, starts = both_ways(generator, 301, 203, 15 * 203 * generator.channels, SOME, monkeypatch)
    assert tiled.shape == whole.shape and starts == list(range(0, 301, 15))
    error = (tiled - whole).abs().mean(dim=(0, 1, 3))  # of each row
    assert error.mean() < 1e-5  # 1/255 is 4e-3
    seams = torch.tensor([row for start in starts[1:] for row in (start - 1, start)])
    assert error[seams].mean() < 2 * error.mean() + 1e-7


def test_styles_ship() -> None:
    assert SHIPPED


@pytest.mark.parametrize(
    ("kind", "options"),
    [(kind, {"upsampling": each}) for kind in (Pyramid, Residual) for each in UPSAMPLINGS],
    ids=str,
)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("rows", [1, 3])
def test_strips_of_a_few_rows(
    kind: type[Pyramid | Residual],
    options: dict[str, str],
    padding: str,
    content: bool,
    rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = untrained(kind, padding=padding, content=content, **options)
    across = 4 * -(-37 // generator.multiple) * generator.multiple
    whole, tiled, starts = both_ways(generator, 45, 37, rows * generator.channels * across // 4, NOTHING, monkeypatch)
    assert starts == list(range(0, 45, rows))
    assert (tiled - whole).abs().max() < 1e-5


@pytest.mark.parametrize(
    "generator",
    [
        untrained(Pyramid, normalization="batch"),
        untrained(Residual, noise_channels=0, direct=True, slope=0.0),
        untrained(Pyramid, scales=6),  # enlarged from 1 x 2 positions
        untrained(Pyramid, scales=6, upsampling="bilinear"),
        untrained(Pyramid, noise_scales=1),
    ],
    ids=["batch norm", "a picture without noise", "16 px", "16 px, bilinear", "noise of one scale"],
)
@pytest.mark.parametrize("room", [ENOUGH, NOTHING])
def test_unusual_networks(generator: Generator, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, tiled, _ = both_ways(generator, 16, 21, 60, room, monkeypatch)
    assert (tiled - whole).abs().max() < 1e-5


@pytest.mark.parametrize("together", [1, 8])
def test_statistics_far_from_zero(together: int) -> None:
    """A sum of squares would lose the variance of 1000 +- 0.1 in float32."""
    torch.manual_seed(0)
    x = 1000 + 0.1 * torch.rand(1, 2, 50, 40)
    strips = x.split(7, dim=-2)
    mean, variance = tiles._together([(strip.shape[-2], *tiles._moments(strip, together)) for strip in strips])
    exact = x.double()
    assert torch.allclose(mean.double(), exact.mean((0, 2, 3)), rtol=1e-7)
    assert torch.allclose(variance.double(), exact.var((0, 2, 3), correction=0), rtol=1e-3)


def test_memory_is_bounded_by_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a room for strips of ten rows no convolution sees many more."""
    generator, photo = untrained(Pyramid), picture(200, 64)
    largest = 0
    convolve = torch.nn.functional.conv2d

    def watched(x: Tensor, *rest: Any) -> Tensor:
        nonlocal largest
        largest = max(largest, x.numel())
        return convolve(x, *rest)

    monkeypatch.setattr(torch.nn.functional, "conv2d", watched)
    strip = generator.channels * 10 * 64
    room = tiles._FIXED + 2 * 4 * tiles._STRIPS_ALIVE * strip
    painted = list(tiles.paint(generator, lambda first, last: photo[..., first:last, :], 200, 64, 0, 1.0, room))
    assert [first for first, _ in painted] == list(range(0, 200, 10))
    assert largest < 2 * strip
