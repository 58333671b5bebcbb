"""Every number of a training run, once, with its unit and its source; the flags of train.py derive from it.

`Recipe` is what decides the weights that come out: it is stored in the checkpoint, and a resumed run must agree with
it. `Run` is where things go and how often one looks. Neither imports torch, so that `--help` is instant.
"""

from __future__ import annotations

import argparse
import math
import reprlib
import typing
from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any

MOST_NOISE = 1e6  # that a noise_factor stays below
MOST_JITTER = 3.0  # powers of two; beyond it crops are black or white

GENERATORS = ("pyramid", "residual")
PERCEPTUAL = ("auto", "vgg19", "vgg16", "resnet18", "squeezenet1_1", "lite")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
# What all content weights are multiplied by: docs/strength_preset.jpg.
STRENGTHS = {"light": 2.0, "medium": 1.0, "strong": 0.5}


def flag(
    default: Any,
    group: str,
    help: str,
    choices: Iterable[str] | None = None,
    least: float | None = None,
    before: Any = None,
) -> Any:
    """A dataclass field and the command-line flag that sets it.

    before  what was done when there was no such field, if that is not the default
    """
    meta = {"group": group, "help": help, "choices": choices, "least": least, "before": before}
    return field(default=default, metadata=meta)


def perceptual_flag() -> Any:
    """Of a network's recipe and of the pixels'."""
    return flag(
        "auto",
        "perceptual network",
        "frozen network of the loss; auto: vgg19 if it can be had, else lite, on which the loss is that of the styles "
        "that ship but for what is typed",
        PERCEPTUAL,
    )


def content_norm_flag() -> Any:
    """Of a network's recipe and of the pixels'."""
    return flag(
        "none",
        "loss",
        "instance: the content layers' features are brought to the photo's mean and variance first, so that they tell "
        "what is where, and leave to the style terms how strongly it answers; none: the papers' distance",
        ("none", "instance"),
    )


def content_colors_flag() -> Any:
    """Of a network's recipe and of the pixels'."""
    return flag(
        "photo",
        "loss",
        "whose colours the content layers ask for; texture: they are compared with the photo in the texture's palette, "
        "photo: with the photo itself, as in the papers",
        ("photo", "texture"),
    )


