"""The iterative method on tiny pictures."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import OneConv, picture
from test_perceptual import as_caffe, as_papers
from torch import Tensor

from texturenet import gatys, images, losses, perceptual
from texturenet.config import Recipe
from texturenet.gatys import Interrupted, Iterate, descend, paint, pyramid_sizes, reference_loss, start_image
from texturenet.learner import perceptual_loss
from texturenet.losses import PerceptualLoss
from texturenet.perceptual import Encoder, load_encoder, models
from texturenet.presets import TRAIN_PRESETS, GatysRecipe, gatys_recipe


@pytest.fixture(scope="module")
def lite() -> Encoder:
    return load_encoder("lite")


def small_loss() -> tuple[PerceptualLoss, dict[str, Tensor]]:
    loss = PerceptualLoss(OneConv(), picture(24, 24, 1), ["conv"], [1.0], ["conv"], [1.0])
    return loss, loss.content_features(picture(24, 24))


@pytest.mark.parametrize(
    ("fields", "share"),  # what is left of the loss of the photo after 40 iterations
    [
        ({"optimizer": "lbfgs"}, 0.3),
        ({"optimizer": "lbfgs", "clip": False}, 0.3),
        ({"optimizer": "adam", "learning_rate": 0.02}, 0.4),
        ({"optimizer": "adamw"}, 0.4),
    ],
)
@pytest.mark.parametrize("init", ["content", "noise"])
def test_loss_falls(lite: Encoder, fields: dict[str, Any], share: float, init: str) -> None:
    totals: list[float] = []
    recipe = GatysRecipe(iterations=40, init=init, content_weights=(1.0,), tv_weight=0.0, **fields)
    paint(picture(32, 48), picture(40, 40, 3), lite, recipe, lambda iterate: totals.append(iterate.losses["total"]))
    assert len(totals) == 41
    rises = sum(after > before * 1.001 for before, after in pairwise(totals))
    assert rises <= (2 if recipe.optimizer == "lbfgs" else 8)
    assert min(totals[-5:]) < share * totals[0]


def test_a_step_too_far_is_searched() -> None:
    """Towards a minimum ever more curved, where the step that curvature suggests is four times too long."""

    def loss(image: Tensor, _content: object) -> dict[str, Tensor]:
        return {"total": (image - 0.5).abs().pow(1.2).sum()}

    totals: list[float] = []
    recipe = GatysRecipe(iterations=8)
    descend(loss, picture(8, 8), None, recipe, lambda iterate: totals.append(iterate.losses["total"]))  # type: ignore[arg-type]
    assert totals[-1] < 0.25 * totals[0]
    assert all(after < before for before, after in pairwise(totals))


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_iterates_are_what_they_say(optimizer: str) -> None:
    """Iteration 0 is the start; each loss is that of its picture; the result is the lowest."""
    loss, content = small_loss()
    seen: list[Iterate] = []
    start = picture(24, 24)
    before = start.clone()
    recipe = GatysRecipe(iterations=6, optimizer=optimizer, clip=True)
    result = descend(loss, start, content, recipe, seen.append)
    assert torch.equal(start, before)
    assert [iterate.iteration for iterate in seen] == list(range(7))
    assert torch.equal(seen[0].image, start)
    for iterate in seen:
        assert not iterate.image.requires_grad
        assert iterate.image.min() >= 0 and iterate.image.max() <= 1
        for name, value in loss(iterate.image, content).items():
            assert value.item() == pytest.approx(iterate.losses[name], rel=1e-4, abs=1e-9)
    assert torch.equal(result, min(seen, key=lambda iterate: iterate.losses["total"]).image)
    assert torch.equal(result, descend(loss, start, content, recipe))  # who watches changes nothing


@pytest.mark.parametrize(
    ("fields", "most"),
    [({}, 40), ({"clip": False}, 40), ({"optimizer": "adam"}, 31)],
)
def test_an_iteration_is_about_one_evaluation(
    fields: dict[str, Any], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, content = small_loss()
    calls = 0

    def counted(*args: Any) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        return PerceptualLoss.forward(loss, *args)

    monkeypatch.setattr(loss, "forward", counted)
    descend(loss, picture(24, 24), content, GatysRecipe(iterations=30, **fields), lambda _: None)
    assert 31 <= calls <= most


def test_lbfgs_does_not_wipe_the_photo_out(lite: Encoder) -> None:
    """torch's, without a search, climbs by up to 800 times in its second step from a photo."""
    totals: list[float] = []
    recipe = gatys_recipe("ablation-vgg16", {"iterations": 8})
    paint(picture(32, 48), picture(40, 40, 3), lite, recipe, lambda it: totals.append(it.losses["total"]))
    assert all(after <= before for before, after in pairwise(totals)) and totals[-1] < 0.5 * totals[0]


