"""Perturbed pictures: how far they are from the given ones, and that they mislead."""

import pytest
import torch
from conftest import picture
from torch import Tensor, nn
from torch.nn import functional

from texturenet.adversarial import perturbed

RADIUS = 3 / 255


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


@pytest.fixture
def pictures() -> Tensor:
    return picture(24, 24, batch=6).clamp(0.001, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_misleads_and_nobody_sees_it(network: nn.Module, pictures: Tensor, dtype: torch.dtype) -> None:
    labels = network(pictures).argmax(1)

    def scores(shown: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            scored: Tensor = network(shown)
        return scored.float()

    torch.manual_seed(0)
    moved = perturbed(scores, pictures, labels, RADIUS)
    assert moved.shape == pictures.shape and moved.min() >= 0 and moved.max() <= 1
    assert (moved - pictures).abs().mean() > RADIUS / 4 and (moved - pictures).abs().max() <= RADIUS + 1e-6
    by_chance = (pictures + RADIUS * torch.randn_like(pictures).sign()).clamp(0, 1)
    clean, noisy, misled = (functional.cross_entropy(network(x), labels) for x in (pictures, by_chance, moved))
    assert misled - clean > 4 * abs(noisy - clean)


def test_the_network_keeps_what_it_had(network: nn.Module, pictures: Tensor) -> None:
    labels = torch.zeros(6, dtype=torch.long)
    perturbed(network, pictures, labels, RADIUS)
    assert not pictures.requires_grad
    assert all(value.grad is None and value.requires_grad for value in network.parameters())
