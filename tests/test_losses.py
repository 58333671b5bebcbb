import pytest
import torch
from conftest import OneConv, picture
from hypothesis import given
from hypothesis import strategies as st

from texturenet.colors import match_colors
from texturenet.losses import (
    CONTENT_COLORS,
    CONTENT_NORMS,
    GRAM_NORMALIZATIONS,
    LOSS_SCALES,
    PerceptualLoss,
    content_loss,
    gram,
    style_loss,
    tv_loss,
)


def test_gram_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # 2 channels, 2 positions
    products = torch.tensor([[[5.0, 11.0], [11.0, 25.0]]])
    assert torch.equal(gram(features), products / 4)
    assert torch.equal(gram(features, "hw"), products / 2)
    assert torch.equal(gram(features, "gatys"), products / 8)


def test_gatys_normalization_is_his_equation_4() -> None:
    """E_l = 1 / (4 N^2 M^2) sum (G - A)^2 with unnormalised Gram matrices."""
    a, b = picture(8, 8, 0), picture(8, 8, 1)
    flat_a, flat_b = a[0].reshape(3, -1), b[0].reshape(3, -1)
    expected = (flat_a @ flat_a.T - flat_b @ flat_b.T).square().sum() / (4 * 3**2 * 64**2)
    assert torch.isclose(style_loss(gram(a, "gatys"), gram(b, "gatys")), expected)


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from(["chw", "hw"]))
def test_gram_does_not_depend_on_the_size(times_h: int, times_w: int, normalization: str) -> None:
    tile = picture(6, 7)
    tiled = tile.repeat(1, 1, times_h, times_w)
    assert torch.allclose(gram(tile, normalization), gram(tiled, normalization), atol=1e-5)


def test_gram_of_half_precision_does_not_overflow() -> None:
    features = torch.full((1, 4, 64, 64), 300.0, dtype=torch.float16)  # sums to 4e8; float16 ends at 65504
    with torch.autocast("cpu", torch.bfloat16):
        result = gram(features)
    assert result.dtype == torch.float32
    assert torch.allclose(result, torch.full((1, 4, 4), 300.0**2 / 4))


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_gram_and_its_gradient_are_the_formulas(dtype: torch.dtype, tolerance: float) -> None:
    features = picture(12, 10, batch=2).to(dtype).requires_grad_()
    weights = torch.rand(1, 3, 3)  # of a loss whose gradient is not symmetric
    flat = features.detach().double().flatten(2).requires_grad_()
    expected = flat @ flat.transpose(1, 2) / flat[0].numel()
    result = gram(features)
    assert result.dtype == torch.float32
    assert torch.allclose(result.double(), expected, rtol=tolerance)
    (expected * weights).sum().backward()
    (result * weights).sum().backward()
    assert features.grad is not None and flat.grad is not None
    assert torch.allclose(features.grad.double().flatten(2), flat.grad, rtol=4 * tolerance)


def test_tv_of_a_checkerboard_is_two() -> None:
    checkerboard = ((torch.arange(8)[:, None] + torch.arange(8)) % 2).float().expand(1, 3, 8, 8)
    assert tv_loss(checkerboard) == 2
    assert tv_loss(torch.full((1, 3, 8, 8), 0.3)) == 0


def test_zero_at_the_target(one_conv: OneConv) -> None:
    texture = picture(24, 24)
    loss = PerceptualLoss(one_conv, texture, ["conv"], [3.0], ["conv"], [2.0])
    terms = loss(texture, loss.content_features(texture))
    assert {name: value.item() for name, value in terms.items()} == dict.fromkeys(terms, 0.0)


def test_relative_scale_is_one_for_nothing() -> None:
    """1 means: as far off as a black picture (style), as far off as the features' mean (content)."""
    target = gram(picture(8, 8))
    assert style_loss(torch.zeros_like(target), target, "relative") == pytest.approx(1)
    features = picture(8, 8, batch=2)
    mean = features.mean(dim=(1, 2, 3), keepdim=True).expand_as(features)
    assert content_loss(mean, features, "relative") == pytest.approx(1, rel=0.01)


def test_the_formula(one_conv: OneConv) -> None:
    """L = sum a_l content_l + sum w_l style_l + tv, in raw scale, against the pure functions."""
    texture, photo, image = picture(24, 20, 0), picture(16, 18, 1), picture(16, 18, 2)
    loss = PerceptualLoss(one_conv, texture, ["conv"], [3.0], ["conv"], [2.0], tv_weight=0.5, scale="raw")
    terms = loss(image, loss.content_features(photo))

    def features(x: torch.Tensor) -> torch.Tensor:
        return one_conv(x, ["conv"])["conv"]

    style = style_loss(gram(features(image)), gram(features(texture)))
    content = content_loss(features(image), features(photo))
    assert terms["total"] == pytest.approx((3 * style + 2 * content + 0.5 * tv_loss(image)).item())
    assert terms["style"] == pytest.approx(3 * style.item())
    assert terms["style/conv"] == pytest.approx(style.item())


