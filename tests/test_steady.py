"""Clips at 10 frames a second through a network with one instance norm, whose answer can be worked out."""

import math

import torch
from conftest import picture
from torch import Tensor, nn

from texturenet.metrics import flicker
from texturenet.steady import SECONDS, Steady
from texturenet.stylizer import Stylizer

NORM = nn.InstanceNorm2d(3, eps=0)
GREY = picture(32, 32)


def change(frames: list[Tensor]) -> float:
    return flicker(frames, [torch.zeros(1), torch.ones(1)] * (len(frames) // 2))


def painted(frames: list[Tensor]) -> list[Tensor]:
    steady = Steady(NORM)
    return [steady(frame, i / 10) for i, frame in enumerate(frames)]


def blinking() -> list[Tensor]:
    """A third of the picture turns white in every third frame."""
    frames = [GREY.clone() for _ in range(12)]
    for frame in frames[1::3]:
        frame[..., :10, :] = 1
    return frames


def test_an_object_moves_the_statistics_slowly() -> None:
    frames = blinking()
    rest = slice(10, None)
    alone = [NORM(frame)[..., rest, :] for frame in frames]
    assert change([frame[..., rest, :] for frame in painted(frames)]) < 0.2 * change(alone)


def test_the_average_has_its_time_constant() -> None:
    frames = blinking()[:2]
    mean = [frame.mean(dim=(2, 3), keepdim=True) for frame in frames]
    variance = [frame.var(dim=(2, 3), correction=0, keepdim=True) for frame in frames]
    weight = 1 - math.exp(-0.1 / SECONDS)
    expected = (frames[1] - torch.lerp(*mean, weight)) / torch.lerp(*variance, weight).sqrt()
    torch.testing.assert_close(painted(frames)[1], expected, rtol=1e-4, atol=1e-4)


def test_a_cut_and_a_flickering_light_get_their_own_statistics() -> None:
    cut = [GREY] * 3 + [picture(32, 32, seed=1)]
    torch.testing.assert_close(painted(cut)[-1], NORM(cut[-1]), rtol=0, atol=1e-4)
    light = [GREY * (0.8 + 0.1 * (i % 2)) for i in range(6)]
    torch.testing.assert_close(painted(light), [NORM(frame) for frame in light], rtol=0, atol=1e-4)


def test_goes_on_from_a_state() -> None:
    frames = blinking()
    first, second = Steady(NORM), Steady(NORM)
    for i, frame in enumerate(frames[:5]):
        first(frame, i / 10)
    second.restore(first.state())
    assert torch.equal(first(frames[5], 0.5), second(frames[5], 0.5))


def test_a_network_without_norms_goes_through() -> None:
    steady = Steady(lambda frame: 1 - frame)
    assert torch.equal(steady(GREY, 0.0), 1 - GREY)
    assert torch.equal(steady(GREY, 0.1), 1 - GREY)


def test_two_styles_keep_their_own_statistics() -> None:
    """As inside and outside of a mask; on a CPU each pass counts its norms from 0."""
    inside, outside = Stylizer("mosaic"), Stylizer("wave")
    both = Steady(lambda frame: torch.cat([inside(frame), outside(frame)]))
    for time in range(3):
        pictures = both(GREY, time / 10)
        torch.testing.assert_close(pictures, torch.cat([inside(GREY), outside(GREY)]), atol=1e-3, rtol=0)


def test_statistics_that_overflowed_are_no_past() -> None:
    """A network in float16 may paint a frame in vain, and once more in float32."""

    class Overflowing(nn.Module):
        def forward(self, frame: Tensor) -> Tensor:
            return NORM(frame * torch.inf) if frame.mean() > 0.9 else NORM(frame)

    steady = Steady(Overflowing())
    assert not steady(torch.ones_like(GREY), 0.0).isfinite().all()
    assert steady(GREY, 0.1).isfinite().all()