@dataclass(frozen=True)
class Recipe:
    """What decides the weights."""

    iterations: int = flag(2000, "training", "optimizer steps; 2,000 at batch 16 in Ulyanov et al. 2016", least=1)
    batch_size: int = flag(4, "training", "photos per step", least=1)
    image_size: int = flag(256, "training", "side of the training crops, px", least=32)
    grow_from: int | None = flag(
        None,
        "training",
        "side of the crops of the first three fifths of the steps, px, smaller than --image_size: many steps in little "
        "time, as weights drawn at random need them (default: all are of --image_size)",
        least=32,
    )
    color_jitter: float = flag(
        0.0,
        "training",
        "how far brightness, contrast and saturation of each crop are moved at random, in powers of two: 0.7 is from "
        "0.6 to 1.6 times",
        least=0,
    )
    style_size: int = flag(
        256,
        "training",
        "longer side at which the texture is shown to the loss, px: the larger, the larger the strokes",
        least=16,
    )
    optimizer: str = flag(
        "muon",
        "training",
        "muon: each convolution's step is orthogonalised, by which the loss ends lower than with adam, the papers'",
        ("muon", "adam"),
        before="adam",
    )
    learning_rate: float = flag(
        # Ulyanov et al. 2017 (texture_nets train.lua) have 1e-3 for 50,000 steps of one photo; a short run of larger
        # steps that end at zero gets further in the same time.
        5e-3,
        "training",
        "first step size; falls to zero over the iterations along a cosine",
    )
    seed: int = flag(0, "training", "of weights, crops and noise: the same seed gives the same run", least=0)
    start_from: str | None = flag(
        None,
        "training",
        "style whose weights are begun with, a checkpoint or the name of one that ships: it knows photos already, and "
        "a third of the steps will do; auto: of those that ship the one that learns this texture fastest, by a short "
        "trial of each; none: weights drawn from the seed (default: none)",
    )

    generator: str = flag("pyramid", "generator", "network to train", GENERATORS)
    scales: int = flag(6, "generator", "scales of the pyramid; 6 in texture_nets", least=2)
    width: int | None = flag(
        None,
        "generator",
        "channels: per scale of the pyramid (8, as in the paper), or of residual's first layer (32)",
        least=1,
    )
    noise_channels: int = flag(3, "generator", "noise maps per scale; 3 in texture_nets", least=1)
    noise_scales: int | None = flag(
        None,
        "generator",
        "how many of the pyramid's coarsest scales are given noise, where it learns with photos: with 3 of 6, strokes "
        "and spots become larger forms, or follow the photo alone (default: those of --start_from, else all)",
        least=1,
    )
    noise_factor: float = flag(1.0, "generator", "what the noise in [0, 1) is multiplied by", least=0)
    noise_range: tuple[float, ...] | None = flag(
        None,
        "generator",
        "least and greatest noise_factor, as 0 2, that every other step is trained at, from half to more of the "
        "style: stylize.py --noise_factor then sets how strongly the texture lies over the photo (default: none)",
        least=0,
    )
    normalization: str = flag("instance", "generator", "after every convolution", ("instance", "batch"))
    slope: float = flag(
        0.2, "generator", "of the activations below zero; 0.01 in texture_nets, 0 is a plain ReLU", least=0, before=0.01
    )
    upsampling: str = flag(
        "bilinear",
        "generator",
        "of coarser maps to twice their size; nearest, as in the papers, leaves meshes",
        ("bilinear", "nearest"),
        before="nearest",
    )
    padding: str | None = flag(
        None,
        "generator",
        "of every convolution: reflect with photos, circular (so that it tiles) for a texture alone",
        ("reflect", "circular", "replicate", "zeros"),
    )

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

    style_layers: tuple[str, ...] | None = flag(
        None, "loss", "layers whose Gram matrices are matched (relu1_1 .. relu5_1, or the network's counterparts)"
    )
    style_weights: tuple[float, ...] = flag((5.0, 6.0, 2.0, 2.0, 2.0), "loss", "one number a style layer")
    content_layers: tuple[str, ...] | None = flag(
        None, "loss", "layers whose features are kept near the photo's (relu4_2, or the network's counterpart)"
    )
    content_weights: tuple[float, ...] = flag((2.0,), "loss", "one number a content layer")
    strength_preset: str = flag(
        "medium",
        "loss",
        "light, medium or strong texture over the photo; light doubles the content weights, for textures whose colours "
        "lie near each other, strong halves them, for bold ones",
        tuple(STRENGTHS),
    )
    content_norm: str = content_norm_flag()
    content_colors: str = content_colors_flag()
    tv_weight: float = flag(1.0, "loss", "total variation: the higher, the smoother", least=0)
    diversity_weight: float = flag(
        0.0, "loss", "how much two pictures of one photo are asked to differ (Ulyanov et al. 2017)", least=0
    )
    stability_weight: float = flag(
        0.0, "loss", "how little the picture may change between two frames of a clip; costs half a step more", least=0
    )
    loss_scale: str = flag(
        "relative",
        "loss",
        "relative: terms over the energy of their targets, so that weights mean the same for every network and "
        "texture; raw: the papers' sums",
        ("relative", "raw"),
    )

    def __post_init__(self) -> None:
        if self.noise_scales and self.generator == "pyramid" and self.noise_scales > self.scales:
            raise ValueError(f"noise_scales {self.noise_scales}: the pyramid has {self.scales} scales; give fewer")
        if self.noise_range and (len(self.noise_range) != 2 or self.noise_range[0] > self.noise_range[1]):
            raise ValueError(f"noise_range {list(self.noise_range)}: give the least and the greatest factor, 0 2")


