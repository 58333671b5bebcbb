"""Every number of an iterative run, once, and the named sets of them that published reports used.

`GatysRecipe` is to the pixels what `config.Recipe` is to a network: stored with the result, and the source of the
flags of `stylize.py --method gatys`. `PRESETS` re-runs the five reports that the project grew out of, `TRAIN_PRESETS`
is train.py's. A report's preset holds its own numbers, exactly; what the report leaves open is GatysRecipe's default.
Nothing here imports torch, so that `--help` is instant.

How a report's weights are spelled here. Our terms are style_l = sum over C x C of (G - G_texture)^2 and content_l =
mean over C H W of (F - F_photo)^2; a report's alpha and beta go into content_weights and style_weights, one number a
layer, and what its formula sums or averages over is named by `gram_normalization`, `style_reduction` and
`content_reduction`. So no preset hides a number of channels or pixels in a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from texturenet.config import Recipe, content_colors_flag, content_norm_flag, flag, perceptual_flag

# Optimizer -> its options with their defaults. The ablation report has Adam at 1e-1 and AdamW at 1e-2; the others are
# torch's. With 50 steps of history L-BFGS is no further after 100 iterations than with 20, with 10 hardly less far.
_ADAM = {"learning_rate": 1e-1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "lbfgs": {"history_size": 20},
    "adam": _ADAM,
    "adamw": _ADAM | {"learning_rate": 1e-2, "weight_decay": 1e-2},
}
_OPTIONS = tuple(dict.fromkeys(name for options in OPTIMIZERS.values() for name in options))


@dataclass(frozen=True)
class GatysRecipe:
    """What decides the picture. None: the optimizer's, the network's or the picture's own value."""

    # To the eye L-BFGS is done after 50; from 100 to 300 the loss falls by 1.6 % (docs/quality.md).
    iterations: int = flag(
        100, "optimization", "steps of the optimizer, at each size of the pyramid; adam and adamw want 300", least=1
    )
    optimizer: str = flag("lbfgs", "optimization", "of the pixels", tuple(OPTIMIZERS))
    learning_rate: float | None = flag(None, "optimization", "adam (0.1), adamw (0.01): step size")
    beta1: float | None = flag(None, "optimization", "adam, adamw: decay of the mean gradient (0.9)", least=0)
    beta2: float | None = flag(None, "optimization", "adam, adamw: decay of the mean square (0.999)", least=0)
    eps: float | None = flag(None, "optimization", "adam, adamw: added to the root of the mean square (1e-8)", least=0)
    weight_decay: float | None = flag(None, "optimization", "adam (0), adamw (0.01): pull to black", least=0)
    history_size: int | None = flag(None, "optimization", "lbfgs: steps that its curvature is told from (20)", least=1)
    # Clamped at the end alone, the saved picture has another loss than the pixels had: 1.64 for 1.49 at 256 px with
    # lite and content weight 8, where clamping after each step ends at 1.49 too.
    clip: bool = flag(True, "optimization", "clamp pixels to [0, 1] after each step (default), or at the end alone")
    pyramid: int = flag(1, "optimization", "sizes, each half the next, coarse first: for large pictures", least=1)

    init: str | None = flag(
        None,
        "start",
        "picture that the optimizer starts from: content with a photo, noise without one, unless given",
        ("content", "texture", "noise", "blend"),
    )
    init_noise: float = flag(0.5, "start", "share of noise in --init blend, 0 to 1; the rest is the photo", least=0)
    seed: int = flag(0, "look", "of the noise, in training and here: the same seed gives the same picture", least=0)

    perceptual: str = perceptual_flag()
    perceptual_weights: Path | None = flag(
        None, "perceptual network", "weights file: torchvision's, Gatys' vgg_conv.pth, jcjohnson's, or lite's form"
    )
    perceptual_preprocess: str | None = flag(
        None, "perceptual network", "input of a weights file that does not tell", ("torchvision", "caffe")
    )
    pooling: str | None = flag(
        None, "perceptual network", "between its blocks: the network's own, unless given", ("max", "avg")
    )
    describe_layers: bool = flag(False, "perceptual network", "print shape, min, max and mean of each layer first")

    style_size: int | None = flag(
        None, "loss", "longer side at which the texture is shown to the loss, px; default: the result's", least=16
    )
    style_layers: tuple[str, ...] | None = flag(None, "loss", "layers whose Gram matrices are matched")
    style_weights: tuple[float, ...] = flag((5.0, 6.0, 2.0, 2.0, 2.0), "loss", "one number a style layer")
    content_layers: tuple[str, ...] | None = flag(None, "loss", "layers whose features are kept near the photo's")
    content_weights: tuple[float, ...] = flag((2.0,), "loss", "one number a content layer")
    content_norm: str = content_norm_flag()
    content_colors: str = content_colors_flag()
    tv_weight: float = flag(1.0, "loss", "total variation: the higher, the smoother", least=0)
    loss_scale: str = flag(
        "relative",
        "loss",
        "relative: terms over the energy of their targets; raw: the papers' sums",
        ("relative", "raw"),
    )
    gram_normalization: str = flag(
        "chw",
        "loss",
        "what a Gram matrix is divided by: chw Ulyanov, hw TensorFlow's tutorial, gatys 2 N M (squared, the paper's "
        "4 N^2 M^2), none",
        ("chw", "hw", "gatys", "none"),
    )
    style_reduction: str = flag("sum", "loss", "over the C x C entries of a Gram matrix; raw scale", ("sum", "mean"))
    content_reduction: str = flag(
        "mean", "loss", "over the C H W features; half is half their sum, as in the paper; raw scale", ("mean", "half")
    )

    print_every: int = flag(0, "output", "steps between printed totals; 0: none", least=0)
    save_every: int = flag(0, "output", "steps between snapshots of the picture; 0: none", least=0)

    def __post_init__(self) -> None:
        """ValueError, one line, for values that contradict each other."""
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"unknown optimizer {self.optimizer!r}; choose from {', '.join(OPTIMIZERS)}")
        for name in _OPTIONS:
            if getattr(self, name) is not None and name not in OPTIMIZERS[self.optimizer]:
                takers = " and ".join(key for key, options in OPTIMIZERS.items() if name in options)
                raise ValueError(f"--{name} is an option of {takers}, and the optimizer is {self.optimizer}")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ValueError(f"--learning_rate {self.learning_rate}: give a number above 0")
        for name in ("beta1", "beta2"):
            if not (getattr(self, name) or 0) < 1:
                raise ValueError(f"--{name} {getattr(self, name)}: give a number from 0 to below 1")
        if not 0 <= self.init_noise <= 1:
            raise ValueError(f"--init_noise {self.init_noise}: give a share from 0 to 1")
        bare = (self.gram_normalization, self.style_reduction, self.content_reduction)
        if self.loss_scale == "relative" and bare != ("chw", "sum", "mean"):
            raise ValueError(
                "--gram_normalization, --style_reduction and --content_reduction cancel out of relative losses; add "
                "--loss_scale raw"
            )

    @property
    def options(self) -> dict[str, Any]:
        """The optimizer's options, defaults filled in."""
        defaults = OPTIMIZERS[self.optimizer]
        return {
            name: default if getattr(self, name) is None else getattr(self, name) for name, default in defaults.items()
        }


