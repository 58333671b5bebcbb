"""The perceptual loss of Gatys et al. 2016 and Ulyanov et al. 2016 (arXiv 1603.03417, section 3).

    L(x) = sum_l a_l content_l(x)  +  sum_l w_l style_l(x)  +  tv_weight tv(x)

    style_l    ||G(F_l) - G(F_l(texture))||^2        G(F) = F F^T / (C H W), Ulyanov's normalisation
    content_l  ||F_l - F_l(photo)||^2 / (C H W)

Raw values depend on the network and on the picture by orders of magnitude, so weights can't be carried from one to
another (REFERENCE B5). By default (`scale="relative"`) each style term is divided by the energy of its target,
||G(F_l(texture))||^2, and each content term by the variance of the photo's features at that layer: 1 then means "as far
off as a black picture" and "as far off as the photo's mean", whatever the network. `scale="raw"` is the formula above.

The two terms contradict each other: a texture of strong contrasts makes every channel answer more strongly than the
photo does, which its Gram matrices ask for and the content term forbids. In a mosaic that shipped half of the content
term was that alone, and weighting it up made the strokes paler before it brought the photo back. With
`content_norm="instance"` each channel's mean and variance, which are the style terms' to set, are brought to the
photo's before the two are compared; what is left is what is where. (Park and Lee 2019, arXiv 1812.02342, section 3.3,
compare normalised features; scaled to the photo's own, a channel counts as much as it does in the photo.) 1,000 steps
under it halved that mosaic's style term, and brought faces, joints and letters back.

They contradict each other in colour too: photos with red and blue exchanged, and nothing else, are off by 0.39 of the
variance of relu4_2 of `lite`, with the norm; by 0.23 after a blur of 1 px. With `content_colors="texture"` content
terms compare with the photo in the texture's palette, so that they ask for its shapes, its light, and differences in
colour where it has them. (Gatys et al. 2016, arXiv 1606.05897, match colours the other way: the texture takes the
photo's, to keep them.) Comparing both in grey was tried: a network then hides its texture in colours of one light, over
a pale photo.

Everything here is float32, whatever the features' type: Gram sums exceed what float16 holds. But the products of a
Gram matrix stay in bfloat16 where the features are: their sums are float32 ones, rounded once, by 1/700 on average.
With that and one product for their gradient, a step of VGG19 with four photos of 256 px took 2.13 s in place of 2.48 on
two cores of an EPYC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from texturenet.colors import in_palette, palette_of

LOSS_SCALES = ("relative", "raw")
CONTENT_NORMS = ("none", "instance")
CONTENT_COLORS = ("photo", "texture")
_EPS = 1e-8  # of a variance, for a picture of one colour

# What a Gram matrix is divided by, for C channels at N = H W positions.
GRAM_NORMALIZATIONS: dict[str, Callable[[int, int], int]] = {
    "chw": lambda c, n: c * n,  # Ulyanov et al. 2016, Johnson et al. 2016
    "hw": lambda _c, n: n,  # TensorFlow's tutorial
    "gatys": lambda c, n: 2 * c * n,  # squared, it is the 1 / (4 N_l^2 M_l^2) of Gatys et al. 2016, equation 4
}


class FeatureExtractor(Protocol):
    """What the loss needs of an encoder."""

    def __call__(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]: ...

    def resolve(self, layers: Iterable[str]) -> list[str]: ...


class _Products(torch.autograd.Function):
    """F^T F of (B, N, C). Its gradient is one product; torch would take two, of equal size."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor) -> Tensor:
        ctx.save_for_backward(flat)
        return flat.transpose(1, 2) @ flat

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (flat,), (gradient,) = ctx.saved_tensors, gradients
        change: Tensor = flat @ (gradient + gradient.transpose(1, 2))
        return change


