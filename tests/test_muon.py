import pytest
import torch
from torch import nn

from texturenet.muon import MOMENTUM, Muon, orthogonalized


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
    weights = [nn.Parameter(torch.full((4, 3, 3, 3), value)) for value in (1.0, 0.0)]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    Muon(weights, lr=1.0).step()
    for weight, value in zip(weights, (1.0, 0.0), strict=True):
        assert torch.allclose(weight, torch.full_like(weight, value))


def drawn(*shapes: tuple[int, ...], seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [
        nn.Parameter(torch.randn(shape, generator=generator).to(memory_format=torch.channels_last)) for shape in shapes
    ]


def test_a_step_turns_a_weight_by_one_angle_whatever_the_sizes() -> None:
    """Weights of one shape go together, and none is taken for another."""
    shapes = (16, 8, 3, 3), (16, 8, 3, 3), (8, 8, 1, 1)
    weights = drawn(*shapes)
    gradients = [gradient.detach() * 10**k for k, gradient in enumerate(drawn(*shapes, seed=1))]
    before = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        weights[1] *= 100
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    Muon(weights, lr=0.02).step()
    for weight, gradient, old, size in zip(weights, gradients, before, (1, 100, 1), strict=True):
        now = weight.detach() / size
        assert now.norm().item() == pytest.approx(old.norm().item(), rel=1e-5)
        turned = torch.acos(torch.cosine_similarity(now.flatten().double(), old.flatten().double(), dim=0))
        across = gradient - (gradient * old).sum() / old.square().sum() * old
        assert turned.item() == pytest.approx(0.02, rel=0.3)
        assert torch.cosine_similarity((now - old).flatten(), -across.flatten(), dim=0) > 0.7


def test_a_step_goes_on_where_the_last_ones_went() -> None:
    weight = drawn((8, 8, 1, 1))[0]
    optimizer = Muon([weight], lr=0.02)
    before, gradient = weight.detach().clone(), drawn((8, 8, 1, 1), seed=1)[0].detach()
    weight.grad = gradient
    optimizer.step()
    first = weight.detach() - before
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    second = weight.detach() - before - first
    assert torch.allclose(optimizer.state[weight]["momentum"], MOMENTUM * (1 - MOMENTUM) * gradient)
    assert torch.cosine_similarity(first.flatten(), second.flatten(), dim=0) > 0.95


def test_muon_finds_the_direction_of_a_linear_map() -> None:
    """A least-squares problem whose directions differ by a hundred in what they weigh."""
    wanted, weight = (parameter.detach() for parameter in drawn((8, 4, 3, 3), (8, 4, 3, 3)))
    weight = nn.Parameter(weight.flip(0))
    scale = torch.logspace(0, -2, 36).view(1, 4, 3, 3)
    optimizer = Muon([weight], lr=0.1)
    losses = []
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * (1 - step / 300)
        optimizer.zero_grad()
        loss = ((weight / weight.norm() - wanted / wanted.norm()) * scale).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-3 * losses[0]
    assert torch.cosine_similarity(weight.flatten(), wanted.flatten(), dim=0) > 0.9