@dataclass(frozen=True)
class Run:
    """Where things go, and how often one looks."""

    name: str | None = flag(None, "output", "of the style; default: the texture's file name")
    checkpoint_dir: Path = flag(Path("checkpoints"), "output", "NAME.pt is kept here")
    run_dir: Path = flag(Path("runs"), "output", "NAME/log.jsonl and NAME/previews are kept here")
    save_every: int = flag(200, "output", "steps between checkpoints; Ctrl-C saves too", least=1)
    keep: int = flag(
        3, "output", "last checkpoints kept in RUN_DIR/NAME/checkpoints, beside the best one; 0: neither", least=0
    )
    preview_every: int = flag(100, "output", "steps between previews on held-out photos; 0: none", least=0)
    log_every: int = flag(10, "output", "steps between lines of the log", least=1)
    verbose_every: int = flag(100, "output", "steps between the lines of --verbose", least=1)
    workers: int = flag(2, "machine", "processes that decode photos; 0: in the training process", least=0)
    precision: str = flag(
        "auto", "machine", "of the networks; auto: half precision where the chip is faster in it", PRECISIONS
    )
    auto_batch: bool = flag(
        False, "machine", "pass a batch that does not fit the memory in parts; their gradients are summed"
    )
    patience: float = flag(
        30.0, "machine", "minutes to wait for photos that are away, as on a lost mount; then save and stop", least=0
    )


@dataclass(frozen=True)
class PretrainRecipe:
    """What decides the weights of the bundled perceptual network, see pretrain.py."""

    epochs: int = flag(10, "training", "times that every picture is seen", least=1)
    batch_size: int = flag(128, "training", "pictures per step", least=2)
    learning_rate: float = flag(
        0.15, "training", "of SGD at its peak, after 3/10 of the steps; rises in a line, falls along a cosine", least=0
    )
    momentum: float = flag(0.9, "training", "of SGD, Nesterov's", least=0)
    weight_decay: float = flag(5e-4, "training", "on weights; none on biases and batch norm", least=0)
    label_smoothing: float = flag(0.1, "training", "share of the target that is spread over all classes", least=0)
    dropout: float = flag(0.1, "training", "share of the features that the last layer does not see", least=0)
    attack: float = flag(
        0.0,
        "training",
        "how far each value of a picture is moved so that the network errs, in 1/255; 3 makes lite's features; 0: none",
        least=0,
    )
    start_from: Path | None = flag(None, "training", "weights to begin with, of `lite` or like it (default: drawn)")
    seed: int = flag(0, "training", "of weights and crops: the same seed gives the same run", least=0)

    image_sizes: tuple[int, ...] = flag((64,), "pictures", "sides of the training crops, px; each step draws one")
    crop: float = flag(
        0.7, "pictures", "least side of a crop, as a share of the picture's shorter side; drawn up to 1", least=0
    )
    held_out: int = flag(3000, "pictures", "pictures that validate and are not trained on", least=1)

    def __post_init__(self) -> None:
        """ValueError, one line, for a share above 1."""
        for name in ("label_smoothing", "dropout", "crop"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"--{name} {getattr(self, name):g}: give a share from 0 to 1")


def _value_type(spec: Field[Any], owner: type) -> tuple[type, bool]:
    """(type of one value, whether the flag takes several) of a dataclass field."""
    hint = typing.get_type_hints(owner)[spec.name]
    if isinstance(hint, UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


def filled(kind: type) -> Any:
    """What argparse makes a path or a name with, refusing an empty one: Path("") is the working folder."""

    def parse(text: str) -> Any:
        if not text:
            raise argparse.ArgumentTypeError("an empty name; is a variable of the shell not set?")
        return kind(text)

    parse.__name__ = kind.__name__  # argparse names the type by it: "invalid int value"
    return parse


def at_least(kind: type, least: float | None, below: float = math.inf) -> Any:
    """What argparse makes a number of that kind with, refusing smaller ones, NaN and infinity; None: any finite one.

    below  what it has to stay below
    """

    def parse(text: str) -> Any:
        value = kind(text)
        if least is not None and not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        if kind is float and not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"{text} is no finite number")
        if not value < below:
            raise argparse.ArgumentTypeError(f"{text} is not below {below:g}")
        return value

    parse.__name__ = kind.__name__
    return parse