def test_at_a_minimum_it_stays() -> None:
    loss, _ = small_loss()
    texture = picture(24, 24, 1)
    assert torch.allclose(descend(loss, texture, None, GatysRecipe(iterations=5)), texture, atol=1e-3)


def test_a_tiny_loss_descends_as_a_large_one(lite: Encoder) -> None:
    """Products of gradients, of which L-BFGS is made, leave float32 where the loss is small enough or large enough."""
    ratios = []
    for factor in (1e-15, 1.0, 1e15):
        totals: list[float] = []
        recipe = GatysRecipe(
            iterations=15, style_weights=(factor,) * 5, content_weights=(factor,), tv_weight=0.0, init="noise"
        )
        paint(picture(32, 32), picture(32, 32, 3), lite, recipe, lambda it, t=totals: t.append(it.losses["total"]))
        ratios.append(totals[-1] / totals[0])
    assert max(ratios) < 0.15
    assert ratios == pytest.approx([ratios[1]] * 3, rel=0.2)


def test_ctrl_c_keeps_the_best() -> None:
    loss, content = small_loss()
    seen: list[Iterate] = []

    def stop_at_three(iterate: Iterate) -> None:
        seen.append(iterate)
        if iterate.iteration == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        descend(loss, picture(24, 24), content, GatysRecipe(iterations=50), stop_at_three)
    assert isinstance(caught.value, Interrupted)
    assert torch.equal(caught.value.image, seen[3].image)


def test_ctrl_c_in_a_pyramid_has_the_full_size(lite: Encoder) -> None:
    def stop(_: Iterate) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        paint(picture(64, 80), picture(64, 64, 3), lite, GatysRecipe(pyramid=2), stop)
    assert caught.value.image.shape == (1, 3, 64, 80)


