"""How the bundled perceptual network `lite` is made: a classifier is trained, then its features are kept.

The network is lite's own chain (perceptual.py) with batch norm (Ioffe and Szegedy 2015) after every convolution, then
global average pooling, dropout and a linear layer. Batch norm makes it trainable in a few epochs and is folded into
the convolutions afterwards; then every layer is scaled so that its mean activation on photos is 1, as Gatys et al.
(2015, arXiv 1505.07376, section 2) do with each filter of VGG; without it the losses of layers have unlike sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from texturenet.perceptual import ENCODERS, PREPROCESS, Encoder

NAME, PREPROCESSING = "lite", "torchvision"


class Classifier(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1] -> scores (B, classes)."""

    def __init__(self, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        architecture = ENCODERS[NAME]
        layers: dict[str, nn.Module] = {}
        width = 0
        for name, layer in architecture.build(architecture.pooling).items():
            layers[name] = layer
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
                width = layer.out_channels
                layers[name.replace("conv", "norm")] = nn.BatchNorm2d(width)
        self.chain = nn.ModuleDict(layers)
        # Without it, channels of unlike sizes learn at unlike rates.
        self.standardise = nn.BatchNorm1d(width, affine=False)
        self.dropout, self.scores = nn.Dropout(dropout), nn.Linear(width, classes)

    def features(self, pictures: Tensor) -> Tensor:
        """What the last layer of the chain sees in pictures (B, 3, H, W) in [0, 1]."""
        mean, std = (pictures.new_tensor(numbers).view(1, 3, 1, 1) for numbers in PREPROCESS[PREPROCESSING])
        x = (pictures - mean) / std
        for layer in self.chain.values():
            x = layer(x)
        return x

    def forward(self, pictures: Tensor) -> Tensor:
        scores: Tensor = self.scores(self.dropout(self.standardise(self.features(pictures).mean((2, 3)))))
        return scores


def fold(classifier: Classifier) -> Encoder:
    """The chain without batch norm: the same features from fewer layers. The classifier has to be in eval mode."""
    chain: dict[str, nn.Module] = {}
    for name, layer in classifier.chain.items():
        if isinstance(layer, nn.BatchNorm2d):
            last, conv = next(reversed(chain.items()))
            assert isinstance(conv, nn.Conv2d)
            chain[last] = fuse_conv_bn_eval(conv, layer)
        else:
            chain[name] = layer
    return Encoder(NAME, chain, PREPROCESSING, "pretrain")


@torch.no_grad()
def unfold(classifier: Classifier, encoder: Encoder, pictures: Tensor) -> None:
    """Begin a classifier, in place, with the features of a network of the same layers: the inverse of `fold`.

    pictures  (B, 3, H, W) in [0, 1], on which the statistics of batch norm are measured
    Filters get the length that drawn ones have: behind batch norm it decides nothing but how fast they learn.
    """
    x = (pictures - encoder.mean) / encoder.std
    for name, layer in encoder.chain.items():
        if isinstance(layer, nn.Conv2d):
            conv, norm = classifier.chain[name], classifier.chain[name.replace("conv", "norm")]
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            assert layer.bias is not None and conv.bias is not None
            drawn = (2 * layer.in_channels / layer.out_channels) ** 0.5  # Kaiming's, of 3x3 filters, fan out
            gain = layer.weight.flatten(1).norm(dim=1).clamp_min(1e-6) / drawn
            conv.weight.copy_(layer.weight / gain[:, None, None, None])
            conv.bias.zero_()
            variance, mean = torch.var_mean(conv(x), (0, 2, 3))
            norm.running_mean, norm.running_var = mean, variance
            norm.weight.copy_(gain * (variance + norm.eps).sqrt())
            norm.bias.copy_(layer.bias + gain * mean)
        x = layer(x)
    nn.init.zeros_(classifier.scores.weight)  # what is begun with is not to be spoiled by errors of chance


@torch.no_grad()
def normalise_activations(encoder: Encoder, photos: Sequence[Tensor]) -> None:
    """Scale each convolution, in place, so that the mean of its activation over the photos is 1.

    photos  (1, 3, H, W) in [0, 1] each, of any sizes, counted alike
    A layer's input is scaled too, and its weights, not its bias, make up for that. So features are scaled, since ReLU
    and pooling scale with their input, and nothing else changes. Raises ValueError for a layer that never fires.
    """
    features = [(photo - encoder.mean) / encoder.std for photo in photos]
    before = 1.0
    for name, layer in encoder.chain.items():
        features = [layer(x) for x in features]
        if isinstance(layer, nn.Conv2d):
            mean = torch.stack([x.relu().double().mean() for x in features]).mean().item()
            if not mean > 0:
                raise ValueError(f"{name} never fires on the photos; train for longer, or give other --photos")
            assert layer.bias is not None
            layer.weight *= before / mean
            layer.bias /= mean
            before = mean