def add_flags(parser: argparse.ArgumentParser, *owners: type) -> None:
    """One flag per field of the dataclasses, in their groups. A flag that is not typed is absent from the result.

    That lets a resumed run tell what was asked for from what is merely a default.
    """
    groups = {group.title: group for group in parser._action_groups}
    for owner in owners:
        for spec in fields(owner):
            meta = spec.metadata
            if meta["group"] not in groups:
                groups[meta["group"]] = parser.add_argument_group(meta["group"])
            group = groups[meta["group"]]
            kind, several = _value_type(spec, owner)
            default = spec.default
            if kind is bool:
                action = argparse.BooleanOptionalAction
                group.add_argument(f"--{spec.name}", action=action, default=argparse.SUPPRESS, help=meta["help"])
                continue
            shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
            group.add_argument(
                f"--{spec.name}",
                type=filled(kind) if kind in (str, Path) else at_least(kind, meta["least"]),
                nargs="+" if several else None,
                choices=meta["choices"],
                default=argparse.SUPPRESS,
                metavar=None if meta["choices"] else kind.__name__.upper(),
                help=meta["help"] + ("" if default in (None, MISSING) else f" (default: {shown})"),
            )


def add_device_flags(group: Any, known: str = "auto, cpu, cuda[:N] or mps", default: str = "auto") -> None:
    """--device, and the two words that are short for its values."""
    group.add_argument("--device", default=default, metavar="NAME", help=f"{known} (default: {default})")
    for name in ("cuda", "cpu"):
        short = f"short for --device {name}"
        group.add_argument(f"--{name}", dest="device", action="store_const", const=name, help=short)


def given(namespace: argparse.Namespace, owner: type) -> dict[str, Any]:
    """The fields of a dataclass that were typed as flags."""
    typed = {spec.name: getattr(namespace, spec.name) for spec in fields(owner) if hasattr(namespace, spec.name)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in typed.items()}


def to_plain(recipe: Any) -> dict[str, Any]:
    """A dataclass as a dict of strings, numbers and lists: what a checkpoint may hold."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value)
        return list(value) if isinstance(value, tuple) else value

    return {spec.name: plain(getattr(recipe, spec.name)) for spec in fields(recipe)}


def from_plain(owner: type, values: dict[str, Any]) -> Any:
    """The inverse of `to_plain`. A field that is missing came later: what was done then is its "before", or default.

    Raises ValueError for unknown names (the file is from a newer version) and for a value that no flag could have.
    """
    names = {spec.name: spec for spec in fields(owner)}
    if unknown := sorted(map(str, set(values) - set(names))):
        raise ValueError(f"unknown recipe fields {', '.join(unknown)}: made by a newer version of texturenet?")
    values = {name: spec.metadata["before"] for name, spec in names.items() if spec.metadata["before"]} | values
    return owner(**{name: _restored(names[name], owner, value) for name, value in values.items()})


def _restored(spec: Field[Any], owner: type, value: Any) -> Any:
    """A plain value as the field's own type. Ranges are the flags' business: a converted style may lie outside."""
    kind, several = _value_type(spec, owner)
    if value is None and spec.default is None:
        return None
    items = value if several else [value]
    stored = {float: (float, int), Path: (str,)}.get(kind, (kind,))
    choices = spec.metadata["choices"]
    if (
        not isinstance(items, list | tuple)
        or any(type(item) not in stored or (choices and item not in choices) for item in items)
        or (kind is float and not all(abs(item) < 1e38 for item in items))  # infinity, NaN, and what float32 can't hold
    ):
        raise ValueError(f"the recipe's {spec.name} is {reprlib.repr(value)}, which it can't be: the file is damaged")
    return tuple(map(kind, items)) if several else kind(value)
