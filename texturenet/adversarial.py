"""Adversarial training: pictures that are changed by hardly anything, and most of all so that the network errs.

What a classifier goes by on clean pictures is in good part grain that nobody sees. As a loss, its features can be
served by grain too, which is what pictures by L-BFGS are full of then, and what no feed-forward network learns to
paint. Trained on pictures that are perturbed against it, a network has to go by what is seen (Engstrom et al. 2019,
arXiv 1906.00945; for style transfer Nakano 2019, doi 10.23915/distill.00019.4). Figures of both: docs/experiments.md.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

STEP = 1.25  # of the radius


def perturbed(scores: Callable[[Tensor], Tensor], pictures: Tensor, labels: Tensor, radius: float) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1], each value moved by `radius` at most, of which `scores` gets more wrong.

    One step along the sign of the gradient from a random start: Wong, Rice and Kolter 2020 (arXiv 2001.03994,
    algorithm 3). No weights get a gradient.
    """
    start = torch.empty_like(pictures).uniform_(-radius, radius)
    moved = (pictures + start).clamp_(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(functional.cross_entropy(scores(moved), labels), moved)
    shift = (start + STEP * radius * gradient.sign()).clamp_(-radius, radius)
    return (pictures + shift).clamp_(0, 1)
