"""Each preset against its source's values, repeated here so that a changed number is a failed test."""

import argparse
from typing import Any

import pytest

from texturenet import checkpoint, styles
from texturenet.config import Recipe, add_flags, given
from texturenet.presets import OPTIMIZERS, PRESETS, TRAIN_PRESETS, GatysRecipe, gatys_recipe, preset

CONVS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
ABLATION = {
    "optimizer": "lbfgs",
    "iterations": 1000,
    "loss_scale": "raw",
    "gram_normalization": "chw",
    "style_reduction": "mean",
    "content_reduction": "mean",
    "content_weights": (1,),
    "tv_weight": 1,
}
SOURCES: dict[str, dict[str, Any]] = {
    # alpha 0.9, beta 0.1, Adam 1e-3, 10,000 iterations, the total every 500
    "from-scratch": {
        "style_layers": CONVS,
        "content_layers": CONVS,
        "content_weights": (0.9, 0.9, 0.9, 0.9, 0.9),
        "style_weights": (0.1, 0.1, 0.1, 0.1, 0.1),
        "optimizer": "adam",
        "learning_rate": 0.001,
        "iterations": 10000,
        "init": "content",
        "print_every": 500,
        "gram_normalization": "none",
        "style_reduction": "mean",
        "content_reduction": "mean",
        "loss_scale": "raw",
        "perceptual": "auto",
    },
    # E_l = 1 / (4 N^2 M^2), equal weights that sum to 1, content : style = 1e-5
    "keras": {
        "style_layers": ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1"),
        "content_layers": ("block5_conv2",),
        "style_weights": (0.25, 0.25, 0.25, 0.25),
        "content_weights": (0.00001,),
        "gram_normalization": "gatys",
        "style_reduction": "sum",
        "content_reduction": "half",
        "loss_scale": "raw",
        "init": "content",
    },
    # tensorflow.org/tutorials/generative/style_transfer: style 1e-2 / 5 layers, content 1e4, Adam(0.02, 0.99, eps 0.1)
    "tf-tutorial": {
        "style_layers": ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"),
        "content_layers": ("block5_conv2",),
        "style_weights": (0.002, 0.002, 0.002, 0.002, 0.002),
        "content_weights": (10000.0,),
        "gram_normalization": "hw",
        "style_reduction": "mean",
        "content_reduction": "mean",
        "loss_scale": "raw",
        "optimizer": "adam",
        "learning_rate": 0.02,
        "beta1": 0.99,
        "eps": 0.1,
        "clip": True,
        "init": "content",
        "describe_layers": True,
        "iterations": 1000,
    },
    # Gatys et al. 2016: equations 1 and 4, w_l = 1/5, alpha / beta = 1e-3
    "gatys2016": {
        "style_layers": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
        "content_layers": ("relu4_2",),
        "style_weights": (1 / 5,) * 5,
        "content_weights": (0.001,),
        "gram_normalization": "gatys",
        "style_reduction": "sum",
        "content_reduction": "half",
        "loss_scale": "raw",
        "optimizer": "lbfgs",
        "pooling": "avg",
        "init": "noise",
    },
    "ablation-vgg16": ABLATION
    | {
        "perceptual": "vgg16",
        "content_layers": ("relu2_2",),
        "style_layers": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
        "style_weights": (1e6, 1e6, 1e6, 1e6),
    },
    "ablation-vgg19": ABLATION
    | {
        "perceptual": "auto",
        "content_layers": ("relu4_2",),
        "style_layers": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1"),
        "style_weights": (1e6, 1e6, 1e6, 1e6, 1e6, 1e6),
    },
    "ablation-resnet18": ABLATION
    | {
        "perceptual": "resnet18",
        "content_layers": ("layer1",),
        "style_layers": ("conv1", "layer1", "layer2", "layer3"),
        "style_weights": (1e6, 1e6, 1e6, 1e6),
    },
}


@pytest.mark.parametrize("name", PRESETS)
def test_resolves_to_its_source(name: str) -> None:
    recipe = gatys_recipe(name)
    assert {field: getattr(recipe, field) for field in SOURCES[name]} == SOURCES[name]
    named_elsewhere = set(PRESETS[name]) - set(SOURCES[name])
    assert named_elsewhere <= {"tv_weight", "iterations", "init", "clip"}  # what the reports leave open
    if "tv_weight" in named_elsewhere:
        assert recipe.tv_weight == 0