def test_ctrl_c_between_two_sizes_keeps_the_smaller_one(lite: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    finished: list[Tensor] = []

    def target(*_: object) -> PerceptualLoss:
        if finished:
            raise KeyboardInterrupt
        return reference_loss(*_)  # type: ignore[arg-type]

    monkeypatch.setattr(gatys, "reference_loss", target)
    recipe = GatysRecipe(pyramid=2, iterations=2)
    with pytest.raises(Interrupted) as caught:
        paint(picture(64, 80), picture(64, 64, 3), lite, recipe, lambda iterate: finished.append(iterate.image))
    assert torch.equal(caught.value.image, images.resize(finished[-1], (64, 80)))
    with pytest.raises(KeyboardInterrupt) as nothing_yet:
        paint(picture(64, 80), picture(64, 64, 3), lite, recipe)
    assert not isinstance(nothing_yet.value, Interrupted)


def test_a_loss_that_is_not_finite_is_one_line() -> None:
    loss, content = small_loss()
    loss.targets["conv"][:] = torch.nan
    for watch in (None, lambda _: None):
        with pytest.raises(ValueError, match=r"the loss is nan at iteration .*; try a smaller --learning_rate"):
            descend(loss, picture(24, 24), content, GatysRecipe(iterations=2, optimizer="adam"), watch)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_more_than_the_memory_holds_is_one_line(
    lite: Encoder, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    loss = reference_loss(lite, picture(32, 32), GatysRecipe(), picture(32, 48))
    monkeypatch.setattr(loss, "forward", full)
    with pytest.raises(ValueError, match=r"^a picture of 48x32 px does not fit the memory of cpu") as caught:
        descend(loss, picture(32, 48), None, GatysRecipe(iterations=2))
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(PerceptualLoss, "content_features", full)
    with pytest.raises(ValueError, match=r"^a picture of 48x32 px does not fit the memory of cpu"):
        paint(picture(32, 48), picture(32, 32), lite, GatysRecipe(iterations=2))


def test_starts() -> None:
    photo, texture = picture(24, 32), picture(20, 20, 3)
    size = (24, 32)

    def start(photo: Tensor | None = photo, **fields: Any) -> Tensor:
        return start_image(GatysRecipe(**fields), photo, texture, size)

    noise = start(init="noise")
    assert torch.equal(start(), photo)
    assert torch.equal(start(None), noise)
    assert torch.equal(noise, start(init="noise")) and not torch.equal(noise, start(init="noise", seed=1))
    assert noise.shape == (1, 3, 24, 32)
    assert abs(noise.mean() - 0.5) < 0.05 and noise.min() >= 0 and noise.max() < 1
    assert torch.equal(start(init="blend", init_noise=0.0), photo)
    assert torch.equal(start(init="blend", init_noise=1.0), noise)
    assert torch.allclose(start(init="blend", init_noise=0.25), 0.75 * photo + 0.25 * noise)
    covered = start(init="texture")
    assert covered.shape == (1, 3, 24, 32)
    assert torch.allclose(covered, gatys.images.resize(texture, (32, 32))[..., 4:28, :])
    with pytest.raises(ValueError, match="--init blend starts from a photo, and there is none"):
        start(None, init="blend")


def test_pyramid_goes_from_coarse_to_fine(lite: Encoder) -> None:
    seen: list[Iterate] = []
    result = paint(picture(66, 97), picture(40, 40, 3), lite, GatysRecipe(iterations=2, pyramid=2), seen.append)
    assert result.shape == (1, 3, 66, 97)
    assert [tuple(iterate.image.shape[-2:]) for iterate in seen] == [(33, 48)] * 3 + [(66, 97)] * 3
    assert [iterate.iteration for iterate in seen] == [0, 1, 2, 2, 3, 4]
    assert pyramid_sizes((256, 512), 3) == [(64, 128), (128, 256), (256, 512)]
    with pytest.raises(ValueError, match="--pyramid 5 is too much for 512x256 px; give 4 at most"):
        pyramid_sizes((256, 512), 5)
    assert pyramid_sizes((256, 512), 4)[0] == (32, 64)


def test_texture_alone(lite: Encoder) -> None:
    seen: list[Iterate] = []
    recipe = GatysRecipe(iterations=3)
    result = paint(None, picture(40, 40, 3), lite, recipe, seen.append, size=(32, 48))
    assert result.shape == (1, 3, 32, 48)
    assert seen[-1].losses["content"] == 0
    assert seen[-1].losses["total"] < seen[0].losses["total"]


def test_reductions_are_the_reports_formulas(lite: Encoder) -> None:
    """Each against its formula written out, for a texture of the photo's size."""
    photo, texture, canvas = picture(32, 32), picture(32, 32, 3), picture(32, 32, 5)
    style, content = "relu2_1", "relu3_1"

    def terms(**fields: Any) -> dict[str, Tensor]:
        recipe = GatysRecipe(
            style_layers=(style,),
            style_weights=(1.0,),
            content_layers=(content,),
            content_weights=(1.0,),
            tv_weight=0.0,
            loss_scale="raw",
            **fields,
        )
        loss = reference_loss(lite, texture, recipe, canvas)
        return loss(canvas, loss.content_features(photo))

    (mine,), (target,) = (lite(image, [style])[style].flatten(2) for image in (canvas, texture))
    bare = mine @ mine.T - target @ target.T  # (C, C)
    channels, positions = mine.shape
    difference = lite(canvas, [content])[content] - lite(photo, [content])[content]

    scratch = terms(gram_normalization="none", style_reduction="mean")
    assert torch.allclose(scratch["style"], bare.square().mean(), rtol=1e-4)
    assert torch.allclose(scratch["content"], difference.square().mean(), rtol=1e-4)
    tutorial = terms(gram_normalization="hw", style_reduction="mean")
    assert torch.allclose(tutorial["style"], (bare / positions).square().mean(), rtol=1e-4)
    paper = terms(gram_normalization="gatys", content_reduction="half")
    assert torch.allclose(paper["style"], bare.square().sum() / (4 * channels**2 * positions**2), rtol=1e-4)
    assert torch.allclose(paper["content"], difference.square().sum() / 2, rtol=1e-4)


def test_the_pixels_loss_is_the_networks(lite: Encoder) -> None:
    photo, texture, canvas = picture(32, 40), picture(32, 32, 3), picture(32, 40, 5)
    names = ("style_weights", "content_layers", "content_weights", "content_norm", "content_colors", "tv_weight")
    fields = {name: TRAIN_PRESETS["laptop"][name] for name in names}
    assert fields["content_norm"] == "instance" and fields["content_colors"] == "texture"
    judges = (
        reference_loss(lite, texture, GatysRecipe(**fields), canvas),
        perceptual_loss(Recipe(**fields), lite, texture, with_photos=True),
    )
    ours, theirs = (judge(canvas, judge.content_features(photo)) for judge in judges)
    assert ours == theirs


def test_a_strong_texture_halves_the_weight_of_the_photo(lite: Encoder) -> None:
    texture = picture(32, 32, 3)
    weights = [
        perceptual_loss(Recipe(content_weights=(3.0,), strength_preset=name), lite, texture, True).content_weights
        for name in ("light", "medium", "strong")
    ]
    assert weights == [{"relu4_2": 6.0}, {"relu4_2": 3.0}, {"relu4_2": 1.5}]


def test_every_weight_format_gives_the_same_trace(tmp_path: Path) -> None:
    """torchvision's file, jcjohnson's and Gatys' of one network: the same command, the same losses."""
    torch.manual_seed(0)
    state = {key: value for key, value in models.vgg16(weights=None).state_dict().items() if "classifier" not in key}
    traces: dict[str, list[float]] = {}
    for form, converted, preprocess in (
        ("torchvision", state, None),
        ("jcjohnson", as_caffe(state, "features.0"), "caffe"),
        ("gatys", as_caffe(as_papers(state), "conv1_1"), None),
    ):
        path = tmp_path / f"{form}.pth"
        torch.save(converted, path)
        recipe = gatys_recipe("ablation-vgg16", {"iterations": 3, "perceptual_weights": path})
        encoder = load_encoder(recipe.perceptual, recipe.perceptual_weights, preprocess)
        trace = traces.setdefault(form, [])
        paint(picture(32, 32), picture(32, 32, 3), encoder, recipe, lambda it, t=trace: t.append(it.losses["total"]))
    assert traces["torchvision"][-1] < traces["torchvision"][0]
    for form in ("jcjohnson", "gatys"):
        assert traces[form] == pytest.approx(traces["torchvision"], rel=2e-3), form


def test_gram_choices_are_the_losses_and_none() -> None:
    choices = GatysRecipe.__dataclass_fields__["gram_normalization"].metadata["choices"]
    assert set(choices) == {*losses.GRAM_NORMALIZATIONS, "none"}
    pools = GatysRecipe.__dataclass_fields__["pooling"].metadata["choices"]
    assert set(pools) == set(perceptual.POOLING)
