"""Convolution, padding and enlargement in training: torch's own numbers, whichever way they are come by."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from texturenet import convolutions
from texturenet.convolutions import Convolution, pad, twice_as_large
from texturenet.generators import PADDINGS


@pytest.fixture
def avx2(monkeypatch):
    """A CPU with AVX2 and no more; how often the gradient was taken in two layouts."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    layouts = []
    gradients = convolutions._gradients

    def seen(gradient, x, *others):
        layouts.append("NCHW" if x.is_contiguous() else "NHWC")
        return gradients(gradient, x, *others)

    monkeypatch.setattr(convolutions, "_gradients", seen)
    return layouts


def passed(conv, x):
    """Result, and gradients of input, weights and bias."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    conv.zero_grad()
    result = conv(x)
    result.square().sum().backward()
    return [result, x.grad, *(weight.grad for weight in conv.parameters())]


def maps(batch=2, channels=5, height=9, width=12):
    return torch.randn(batch, channels, height, width).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("kernel", "stride", "bias"), [(3, 1, False), (3, 2, True), (9, 1, True)])
def test_result_and_gradients_are_torchs(avx2, padding, kernel, stride, bias):
    torch.manual_seed(0)
    ours = Convolution(5, 4, kernel, stride, kernel // 2, padding_mode=padding, bias=bias)
    torchs = nn.Conv2d(5, 4, kernel, stride, kernel // 2, padding_mode=padding, bias=bias)
    torchs.load_state_dict(ours.state_dict())
    for conv in (ours, torchs):
        conv.to(memory_format=torch.channels_last)
    x = maps()
    for mine, theirs in zip(passed(ours, x), passed(torchs, x), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-4)
    assert len(avx2) == 2 and avx2[-1] == "NCHW"


@settings(deadline=None)
@given(height=st.integers(1, 8), width=st.integers(1, 8), channels=st.integers(1, 4))
def test_gradients_are_right(height, width, channels):
    torch.manual_seed(0)
    x = torch.randn(1, channels, height + 2, width + 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, channels, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *of: convolutions._Convolved.apply(*of, None, (1, 1)), (x, weight))


def test_the_layout_of_weights_gradients_is_the_weights(avx2):
    """As the fused optimizer needs it, which goes through the memory of both in one order."""
    conv = Convolution(4, 4, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    passed(conv, maps(channels=4))
    assert avx2 and conv.weight.grad.stride() == conv.weight.stride()


def test_torchs_way_is_taken_where_it_is_no_slower(avx2, monkeypatch):
    def gradients(conv, x):
        avx2.clear()
        passed(conv, x)
        return avx2

    conv = Convolution(5, 4, 3, padding=1).to(memory_format=torch.channels_last)
    assert gradients(conv, maps())
    assert not gradients(conv, maps().contiguous())
    assert not gradients(Convolution(5, 4, 1).to(memory_format=torch.channels_last), maps())
    with torch.autocast("cpu", torch.bfloat16):
        assert not gradients(conv, maps())
    assert not gradients(conv.double(), maps().double())
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert not gradients(conv.float(), maps())


def test_without_gradients_nothing_is_kept(avx2):
    conv = Convolution(5, 4, 3, padding=1, padding_mode="reflect").to(memory_format=torch.channels_last)
    with torch.no_grad():
        result = conv(maps())
    assert result.grad_fn is None
    x = maps()
    conv.requires_grad_(False)
    padded = F.pad(x, (1, 1, 1, 1), "reflect")
    assert torch.equal(conv(x), F.conv2d(padded, conv.weight, conv.bias)) and not avx2


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_keeps_the_type_that_autocast_chose(mode):
    x = maps().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        padded = pad(x, (1, 1, 1, 1), mode)
    assert padded.dtype == torch.bfloat16 and torch.equal(padded, F.pad(x, (1, 1, 1, 1), mode))
    assert pad(x, (0, 0, 0, 0), mode) is x


@settings(deadline=None)
@given(height=st.integers(1, 8), width=st.integers(1, 8), channels=st.integers(1, 4), batch=st.integers(1, 2))
def test_a_map_twice_as_large_and_its_gradient_are_torchs(height, width, channels, batch):
    torch.manual_seed(0)
    x, gradient = maps(batch, channels, height, width), torch.randn(batch, channels, 2 * height, 2 * width)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours, torchs = twice_as_large(mine), F.interpolate(theirs, scale_factor=2.0, mode="bilinear")
    assert torch.equal(ours, torchs)
    ours.backward(gradient)
    torchs.backward(gradient)
    assert torch.allclose(mine.grad, theirs.grad, atol=1e-5)


def test_the_gradient_of_an_enlargement_keeps_its_type_and_layout():
    """Under autocast too, and of a part of a map, as the joined ones give it."""
    x = maps(2, 8, 16, 16).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        large = torch.cat([twice_as_large(x), torch.ones(2, 3, 32, 32).bfloat16()], dim=1)
        large.sum().backward()
    assert x.grad.dtype == torch.bfloat16 and x.grad.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x.grad, torch.full_like(x, 4))