def test_ablation_has_adam_and_adamw_at_its_rates() -> None:
    assert gatys_recipe("ablation-vgg19", {"optimizer": "adam"}).options["learning_rate"] == 1e-1
    assert gatys_recipe("ablation-vgg19", {"optimizer": "adamw"}).options["learning_rate"] == 1e-2


def test_each_flag_overrides_the_preset() -> None:
    recipe = gatys_recipe("gatys2016", {"iterations": 7, "init": "content", "style_weights": (1.0,) * 5})
    assert (recipe.iterations, recipe.init, recipe.style_weights) == (7, "content", (1.0,) * 5)
    assert recipe.pooling == "avg"


def test_another_optimizer_leaves_the_presets_options_behind() -> None:
    assert gatys_recipe("tf-tutorial", {"optimizer": "lbfgs"}).options == OPTIMIZERS["lbfgs"]
    assert gatys_recipe("tf-tutorial", {"optimizer": "adam"}).options["beta1"] == 0.99


def test_unknown_preset_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"unknown preset 'gatys'; choose from from-scratch, keras, .*resnet18$"):
        gatys_recipe("gatys")
    with pytest.raises(ValueError, match="unknown preset 'x'; choose from texturenets-report"):
        preset("x", TRAIN_PRESETS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"beta1": 0.5}, "--beta1 is an option of adam and adamw, and the optimizer is lbfgs"),
        ({"optimizer": "adam", "history_size": 5}, "--history_size is an option of lbfgs, and the optimizer is adam"),
        ({"learning_rate": 0.1}, "--learning_rate is an option of adam and adamw, and the optimizer is lbfgs"),
        ({"optimizer": "adam", "beta2": 1.0}, "--beta2 1.0: give a number from 0 to below 1"),
        ({"optimizer": "sgd"}, "unknown optimizer 'sgd'; choose from lbfgs, adam, adamw"),
        ({"optimizer": "adam", "learning_rate": 0.0}, "--learning_rate 0.0: give a number above 0"),
        ({"init_noise": 1.5}, "--init_noise 1.5: give a share from 0 to 1"),
        ({"gram_normalization": "none"}, "add --loss_scale raw"),
        ({"gram_normalization": "hw"}, "add --loss_scale raw"),
        ({"style_reduction": "mean"}, "add --loss_scale raw"),
    ],
)
def test_contradictions_are_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        GatysRecipe(**fields)
    assert "\n" not in str(caught.value)


def test_a_share_of_noise_is_of_a_blend() -> None:
    with pytest.raises(ValueError, match="--init_noise is a share of --init blend; add that, or leave it out"):
        gatys_recipe(None, {"init_noise": 0.5})
    assert gatys_recipe(None, {"init": "blend", "init_noise": 0.3}).init_noise == 0.3


def test_flags_derive_from_the_recipe() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, GatysRecipe)
    flags = parser.parse_args(
        ["--no-clip", "--pyramid", "3", "--style_layers", "relu1_1", "relu2_1", "--no-describe_layers"]
    )
    typed = given(flags, GatysRecipe)
    assert typed == {
        "clip": False,
        "pyramid": 3,
        "style_layers": ("relu1_1", "relu2_1"),
        "describe_layers": False,
    }


def test_training_report() -> None:
    recipe = Recipe(**(preset("texturenets-report", TRAIN_PRESETS) | {"content_weights": (500.0,)}))
    assert (recipe.style_weights, recipe.content_weights, recipe.loss_scale) == ((5, 6, 2, 2, 2), (500.0,), "raw")
    assert (recipe.optimizer, recipe.slope) == ("adam", 0.01)  # as texture_nets has them
    assert TRAIN_PRESETS["texturenets-report"]["content_weights"] == (1e3,)
    assert preset(None, TRAIN_PRESETS) == {}


def test_the_preset_of_the_styles_that_ship_can_start_from_each() -> None:
    recipe = Recipe(**preset("laptop", TRAIN_PRESETS))
    assert recipe.start_from == "auto"
    for path in styles.shipped():
        fields = checkpoint.load(path)
        assert (fields["generator"]["name"], fields["perceptual"]["name"]) == (recipe.generator, recipe.perceptual)
    assert recipe.noise_range == (0.0, 3.0)


def test_the_longest_preset_is_the_same_loss_from_drawn_weights() -> None:
    laptop, best = TRAIN_PRESETS["laptop"], TRAIN_PRESETS["best"]
    differing = {name for name in laptop | best if laptop.get(name) != best.get(name)}
    assert differing == {"start_from", "iterations", "grow_from"}
    assert best["start_from"] == "none"