_VGG_STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_FIRST_CONVS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
_KERAS_STYLE = ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1")

# The extractor ablation: content 1, style 1e6, 1,000 iterations; Gram over C H W and means of squares, which is the
# PyTorch tutorial's loss, whose weights these are. It has a TV term of a weight it does not give: 1, as in training.
_ABLATION: dict[str, Any] = {
    "optimizer": "lbfgs",
    "iterations": 1000,
    "init": "content",
    "content_weights": (1.0,),
    "tv_weight": 1.0,
    "loss_scale": "raw",
    "gram_normalization": "chw",
    "style_reduction": "mean",
    "content_reduction": "mean",
}

PRESETS: dict[str, dict[str, Any]] = {
    # "From scratch": features[0, 5, 10, 19, 28] of VGG19, that is conv1_1 .. conv5_1 before their activation, for both
    # terms; means of squares of features (alpha) and of bare Gram matrices (beta), as that widespread code has them.
    # Its trace starts at 2.9 million with the content term at 0: all of it is style.
    "from-scratch": {
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "iterations": 10_000,
        "clip": False,
        "init": "content",
        "style_layers": _FIRST_CONVS,
        "style_weights": (0.1,) * 5,
        "content_layers": _FIRST_CONVS,
        "content_weights": (0.9,) * 5,
        "tv_weight": 0.0,
        "loss_scale": "raw",
        "gram_normalization": "none",
        "style_reduction": "mean",
        "content_reduction": "mean",
        "print_every": 500,
    },
    # Keras: Gatys' formulas with E_l = 1 / (4 N^2 M^2) over four layers of equal weight, alpha : beta = 1e-5.
    # The report names no optimizer and no count: L-BFGS, 100.
    "keras": {
        "init": "content",
        "style_layers": _KERAS_STYLE[:4],
        "style_weights": (0.25,) * 4,
        "content_layers": ("block5_conv2",),
        "content_weights": (1e-5,),
        "tv_weight": 0.0,
        "loss_scale": "raw",
        "gram_normalization": "gatys",
        "style_reduction": "sum",
        "content_reduction": "half",
    },
    # tensorflow.org/tutorials/generative/style_transfer, before it adds total variation: style 1e-2 over five layers,
    # content 1e4 over one, means of squares, 10 epochs of 100 steps. --init noise, --pooling avg are its variants.
    "tf-tutorial": {
        "optimizer": "adam",
        "learning_rate": 0.02,
        "beta1": 0.99,
        "eps": 0.1,
        "iterations": 1000,
        "clip": True,
        "init": "content",
        "style_layers": _KERAS_STYLE,
        "style_weights": (1e-2 / 5,) * 5,
        "content_layers": ("block5_conv2",),
        "content_weights": (1e4,),
        "tv_weight": 0.0,
        "loss_scale": "raw",
        "gram_normalization": "hw",
        "style_reduction": "mean",
        "content_reduction": "mean",
        "describe_layers": True,
    },
    # Gatys, Ecker, Bethge, CVPR 2016: equations 1 and 4, w_l = 1/5, alpha / beta = 1e-3 (figure 3 B), section 3 for
    # layers, average pooling, white noise and L-BFGS. The paper gives no count of iterations: 500 (as in Gatys' own
    # PyTorch code, from memory). Its network is scaled to mean activation 1, as vgg_conv.pth and lite are.
    "gatys2016": {
        "optimizer": "lbfgs",
        "iterations": 500,
        "init": "noise",
        "pooling": "avg",
        "style_layers": _VGG_STYLE,
        "style_weights": (0.2,) * 5,
        "content_layers": ("relu4_2",),
        "content_weights": (1e-3,),
        "tv_weight": 0.0,
        "loss_scale": "raw",
        "gram_normalization": "gatys",
        "style_reduction": "sum",
        "content_reduction": "half",
    },
    "ablation-vgg16": _ABLATION
    | {
        "perceptual": "vgg16",
        "style_layers": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
        "style_weights": (1e6,) * 4,
        "content_layers": ("relu2_2",),
    },
    "ablation-vgg19": _ABLATION
    | {
        "style_layers": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1"),
        "style_weights": (1e6,) * 6,
        "content_layers": ("relu4_2",),
    },
    "ablation-resnet18": _ABLATION
    | {
        "perceptual": "resnet18",
        "style_layers": ("conv1", "layer1", "layer2", "layer3"),
        "style_weights": (1e6,) * 4,
        "content_layers": ("layer1",),
    },
}

