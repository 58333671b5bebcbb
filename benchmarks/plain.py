"""The baselines: what a straightforward eager fp32 script runs, after pytorch/examples' fast_neural_style.

The same network, loss and weights as ours, and Johnson's network, which most users would otherwise run. Nothing is
slow on purpose: perceptual weights are frozen, the photo's features are taken without a graph and to the layer that is
needed, pictures are painted without gradients. Nothing is tuned either: no autocast, no memory layouts, whole maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenet.colors import in_palette, palette_of
from texturenet.config import Recipe

# --- networks --------------------------------------------------------------------------------------------------------


def _layer(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, padding_mode="reflect", bias=False),
        nn.InstanceNorm2d(out_channels, affine=True),
        nn.LeakyReLU(0.01),
    )


def _block(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(_layer(in_channels, channels, 3), _layer(channels, channels, 3), _layer(channels, channels, 1))


class Pyramid(nn.Module):
    """`texturenet.generators.Pyramid` as train.py has it for photos, but with texture_nets' slope.

    Takes that network's state dict as it is.
    """

    def __init__(self, scales: int = 6, width: int = 8, noise_channels: int = 3) -> None:
        super().__init__()
        self.scales, self.noise_channels = scales, noise_channels
        coarser = [width * (scales - 1 - k) for k in range(scales - 1)]
        self.enter = nn.ModuleList(_block(3 + noise_channels, width) for _ in range(scales))
        self.norm_coarse = nn.ModuleList(nn.InstanceNorm2d(channels, affine=True) for channels in coarser)
        self.norm_fine = nn.ModuleList(nn.InstanceNorm2d(width, affine=True) for _ in coarser)
        self.join = nn.ModuleList(_block(channels + width, channels + width) for channels in coarser)
        self.to_rgb = nn.Conv2d(width * scales, 3, 1)
        self.light = nn.Sequential()
        self.light.add_module("norm", nn.InstanceNorm2d(3, eps=0.005))
        self.light.add_module("mix", nn.Conv2d(3, 3, 1))

    def forward(self, photo: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """photo (B, 3, H, W) in [0, 1], H and W at least 64; noise finest first, or drawn here -> (B, 3, H, W)."""
        height, width = photo.shape[-2:]
        multiple = 2 ** (self.scales - 1)
        padded = F.pad(photo, (0, -width % multiple, 0, -height % multiple), mode="reflect")
        pooled = [padded]
        for _ in range(self.scales - 1):
            pooled.append(F.avg_pool2d(pooled[-1], 2))
        if noise is None:
            noise = [torch.rand(len(p), self.noise_channels, *p.shape[-2:], device=p.device) for p in pooled]
        x = self.enter[-1](torch.cat([pooled[-1] - 0.5, noise[-1]], 1))
        for k in reversed(range(self.scales - 1)):
            coarse = F.interpolate(self.norm_coarse[k](x), scale_factor=2, mode="bilinear")
            fine = self.norm_fine[k](self.enter[k](torch.cat([pooled[k] - 0.5, noise[k]], 1)))
            x = self.join[k](torch.cat([fine, coarse], 1))
        return torch.sigmoid(self.to_rgb(x) + self.light(padded))[..., :height, :width]


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.ReflectionPad2d(kernel // 2), nn.Conv2d(in_channels, out_channels, kernel, stride))


def _conv_norm(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        _conv(in_channels, out_channels, kernel, stride), nn.InstanceNorm2d(out_channels, affine=True), nn.ReLU()
    )


class Johnson(nn.Module):
    """Johnson et al. 2016 as pytorch/examples has it: 9x9, 32-64-128, five residual blocks, enlarge-convolve, 9x9."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(_conv_norm(3, 32, 9), _conv_norm(32, 64, 3, 2), _conv_norm(64, 128, 3, 2))
        self.blocks = nn.ModuleList(
            nn.Sequential(_conv_norm(128, 128, 3), _conv(128, 128, 3), nn.InstanceNorm2d(128, affine=True))
            for _ in range(5)
        )
        self.leave = nn.Sequential(
            nn.Upsample(scale_factor=2),
            _conv_norm(128, 64, 3),
            nn.Upsample(scale_factor=2),
            _conv_norm(64, 32, 3),
            _conv(32, 3, 9),
        )

    def forward(self, photo: Tensor) -> Tensor:
        """photo (B, 3, H, W) in [0, 1], H and W multiples of 4 -> (B, 3, H, W)."""
        x = self.enter(photo)
        for block in self.blocks:
            x = x + block(x)
        picture: Tensor = self.leave(x)
        return picture


NETWORKS: dict[str, type[Pyramid | Johnson]] = {"plain": Pyramid, "Johnson": Johnson}

STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT = "relu4_2"  # unless the recipe names another
# Width and number of the convolutions of each block, and the pooling between blocks.
VGG: dict[str, tuple[tuple[int, ...], tuple[int, ...], type[nn.Module]]] = {
    "vgg19": ((64, 128, 256, 512, 512), (2, 2, 4, 4, 4), nn.MaxPool2d),
    "lite": ((32, 64, 128, 256, 256), (2, 2, 4, 4, 1), nn.AvgPool2d),
}


class Vgg(nn.Module):
    """VGG's chain of named layers, frozen; takes the state dict of `texturenet.perceptual.Encoder.chain` as it is."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        widths, counts, pool = VGG[name]
        self.chain = nn.ModuleDict()
        channels = 3
        for block, (width, count) in enumerate(zip(widths, counts, strict=True), start=1):
            for index in range(1, count + 1):
                mode: Literal["replicate", "zeros"] = "replicate" if channels == 3 else "zeros"
                self.chain[f"conv{block}_{index}"] = nn.Conv2d(channels, width, 3, padding=1, padding_mode=mode)
                self.chain[f"relu{block}_{index}"] = nn.ReLU()
                channels = width
            self.chain[f"pool{block}"] = pool(2)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, image: Tensor, last: str) -> dict[str, Tensor]:
        """(B, 3, H, W) in [0, 1] -> the activations of every layer as far as `last`."""
        x = (image - self.mean) / self.std
        features = {}
        for name, layer in self.chain.items():
            x = layer(x)
            if name.startswith("relu"):
                features[name] = x
            if name == last:
                break
        return features


# --- loss and step ---------------------------------------------------------------------------------------------------


def gram(features: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, C)."""
    b, c, h, w = features.shape
    flat = features.view(b, c, h * w)
    return flat @ flat.transpose(1, 2) / (c * h * w)


def like(features: Tensor, wanted: Tensor) -> Tensor:
    """Each channel with the mean and variance of `wanted`'s, as `texturenet.losses.content_loss` has it."""
    variance, mean = torch.var_mean(features, (2, 3), keepdim=True)
    wanted_variance, wanted_mean = torch.var_mean(wanted, (2, 3), keepdim=True)
    eps = 1e-3 * wanted_variance.mean(1, keepdim=True) + 1e-8
    return (features - mean) * ((wanted_variance + eps) / (variance + eps)).sqrt() + wanted_mean


def blurred(image: Tensor) -> Tensor:
    """`blur_8` of `texturenet.perceptual`."""
    return F.avg_pool2d(F.avg_pool2d(F.avg_pool2d(image, 4), 2, 1), 2, 1)


class Loss:
    """`texturenet.losses.PerceptualLoss` of a recipe with the default style layers, on the relative scale."""

    def __init__(self, vgg: Vgg, texture: Tensor, recipe: Recipe) -> None:
        self.vgg, self.recipe = vgg, recipe
        layers = recipe.content_layers or (CONTENT,)
        self.content = dict(zip(layers, recipe.content_weights, strict=True))
        self.palette = palette_of(texture) if recipe.content_colors == "texture" else None
        features = vgg(texture, STYLE[-1])
        self.targets = {layer: gram(features[layer]) for layer in STYLE}

    def __call__(self, picture: Tensor, photo: Tensor) -> Tensor:
        """Both (B, 3, H, W) -> a scalar."""
        shown = photo if self.palette is None else in_palette(self.palette, photo)
        deepest = max(layer for layer in self.content if layer.startswith("relu"))
        photos = self.vgg(shown, deepest) | {"blur_8": blurred(shown)}
        found = self.vgg(picture, STYLE[-1]) | {"blur_8": blurred(picture)}
        loss = picture.new_zeros(())
        for layer, content_weight in self.content.items():
            kept, wanted = found[layer], photos[layer]
            variance = wanted.var((1, 2, 3))
            if self.recipe.content_norm == "instance":
                kept, variance = like(kept, wanted), wanted.var((2, 3)).mean(1)
            distance = (kept - wanted).square().mean((1, 2, 3))
            loss = loss + content_weight * (distance / variance).mean()
        for layer, weight in zip(STYLE, self.recipe.style_weights, strict=True):
            target = self.targets[layer]
            distance = (gram(found[layer]) - target).square().sum((1, 2))
            loss = loss + weight * (distance / target.square().sum()).mean()
        across = (picture[..., 1:] - picture[..., :-1]).square().mean()
        down = (picture[..., 1:, :] - picture[..., :-1, :]).square().mean()
        total: Tensor = loss + self.recipe.tv_weight * (across + down)
        return total


class Training:
    """Adam down that loss, with a cosine to zero."""

    def __init__(self, net: Pyramid | Johnson, loss: Loss, recipe: Recipe) -> None:
        self.net, self.loss = net, loss
        self.optimizer = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, recipe.iterations)

    def step(self, photo: Tensor, *noise: list[Tensor]) -> Tensor:
        """Take one step on (B, 3, S, S); returns the loss before it, a scalar."""
        self.optimizer.zero_grad()
        loss = self.loss(self.net(photo, *noise), photo)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        return loss.detach()