def _positions(features: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, N, C): of channels_last memory a view, where (B, C, N) would be a copy."""
    b, c, h, w = features.shape
    return features.permute(0, 2, 3, 1).reshape(b, h * w, c)


def gram(features: Tensor, normalization: str = "chw") -> Tensor:
    """Correlations between channels: F F^T over all positions, (B, C, H, W) -> (B, C, C) float32.

    normalization  a key of `GRAM_NORMALIZATIONS`
    """
    flat = _positions(features)  # (B, N, C)
    _, positions, channels = flat.shape
    if flat.dtype != torch.bfloat16:
        flat = flat.float()
    with torch.autocast(features.device.type, enabled=False):
        products: Tensor = _Products.apply(flat)  # type: ignore[no-untyped-call]
    return products.float() / GRAM_NORMALIZATIONS[normalization](channels, positions)  # (B, C, C)


def style_loss(grams: Tensor, target: Tensor, scale: str = "raw") -> Tensor:
    """Squared distance of Gram matrices (B, C, C) to `target` (1, C, C), averaged over the batch; a scalar."""
    distance = (grams - target).square().sum(dim=(1, 2))
    return (distance / target.square().sum() if scale == "relative" else distance).mean()


def content_loss(features: Tensor, target: Tensor, scale: str = "raw", norm: str = "none") -> Tensor:
    """Mean squared distance of features to `target`, both (B, C, H, W), averaged over the batch; a scalar.

    norm  one of `CONTENT_NORMS`. With "instance" the relative distance is 2 for features that have nothing to do with
          the target, and 4 at most.
    """
    features, target = _positions(features).float(), _positions(target).float()
    if norm == "instance":  # AdaIN of Huang and Belongie 2017 (arXiv 1703.06868, equation 8), the other way round
        target, wanted = _centred(target, (1,))
        features, present = _centred(features, (1,))
        # A channel that hardly answers to the picture is not blown up to noise, whatever the layer's scale.
        eps = 1e-3 * wanted.mean(dim=2, keepdim=True) + _EPS
        features = features * ((wanted + eps) / (present + eps)).sqrt()
        variance = wanted.mean(dim=(1, 2))
    else:
        variance = _centred(target, (1, 2))[1].flatten()
    distance = (features - target).square().mean(dim=(1, 2))
    return (distance / (variance + _EPS) if scale == "relative" else distance).mean()


def _centred(values: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Values less their means along `dims`, and their variances there, with 1 for the size of each.

    torch.var_mean on a CPU takes one number at a time: the content term by it took four times as long.
    """
    mean = values.mean(dims, keepdim=True)
    centred = values - mean
    return centred, centred.square().sum(dims, keepdim=True) / (values.numel() // mean.numel() - 1)


def tv_loss(image: Tensor) -> Tensor:
    """Total variation: mean squared difference of neighbours, across plus down; 2 for a black-and-white checkerboard.

    image  (B, 3, H, W). Johnson et al. 2016, section 3.2, as a mean so that its weight does not depend on the size.
    """
    across = (image[..., :, 1:] - image[..., :, :-1]).square().mean()
    down = (image[..., 1:, :] - image[..., :-1, :]).square().mean()
    return across + down


def diversity_loss(pictures: Tensor) -> Tensor:
    """-log of the distance of each picture to its nearest sibling; a scalar, the lower the more diverse.

    pictures  (M, B, 3, H, W): M >= 2 pictures of each of B photos, which differ by their noise alone
    Ulyanov et al. 2017 (arXiv 1701.02096, equation 5): up to a constant, it is the negative of the entropy estimated by
    nearest neighbours (Kozachenko and Leonenko). Distances are RMSE, so that the weight does not depend on the size.
    """
    count = pictures.shape[0]
    squared = (pictures[:, None] - pictures[None]).square().mean(dim=(3, 4, 5))  # (M, M, B)
    itself = torch.eye(count, dtype=torch.bool, device=pictures.device)[:, :, None]
    nearest = squared.masked_fill(itself, torch.inf).amin(dim=1)  # (M, B)
    return -0.5 * (nearest + 1e-8).log().mean()


def layer_weights(name: str, layers: Sequence[str], weights: Sequence[float]) -> dict[str, float]:
    """{layer: weight} of the style or content layers. Raises ValueError where there is not one for each."""
    if len(layers) != len(weights):
        raise ValueError(
            f"{name}_weights has {len(weights)} numbers for {len(layers)} {name}_layers "
            f"({', '.join(layers)}); give one number a layer"
        )
    if twice := next((layer for layer in layers if list(layers).count(layer) > 1), None):
        raise ValueError(f"{name}_layers names {twice} twice; give it once, with one weight")
    if any(weight < 0 for weight in weights):
        raise ValueError(f"{name}_weights {list(weights)}: a weight can't be negative")
    return dict(zip(layers, weights, strict=True))


class PerceptualLoss(nn.Module):
    """The loss against one texture, which is measured once.

    encoder                   an `Encoder`: (image, layers) -> {layer: features}
    texture                   (1, 3, H, W) in [0, 1]
    style_weights, content_weights    one number a layer
    scale                     "relative" or "raw", see above
    gram_normalization        a key of `GRAM_NORMALIZATIONS`
    content_norm              "none" or "instance", see above
    content_colors            "photo" or "texture", see above
    """

    def __init__(
        self,
        encoder: FeatureExtractor,
        texture: Tensor,
        style_layers: Sequence[str],
        style_weights: Sequence[float],
        content_layers: Sequence[str] = (),
        content_weights: Sequence[float] = (),
        tv_weight: float = 0.0,
        scale: str = "relative",
        gram_normalization: str = "chw",
        content_norm: str = "none",
        content_colors: str = "photo",
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("loss_scale", scale, LOSS_SCALES),
            ("gram_normalization", gram_normalization, GRAM_NORMALIZATIONS),
            ("content_norm", content_norm, CONTENT_NORMS),
            ("content_colors", content_colors, CONTENT_COLORS),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(known)}")
        self.encoder, self.scale, self.normalization = encoder, scale, gram_normalization
        self.content_norm = content_norm
        self.palette = palette_of(texture) if content_colors == "texture" else None
        self.style_weights = layer_weights("style", encoder.resolve(style_layers), style_weights)
        self.content_weights = layer_weights("content", encoder.resolve(content_layers), content_weights)
        self.tv_weight = tv_weight
        with torch.no_grad():
            features = encoder(texture, self.style_weights)
            self.targets = {layer: gram(features[layer], gram_normalization) for layer in self.style_weights}

    @torch.no_grad()
    def content_features(self, photo: Tensor) -> dict[str, Tensor]:
        """What the content terms compare with: features of the photo (B, 3, H, W), without a graph."""
        if not self.content_weights:
            return {}
        return self.encoder(photo if self.palette is None else in_palette(self.palette, photo), self.content_weights)

    def forward(
        self, image: Tensor, content: dict[str, Tensor] | None = None, style_factor: float = 1.0
    ) -> dict[str, Tensor]:
        """Every term of the loss, as scalars.

        image         (B, 3, H, W) in [0, 1]
        content       `content_features` of the photos, or None for texture synthesis
        style_factor  multiplies all style weights
        returns  "total", "style", "content", "tv", weighted as they enter the total, and per layer
                 "style/relu1_1" ... "content/relu4_2", unweighted
        """
        content = content or {}
        features = self.encoder(image, [*self.style_weights, *content])
        zero = image.new_zeros(())
        style, content_total = zero, zero
        terms: dict[str, Tensor] = {}
        for layer, weight in self.style_weights.items():
            loss = style_loss(gram(features[layer], self.normalization), self.targets[layer], self.scale)
            terms[f"style/{layer}"] = loss
            style = style + weight * loss
        for layer, target in content.items():
            loss = content_loss(features[layer], target, self.scale, self.content_norm)
            terms[f"content/{layer}"] = loss
            content_total = content_total + self.content_weights[layer] * loss
        tv = self.tv_weight * tv_loss(image) if self.tv_weight else zero
        style = style_factor * style
        return {"total": style + content_total + tv, "style": style, "content": content_total, "tv": tv, **terms}