# relu3_1 tells a face by its lines; relu4_2, which the styles were made with before, asks one pass for more than it can
# paint, and says less of a face. blur_8 keeps light, shade and colours, so that relu3_1 bears less than half the weight
# that it needs without it: docs/experiments.md.
_OF_SHIPPED_STYLES: dict[str, Any] = {
    "style_weights": (3.0, 3.0, 4.0, 4.0, 3.0),
    "content_layers": ("relu3_1", "blur_8"),
    "content_weights": (0.4, 0.8),
    "content_norm": "instance",
    "content_colors": "texture",
}

# `lite` has no relu5_2, none of resnet18's layers, and activations of mean 1, where the network that these raw weights
# were found for has other ones. What each preset needs on it is ours, chosen by eye at 256 px; it is announced, and
# stored with the result. Layers are of the same stride as the report's. Without a preset its loss is the one of the
# styles that ship: under the papers' own it draws fine gratings in even areas.
ON_LITE: dict[str | None, dict[str, Any]] = {
    None: _OF_SHIPPED_STYLES,
    "keras": {"content_layers": ("relu5_1",)},
    "tf-tutorial": {"style_weights": (1e4,) * 5, "content_layers": ("relu5_1",)},
    "gatys2016": {"content_weights": (1e-5,)},
    "ablation-resnet18": {
        "style_layers": ("relu2_1", "relu3_1", "relu4_1", "relu5_1"),
        "content_layers": ("relu3_1",),
    },
}

