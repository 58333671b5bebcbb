"""3x3 convolutions of frozen weights in float32 on a CPU, by a quarter of the multiplications.

F(4x4, 3x3) of Lavin and Gray 2016 (arXiv 1509.09308, section 4). A convolution along a line is a product of
polynomials, which can be had from the values of both at six points: tiles of 6x6 pixels and the weights are brought to
such values, these are multiplied, point by point and channels by channels, and the products brought back to 4x4 pixels.
That is 36 multiplications for each pair of channels where the convolution itself takes 144. torch asks oneDNN for the
convolution itself.

On one core of an EPYC with AVX2 256 channels of 64x64 took 25 ms for 50, 512 of 32x32 21 for 52, 128 of 64x64 9 for 14.
One picture through VGG19 to relu5_1 and back, at 512 px, took 3.9 s for 5.5, through `lite` 1.2 for 1.6; a training
step with VGG19 at 256 px 1.3 s for 1.9, with `lite` 0.67 for 0.74.

The points are 0, 2/3, -2/3, 3/2, -3/2 and infinity, for the paper's 0, 1, -1, 2, -2 and infinity. Those make small
whole numbers of the transforms, which spares nothing here, where these are matrix products. With ours less of what is
rounded is enlarged: 256 channels of normal values are off by 1.5e-6 (RMS; of 1.4), by 3.4e-6 with the paper's points,
and by 1.2e-6 in torch's convolution. And p -> 1/p maps them to each other: weights turned round, with which the
gradient of the input convolves, have the same values in another order.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PaddingMode = Literal["zeros", "replicate"]
_POINTS = (0.0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)  # and infinity, a polynomial's value at which is its last coefficient
_INVERSE = (5, 3, 4, 1, 2, 0)  # which point is one over each
_MADE, _SEEN = 4, 6  # px a side of what is computed at once, and of what that sees
# Tiles are brought to values and back channel by channel, and multiplied pair by pair: with few channels there is no
# gain, nor with few tiles, for which the weights' values have to be read, four times as many as they are.
_LEAST_PAIRS = 64 * 128
_LEAST_TILES = 16
_AT_ONCE = 128  # tiles of each thread, of some: as many as the products want for their full rate, and the cache holds
_MOST_AT_ONCE = 512


def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """Of one axis: weights (3) and pixels (6) to values (6), and products (6) to pixels (4)."""
    points = torch.tensor(_POINTS, dtype=torch.float64)

    def powers(count: int) -> Tensor:
        last = torch.eye(count, dtype=torch.float64)[-1:]
        return torch.cat([points[:, None] ** torch.arange(count), last])

    # Scaled so that turned weights have at 1/p what the weights have at p.
    size = torch.cat([1 + points.square(), torch.ones(1, dtype=torch.float64)])[:, None]
    return powers(3) / size, torch.linalg.inv(powers(_SEEN)).T * size, powers(_MADE).T


_WEIGHTS, _PIXELS, _BACK = _matrices()
_ORDERS = {
    False: list(range(_SEEN**2)),
    True: [_SEEN * row + column for row in _INVERSE for column in _INVERSE],
}
_IN = {turned: torch.kron(_PIXELS, _PIXELS)[order].float() for turned, order in _ORDERS.items()}
_OUT = {turned: torch.kron(_BACK, _BACK)[:, order].float().contiguous() for turned, order in _ORDERS.items()}


class FrozenConvolution(nn.Conv2d):
    """nn.Conv2d, 3x3 with a padding of one pixel; the fast way where it is one, and the weights are not trained."""

    def __init__(self, in_channels: int, out_channels: int, padding_mode: PaddingMode = "zeros") -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, padding_mode=padding_mode)
        # Weights, their version and `_weight_values` of them. They are held, so that no others come to their address.
        self._prepared: tuple[Tensor, int, Tensor] | None = None

    def forward(self, input: Tensor) -> Tensor:
        if not self._gains(input):
            return super().forward(input)
        result: Tensor = _Convolved.apply(input, self._weight_values(), self.bias)  # type: ignore[no-untyped-call]
        return result

    def _gains(self, x: Tensor) -> bool:
        return (
            x.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and not self.weight.requires_grad
            and self.padding_mode == "zeros"
            and self.in_channels * self.out_channels >= _LEAST_PAIRS
            and len(x) * x.shape[-2] * x.shape[-1] >= _LEAST_TILES * _MADE**2
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        )

    @torch.inference_mode(False)
    @torch.no_grad()
    def _weight_values(self) -> Tensor:
        """(36, in, out), kept for as long as the weights are these."""
        weight = self.weight.detach()
        version = 0 if weight.is_inference() else weight._version
        if self._prepared is not None:
            of, then, values = self._prepared
            if of.data_ptr() == weight.data_ptr() and then == version:
                return values
        values = torch.einsum("ai, bj, ocij -> abco", _WEIGHTS, _WEIGHTS, weight.double())
        values = values.flatten(0, 1).float().contiguous()
        self._prepared = weight, version, values
        return values


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weights)
        return _convolved(x, weights, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weights,) = ctx.saved_tensors
        return _convolved(gradients[0], weights.transpose(1, 2), None, turned=True), None, None


def _convolved(x: Tensor, weights: Tensor, bias: Tensor | None, *, turned: bool = False) -> Tensor:
    """x (B, C, H, W) and values of weights (36, C, D) -> (B, D, H, W) in channels_last."""
    batch, channels, height, width = x.shape
    made = weights.shape[2]
    rows, columns = -(-height // _MADE), -(-width // _MADE)  # of tiles
    around = (1, 1 + _MADE * columns - width, 1, 1 + _MADE * rows - height)
    padded = F.pad(x, around).permute(0, 2, 3, 1).contiguous()
    each, down, right, _ = padded.stride()
    tiles = padded.as_strided(
        (_SEEN, _SEEN, batch, rows, columns, channels), (down, right, each, _MADE * down, _MADE * right, 1)
    )
    size = (batch, made, _MADE * rows, _MADE * columns)
    result = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)
    places = result.permute(0, 2, 3, 1).view(batch, rows, _MADE, columns, _MADE, made)
    at_once = min(torch.get_num_threads() * _AT_ONCE, _MOST_AT_ONCE)
    pictures, lines = max(1, at_once // (rows * columns)), max(1, at_once // columns)
    for first in range(0, batch, pictures):
        for top in range(0, rows, lines):
            some = tiles[:, :, first : first + pictures, top : top + lines]
            *_, here, high, wide, _ = some.shape
            values = _IN[turned] @ some.reshape(_SEEN**2, -1)
            products = torch.bmm(values.view(_SEEN**2, -1, channels), weights)
            pixels = _OUT[turned] @ products.view(_SEEN**2, -1)
            pixels = pixels.view(_MADE, _MADE, here, high, wide, made).permute(2, 3, 0, 4, 1, 5)
            place = places[first : first + pictures, top : top + lines]
            if bias is None:
                place.copy_(pixels)
            else:
                torch.add(pixels, bias, out=place)
    if (height, width) == result.shape[-2:]:
        return result
    return result[..., :height, :width].contiguous(memory_format=torch.channels_last)