def test_content_up_to_the_statistics_of_each_channel(one_conv: OneConv) -> None:
    """With the norm, what the style terms set of a channel costs nothing; what is where costs as before."""
    features, unrelated = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    louder = features * torch.tensor([1.0, 3.0, 0.5])[:, None, None] + torch.tensor([5.0, 0.0, 1.0])[:, None, None]
    assert content_loss(louder, features, "relative") > 10
    assert content_loss(louder, features, "relative", "instance") < 1e-5
    assert content_loss(unrelated, features, "relative", "instance") == pytest.approx(2, rel=0.05)
    photo, image = picture(16, 18, 1), picture(16, 18, 2)
    loss = PerceptualLoss(
        one_conv, picture(24, 20), ["conv"], [3.0], ["conv"], [2.0], scale="raw", content_norm="instance"
    )
    target, content = loss.content_features(photo), loss.content_features(image)["conv"]
    (variance, mean), (wanted, middle) = (torch.var_mean(x, (2, 3), keepdim=True) for x in (content, target["conv"]))
    eps = 1e-3 * wanted.mean() + 1e-8
    alike = (content - mean) * ((wanted + eps) / (variance + eps)).sqrt() + middle
    expected = (alike - target["conv"]).square().mean()
    assert loss(image, target)["content/conv"] == pytest.approx(expected.item())


def test_content_in_the_colours_of_the_texture(one_conv: OneConv) -> None:
    """The photo in the texture's palette costs no content then, and the photo itself does; style is what it was."""
    layers = (["conv"], [3.0], ["conv"], [2.0])
    photo, texture = 0.4 + 0.2 * picture(16, 18, 1, batch=2), 0.5 * picture(24, 20)
    recoloured = match_colors(texture, photo)
    loss, papers = (
        PerceptualLoss(one_conv, texture, *layers, content_colors=colors) for colors in CONTENT_COLORS[::-1]
    )
    terms, others = (each(recoloured, each.content_features(photo)) for each in (loss, papers))
    assert terms["content/conv"] == 0 < others["content/conv"]
    assert terms["style/conv"] == others["style/conv"]
    assert loss(photo, loss.content_features(photo))["content/conv"] > 0


@pytest.mark.parametrize("scale", LOSS_SCALES)
@pytest.mark.parametrize("norm", CONTENT_NORMS)
def test_a_picture_of_one_colour_has_a_gradient(scale: str, norm: str) -> None:
    features = picture(8, 8).requires_grad_()
    loss = content_loss(
        features, torch.full((1, 3, 8, 8), 0.5) + torch.tensor([0.0, 0.1, 0.2])[:, None, None], scale, norm
    )
    loss.backward()
    assert loss.isfinite()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_batch_is_the_mean_of_its_pictures(one_conv: OneConv) -> None:
    batch, photos = picture(16, 16, 1, batch=3), picture(16, 16, 2, batch=3)
    loss = PerceptualLoss(one_conv, picture(16, 16), ["conv"], [1.0], ["conv"], [1.0])
    together = loss(batch, loss.content_features(photos))["total"]
    alone = [loss(x[None], loss.content_features(p[None]))["total"] for x, p in zip(batch, photos, strict=True)]
    assert together == pytest.approx(torch.stack(alone).mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"style_weights": [1.0, 2.0]}, "style_weights has 2 numbers for 1 style_layers"),
        ({"content_layers": ["conv"], "content_weights": []}, "content_weights has 0 numbers for 1"),
        ({"style_weights": [-1.0]}, "can't be negative"),
        ({"style_layers": ["conv", "conv"], "style_weights": [1.0, 0.0]}, "style_layers names conv twice"),
        ({"scale": "loud"}, "choose from relative, raw"),
        ({"gram_normalization": "x"}, ", ".join(GRAM_NORMALIZATIONS)),
        ({"content_norm": "x"}, ", ".join(CONTENT_NORMS)),
        ({"content_colors": "x"}, ", ".join(CONTENT_COLORS)),
    ],
)
def test_bad_arguments(one_conv: OneConv, arguments: dict[str, object], message: str) -> None:
    good: dict[str, object] = {"style_layers": ["conv"], "style_weights": [1.0]}
    with pytest.raises(ValueError, match=message):
        PerceptualLoss(one_conv, picture(16, 16), **(good | arguments))  # type: ignore[arg-type]