TRAIN_PRESETS: dict[str, dict[str, Any]] = {
    # The report on texture networks: Ulyanov's Gram over C H W, bare sums.
    "texturenets-report": {
        "style_weights": (5.0, 6.0, 2.0, 2.0, 2.0),
        "content_weights": (1e3,),
        "loss_scale": "raw",
        "optimizer": "adam",
        "slope": 0.01,
        "upsampling": "nearest",
    },
    # The loss of the styles that ship, on crops of 256 px: of smaller ones a larger share of the deeper
    # layers lies at a border than in a picture that is painted; see "The size of the crops" in docs/experiments.md.
    "laptop": {
        "perceptual": "lite",
        "iterations": 900,
        "batch_size": 1,
        "image_size": 256,
        "style_size": 256,
        **_OF_SHIPPED_STYLES,
        "tv_weight": 1.0,
        "noise_factor": 0.5,
        "noise_range": (0.0, 3.0),  # with 2 at its edge, the style term of a mosaic rose again from 1 to 2
        "start_from": "auto",
    },
}
# The same from weights drawn at random: half an hour on two cores with AVX2 alone. With 3,100 steps of 128 and 256 px
# strokes lay across whatever the photo shows (docs/quality.md, "While it is trained").
TRAIN_PRESETS["scratch"] = TRAIN_PRESETS["laptop"] | {
    "start_from": "none",
    "iterations": 5400,
    "image_size": 192,
    "grow_from": 128,
}
# Three times as many steps, the large ones on crops of 256 px, by which most of the styles that ship were made.
TRAIN_PRESETS["best"] = TRAIN_PRESETS["scratch"] | {"iterations": 16_000, "image_size": 256}


def on_lite(
    name: str | None, typed: Container[str], recipe: GatysRecipe | Recipe, say: Callable[[str], None]
) -> dict[str, Any]:
    """The fields that a recipe has on `lite` instead of its own, told in one line.

    name   of the preset that the recipe is of, or None: the loss of the styles that ship, if the scale is theirs
    typed  fields that were asked for, which stay
    """
    if name is None and recipe.loss_scale == "raw":  # the papers' sums have weights of their own
        return {}
    instead = {field: value for field, value in ON_LITE.get(name, {}).items() if field not in typed}
    if name is None:  # weights are one a layer: those of other layers go, and so do layers of another number
        if "content_layers" in typed:
            instead.pop("content_weights", None)
        elif len(recipe.content_weights) != len(_OF_SHIPPED_STYLES["content_layers"]) and "content_weights" in typed:
            instead.pop("content_layers")
    changes = [f"{key} {_words(value)} instead of {_words(getattr(recipe, key))}" for key, value in instead.items()]
    if changes:
        say(f"{name or 'the loss'} on lite: {'; '.join(changes)}")
    return instead


def _words(value: Any) -> str:
    if value is None:
        return "the network's"
    if not isinstance(value, tuple):
        return str(value)
    return " ".join(item if isinstance(item, str) else f"{item:g}" for item in value)


def preset(name: str | None, known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The values of a preset, none for None. Raises ValueError that lists the choices for an unknown one."""
    if name is None:
        return {}
    if name not in known:
        raise ValueError(f"unknown preset {name!r}; choose from {', '.join(known)}")
    return dict(known[name])


def gatys_recipe(preset_name: str | None = None, given: dict[str, Any] | None = None) -> GatysRecipe:
    """A preset with the fields in `given` in place of its own.

    With another optimizer than the preset's, the preset's options of its optimizer no longer apply. Raises ValueError
    for an unknown preset, and for values that contradict each other.
    """
    given = given or {}
    values = preset(preset_name, PRESETS)
    if given.get("optimizer", values.get("optimizer", "lbfgs")) != values.get("optimizer", "lbfgs"):
        values = {name: value for name, value in values.items() if name not in _OPTIONS}
    recipe = GatysRecipe(**(values | given))
    if "init_noise" in given and recipe.init != "blend":
        raise ValueError("--init_noise is a share of --init blend; add that, or leave it out")
    return recipe
