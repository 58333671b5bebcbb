import pytest
import torch
from torch import nn

from texturenet.muon import MOMENTUM, RMS, Muon, orthogonalized


@pytest.mark.parametrize("shape", [(8, 27), (16, 16), (40, 9)])
def test_all_directions_count_alike(shape: tuple[int, int]) -> None:
    """As the singular value decomposition has it, U V^T, but for a factor near 1 in each direction."""
    matrix = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalized(matrix)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    factors = torch.diagonal(left.mT @ found @ right.mT, dim1=1, dim2=2)
    large = factors[values > 0.1 * values.amax(dim=1, keepdim=True)]  # of a square matrix a few are small
    assert large.numel() > 0.8 * factors.numel() and large.min() > 0.6 and large.max() < 1.25
    between = found - left @ torch.diag_embed(factors) @ right
    assert between.abs().max() < 1e-4


def test_nothing_to_learn_is_no_step() -> None:
    weight = nn.Parameter(torch.ones(4, 3, 3, 3))
    weight.grad = torch.zeros_like(weight)
    Muon([weight], lr=1.0).step()
    assert torch.equal(weight, torch.ones_like(weight))


def test_a_step_has_one_size_whatever_the_gradients() -> None:
    """Weights of one shape go together, and none is taken for another."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(16, 8, 3, 3), (16, 8, 3, 3), (8, 8, 1, 1)]
    weights = [nn.Parameter(torch.zeros(shape).to(memory_format=torch.channels_last)) for shape in shapes]
    gradients = [torch.randn(shape, generator=generator) * 10**k for k, shape in enumerate(shapes)]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    optimizer = Muon(weights, lr=0.01)
    optimizer.step()
    for weight, gradient in zip(weights, gradients, strict=True):
        assert weight.detach().square().mean().sqrt().item() == pytest.approx(0.01 * RMS, rel=0.3)
        assert torch.cosine_similarity(weight.flatten(), -gradient.flatten(), dim=0) > 0.7


def test_a_step_goes_on_where_the_last_ones_went() -> None:
    weight = nn.Parameter(torch.zeros(2, 2, 1, 1))
    optimizer = Muon([weight], lr=1.0)
    weight.grad = torch.eye(2).view(2, 2, 1, 1)
    optimizer.step()
    first = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    second = weight.detach() - first
    mean = MOMENTUM * (1 - MOMENTUM) * torch.eye(2).view(2, 2, 1, 1)
    assert torch.allclose(optimizer.state[weight]["momentum"], mean)
    assert torch.allclose(second, first, rtol=0.3) and first[0, 0].item() < -0.3


def test_muon_finds_what_a_linear_map_is() -> None:
    """A least-squares problem whose directions differ by a thousand in what they weigh."""
    generator = torch.Generator().manual_seed(0)
    wanted = torch.randn(8, 4, 3, 3, generator=generator)
    scale = torch.logspace(0, -3, 36).view(1, 4, 3, 3)
    weight = nn.Parameter(torch.zeros_like(wanted))
    optimizer = Muon([weight], lr=0.1)
    losses = []
    for step in range(200):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * (1 - step / 200)
        optimizer.zero_grad()
        loss = ((weight - wanted) * scale).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-3 * losses[0]
    assert (weight - wanted).detach().abs().mean() < 0.3 * wanted.abs().mean()
