"""Muon: steps for the weights of convolutions that count every direction alike, and turn a weight by a set angle.

Jordan et al. 2024 (kellerjordan.github.io/posts/muon): the mean gradient of a matrix, with Nesterov's momentum, is
replaced by the nearest matrix whose rows are orthonormal, so that what few photos ask for moves the weights as far as
what all of them ask for. A convolution's weight is taken as the matrix out x (in k k). torch.optim.Muon takes matrices
alone, and multiplies in bf16, which on a CPU takes 2 to 7 times as long as float32 here.

A norm follows each of these weights, which takes its size away: only its direction counts. Steps of a set length make
it grow, and the same step then turns it less and less, least in a style that has been trained for long. So a weight
keeps the size that it was drawn with, and the learning rate is the angle, in radians, that a step turns it by (the
rotation of Kosson et al. 2023, arXiv 2305.17212). See "How a step is taken" in docs/experiments.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
# a X + b X X^T X + c (X X^T)^2 X pulls each singular value of X towards 1: in five rounds to between 0.7 and 1.2.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


def orthogonalized(matrices: Tensor) -> Tensor:
    """(N, R, C) -> for each the nearest matrix whose singular values are all 1, nearly; zeros stay zeros."""
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Muon(torch.optim.Optimizer):
    """Of weights (out, in, k, k) that a norm follows."""

    def __init__(self, weights: Iterable[Tensor], lr: float) -> None:
        super().__init__(weights, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Turn each weight by lr down its gradients; weights of one shape are orthogonalised together."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                shapes.setdefault(weight.shape, []).append(weight)
            for shape, weights in shapes.items():
                before = torch.stack(weights).flatten(2)
                step = orthogonalized(torch.stack([self._ahead(weight) for weight in weights]).flatten(2))
                size = torch.linalg.matrix_norm(before, keepdim=True)
                length = torch.linalg.matrix_norm(step, keepdim=True).clamp_min(1e-7)
                after = before - group["lr"] * size / length * step
                after *= size / torch.linalg.matrix_norm(after, keepdim=True).clamp_min(1e-7)
                torch._foreach_copy_(weights, list(after.view(-1, *shape)))

    def _ahead(self, weight: Tensor) -> Tensor:
        """The mean gradient, with the newest counted once more (Nesterov)."""
        state: dict[str, Any] = self.state[weight]
        gradient = weight.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        mean: Tensor = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(mean, MOMENTUM)
