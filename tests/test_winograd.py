"""Fast convolutions of frozen weights: torch's numbers, as exact as its own."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from texturenet import winograd
from texturenet.perceptual import random_encoder
from texturenet.winograd import FrozenConvolution


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def ways(monkeypatch):
    """The maps that took the fast way."""
    seen = []
    convolved = winograd._convolved

    def counted(x, *others, **named):
        seen.append(tuple(x.shape))
        return convolved(x, *others, **named)

    monkeypatch.setattr(winograd, "_convolved", counted)
    return seen


def layer(in_channels=64, out_channels=128, padding_mode="zeros"):
    return FrozenConvolution(in_channels, out_channels, padding_mode).requires_grad_(False)


def exact(conv, x):
    """By the definition, in float64."""
    bias = None if conv.bias is None else conv.bias.double()
    return F.conv2d(x.double(), conv.weight.double(), bias, padding=1)


@settings(deadline=None, max_examples=30)
@given(batch=st.integers(1, 3), height=st.integers(1, 23), width=st.integers(1, 23), threads=st.sampled_from([1, 2]))
def test_result_and_gradient_are_right_at_any_size(batch, height, width, threads):
    conv, weights = layer(3, 5), torch.randn(batch, 5, height, width).double()
    x = torch.randn(batch, 3, height, width, requires_grad=True)
    other = x.detach().double().requires_grad_()
    before, tiles = torch.get_num_threads(), winograd._AT_ONCE
    try:
        torch.set_num_threads(threads)
        winograd._AT_ONCE = 3  # so that maps are cut along pictures, and along rows
        result = winograd._Convolved.apply(x, conv._weight_values(), conv.bias)
        (result.double() * weights).sum().backward()
    finally:
        torch.set_num_threads(before)
        winograd._AT_ONCE = tiles
    expected = exact(conv, other)
    (expected * weights).sum().backward()
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(result.double(), expected, atol=1e-5)
    assert torch.allclose(x.grad.double(), other.grad, atol=1e-5)


def test_it_is_as_exact_as_torchs_own():
    conv = layer(256, 256)
    torch.nn.init.kaiming_normal_(conv.weight)
    x = torch.randn(1, 256, 32, 32)
    expected = exact(conv, x)
    own = (F.conv2d(x, conv.weight, conv.bias, padding=1) - expected).square().mean().sqrt()
    assert (conv(x) - expected).square().mean().sqrt() < 2 * own


def test_deep_layers_of_an_encoder_take_it_both_ways_and_give_the_same(ways, monkeypatch):
    encoder = random_encoder("lite")
    image = torch.rand(1, 3, 64, 64)

    def passed():
        x = image.clone().requires_grad_()
        features = encoder(x, ["relu3_4", "conv4_2"])
        sum(value.square().sum() for value in features.values()).backward()
        return [*features.values(), x.grad]

    fast = passed()
    assert ways[:4] == [(1, 64, 16, 16), *[(1, 128, 16, 16)] * 3]  # conv3_1 to conv3_4; at 8x8 there are few tiles
    assert len(ways) == 8
    monkeypatch.setattr(FrozenConvolution, "_gains", lambda *_: False)
    for mine, torchs in zip(fast, passed(), strict=True):
        assert torch.allclose(mine, torchs, rtol=1e-4, atol=1e-5 * torchs.abs().max().item())
    assert len(ways) == 8


def test_weights_that_are_trained_have_their_gradient(ways):
    conv = FrozenConvolution(64, 128)
    conv(torch.randn(1, 64, 16, 16)).sum().backward()
    assert conv.weight.grad is not None and conv.bias.grad is not None
    assert not ways


@pytest.mark.parametrize(
    ("conv", "x"),
    [
        (layer(64, 64), torch.randn(1, 64, 16, 16)),
        (layer(padding_mode="replicate"), torch.randn(1, 64, 16, 16)),
        (layer(), torch.randn(1, 64, 12, 16)),
        (layer().bfloat16(), torch.randn(1, 64, 16, 16).bfloat16()),
        (layer().double(), torch.randn(1, 64, 16, 16).double()),
    ],
    ids=["few channels", "another padding", "few tiles", "bfloat16", "float64"],
)
def test_where_nothing_is_gained_torch_convolves(ways, conv, x):
    assert conv(x).shape == (1, conv.out_channels, *x.shape[2:])
    assert not ways


def test_under_autocast_torch_convolves(ways):
    with torch.autocast("cpu", torch.bfloat16):
        assert layer()(torch.randn(1, 64, 16, 16)).dtype == torch.bfloat16
    assert not ways


def test_new_weights_are_seen(ways):
    conv, x = layer(), torch.randn(1, 64, 16, 16)
    conv(x)
    for change in (
        lambda: conv.load_state_dict({"weight": torch.randn(128, 64, 3, 3), "bias": torch.randn(128)}),
        lambda: conv.load_state_dict({"weight": torch.randn(128, 64, 3, 3), "bias": torch.randn(128)}, assign=True),
        lambda: conv.weight.mul_(2),
        lambda: conv.double().float().to(memory_format=torch.channels_last),
    ):
        change()
        conv.requires_grad_(False)
        assert torch.allclose(conv(x).double(), exact(conv, x), atol=1e-3)
    assert len(ways) == 5


def test_a_network_made_for_painting_alone(ways):
    with torch.inference_mode():
        conv, x = layer(), torch.randn(1, 64, 16, 16)
        assert torch.allclose(conv(x).double(), exact(conv, x), atol=1e-4)
    assert len(ways) == 1


def test_what_was_prepared_for_painting_serves_training(ways):
    conv, x = layer(), torch.randn(1, 64, 16, 16)
    with torch.inference_mode():
        conv(x)
    y = x.clone().requires_grad_()
    conv(y).sum().backward()
    assert y.grad is not None and len(ways) == 3
