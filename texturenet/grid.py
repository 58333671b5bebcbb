"""The grid of the ablation: what is varied, what it is varied on, and the recipe that each cell means.

Layers are those of the presets `ablation-*`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from texturenet.presets import PRESETS, GatysRecipe, gatys_recipe


@dataclass(frozen=True)
class Pair:
    """A photo to paint, the texture, and what the result is compared with."""

    content: Path
    texture: Path
    reference: Path | None = None

    def __str__(self) -> str:
        return f"{self.content.stem}+{self.texture.stem}"


@dataclass(frozen=True)
class Weights:
    """One set of content, style and total-variation weights."""

    content: float
    style: float
    tv: float

    def __str__(self) -> str:
        return f"{self.content:g}:{self.style:g}:{self.tv:g}"


@dataclass(frozen=True)
class Grid:
    """What is varied."""

    extractors: Sequence[str]
    optimizers: Sequence[str]
    iterations: Sequence[int]
    inits: Sequence[str]
    weights: Sequence[Weights]


@dataclass(frozen=True)
class Cell:
    """One descent: a pair under one choice of all but the count of iterations."""

    pair: Pair
    extractor: str
    optimizer: str
    init: str
    weights: Weights

    @property
    def title(self) -> str:
        return f"{self.extractor} {self.optimizer}"


def read_pairs(texts: Sequence[str]) -> list[Pair]:
    """Pairs from "content:texture[:reference]", or from one CSV with columns content, texture, reference.

    Raises ValueError for anything else. Paths in a CSV are relative to it.
    """
    if len(texts) == 1 and texts[0].lower().endswith(".csv"):
        return _read_csv(Path(texts[0]))
    pairs = []
    for text in texts:
        parts = text.split(":")
        if not 2 <= len(parts) <= 3 or not all(parts):
            raise ValueError(
                f"--pairs {text}: give content.jpg:texture.jpg[:reference.png], or a .csv with these columns"
            )
        pairs.append(Pair(*map(Path, parts)))
    return pairs


def _read_csv(path: Path) -> list[Pair]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file of pairs") from None
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{path}: not a table in text; save the table as CSV (UTF-8)") from None
    if not rows or not {"content", "texture"} <= set(rows[0]):
        raise ValueError(f"{path}: needs rows under a first line content,texture,reference")
    pairs = []
    for number_, row in enumerate(rows, start=2):
        if not row["content"] or not row["texture"]:
            raise ValueError(f"{path}, line {number_}: content or texture is empty")
        reference = path.parent / row["reference"] if row.get("reference") else None
        pairs.append(Pair(path.parent / row["content"], path.parent / row["texture"], reference))
    return pairs


def read_weights(text: str) -> Weights:
    """ "1:1e6:0" -> Weights(content 1, style 1e6, tv 0). Raises ValueError."""
    try:
        content, style, tv = map(float, text.split(":"))
    except ValueError:
        raise ValueError(f"--losses {text}: give content:style:tv weights, as in 1:1e6:0") from None
    if not all(0 <= weight < math.inf for weight in (content, style, tv)):
        raise ValueError(f"--losses {text}: give weights of 0 or more")
    return Weights(content, style, tv)


def recipe_of(cell: Cell, iterations: int) -> GatysRecipe:
    """The preset of the cell's extractor with the cell's choices; a network without a preset gets VGG19's layers.

    That fits lite, which has VGG19's layer names; another network's own default layers are taken.
    """
    preset = f"ablation-{cell.extractor}"
    values: dict[str, Any] = {"perceptual": cell.extractor}
    if preset not in PRESETS:
        preset = "ablation-vgg19"
        if cell.extractor != "lite":
            values |= {"style_layers": None, "content_layers": None, "style_weights": (1.0,) * 5}
    layers = len(values.get("style_weights") or PRESETS[preset]["style_weights"])
    values |= {
        "optimizer": cell.optimizer,
        "iterations": iterations,
        "init": cell.init,
        "content_weights": (cell.weights.content,),
        "style_weights": (cell.weights.style,) * layers,
        "tv_weight": cell.weights.tv,
    }
    return gatys_recipe(preset, values)
