"""The ablation of the iterative method: extractor x optimizer x iterations x init x weights, scored against references.

The report that this re-runs took AdaIN's outputs as pseudo ground truth, and scored by RMSE, PSNR and SSIM; here the
reference pictures are the user's. Layers and weights are those of the presets `ablation-*`.

One descent serves all counts of iterations: the pictures after 1000 and 1500 are met on the way to 2000.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from texturenet import gatys, images
from texturenet.config import to_plain
from texturenet.devices import place
from texturenet.judging import encoder_key
from texturenet.metrics import psnr, rmse, ssim
from texturenet.perceptual import Encoder, load_encoder
from texturenet.presets import PRESETS, GatysRecipe, gatys_recipe
from texturenet.reports import Rows, fingerprint, markdown, number, titled_sheet, write_csv, write_text

SCORES = ("rmse", "psnr", "ssim")
AXES = ("extractor", "optimizer", "init", "weights", "iterations")
SHEET_TILE = 192  # px: a sheet has as many columns as there are counts, inits and weights


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
            raise ValueError(f"--pairs {text}: give content.jpg:texture.jpg[:reference.png], or a .csv with these columns")
        pairs.append(Pair(*map(Path, parts)))
    return pairs


def _read_csv(path: Path) -> list[Pair]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file of pairs") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file; save the table as CSV (UTF-8)") from None
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
    if min(content, style, tv) < 0:
        raise ValueError(f"--losses {text}: a weight can't be negative")
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


def score(result: Tensor, reference: Tensor | None) -> dict[str, float | None]:
    """RMSE, PSNR (dB) and SSIM, all None without a reference; both (1, 3, H, W)."""
    if reference is None:
        return dict.fromkeys(SCORES)
    return {"rmse": rmse(result, reference), "psnr": psnr(result, reference), "ssim": ssim(result, reference)}


@dataclass(frozen=True)
class _Inputs:
    photo: Tensor
    texture: Tensor
    reference: Tensor | None


def load_pair(pair: Pair, size: int | None) -> _Inputs:
    """The pair's pictures, the photo with its longer side at `size` (None: as it is), the reference as it is.

    Raises ValueError for one that can't be read, and for a reference of another size than the result's.
    """
    photo = images.load_image(pair.content, size)
    texture = images.load_image(pair.texture, max(photo.shape[-2:]))
    try:
        reference = None if pair.reference is None else images.load_image(pair.reference)
    except images.ImageError as error:
        raise ValueError(f"reference picture {error}") from None
    if reference is not None and reference.shape != photo.shape:
        (h, w), (rh, rw) = photo.shape[-2:], reference.shape[-2:]
        longer = max(rh, rw)
        way_out = f"give --size {longer}" if (rh > rw) == (h > w) else "make it one of that photo"
        raise ValueError(f"reference picture {pair.reference}: is {rw}x{rh} px and the result {w}x{h}; {way_out}")
    return _Inputs(photo, texture, reference)


def run(
    pairs: Sequence[Pair],
    grid: Grid,
    out_dir: Path,
    device: torch.device,
    size: int | None = 256,
    fresh: bool = False,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Work through the grid; tables and sheets in `out_dir`/ablate. Returns a row for each cell and count of iterations.

    A cell that fails has its reason in "error", and `say` gets it as a line; the others go on. Raises ValueError where
    no cell could be painted. After KeyboardInterrupt the same call goes on where it was.
    """
    folder = out_dir / "ablate"
    cells = [
        Cell(*choice)
        for choice in product(pairs, grid.extractors, grid.optimizers, grid.inits, sorted(set(grid.weights), key=str))
    ]
    counts = sorted(set(grid.iterations))
    inputs: dict[Pair, _Inputs | str] = {}
    for pair in pairs:  # all of them before the first long run: a typing error shows in the first seconds
        try:
            inputs[pair] = load_pair(pair, size)
        except (ValueError, OSError) as error:
            inputs[pair] = str(error)
            say(f"{pair}: {error}")
    encoders = _Encoders(device)
    kept = Rows(folder / "rows.jsonl", fresh)
    rows: list[dict[str, Any]] = []
    pictures: dict[tuple[Cell, int], Tensor] = {}
    failures: set[str] = set()
    with tqdm(total=len(cells) * counts[-1], unit="it", dynamic_ncols=True) as bar:
        for cell in cells:
            done = bar.n
            bar.set_description_str(f"{cell.pair} {cell.title} {cell.init} {cell.weights}", refresh=False)
            try:
                for row, picture in _cell_rows(cell, counts, inputs[cell.pair], encoders, kept, folder, bar):
                    rows.append(row)
                    pictures[cell, row["iterations"]] = picture
            except (ValueError, OSError, RuntimeError) as error:  # RuntimeError: torch, out of memory
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                finished = {row["iterations"] for row in rows if row["cell"] == cell}
                rows += [_row(cell, count) | {"error": reason} for count in counts if count not in finished]
                if reason not in failures and reason != inputs[cell.pair]:
                    bar.write(f"{cell.pair} {cell.title}: {reason}")
                failures.add(reason)
            bar.update(done + counts[-1] - bar.n)
    for row in rows:
        del row["cell"]
    write_csv(folder / "ablate.csv", rows)
    if not pictures:
        raise ValueError(f"no cell of the grid could be painted; the reasons are in {folder / 'ablate.csv'}")
    write_text(folder / "ablate.md", report(rows))
    for pair in pairs:
        loaded = inputs[pair]
        if isinstance(loaded, _Inputs) and any(cell.pair == pair for cell, _ in pictures):
            images.save_image(_sheet(pair, loaded, cells, counts, pictures), folder / f"{pair}.jpg")
    return rows


class _Encoders:
    """Networks, each loaded once, when first asked for; a failure is remembered too."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._loaded: dict[str, tuple[Encoder, str] | ValueError] = {}

    def __call__(self, name: str) -> tuple[Encoder, str]:
        if name not in self._loaded:
            try:
                encoder = place(load_encoder(name), self.device)
                self._loaded[name] = encoder, encoder_key(encoder)
            except ValueError as error:
                self._loaded[name] = error
        found = self._loaded[name]
        if isinstance(found, ValueError):
            raise found
        return found


def _row(cell: Cell, count: int) -> dict[str, Any]:
    return {
        "cell": cell,
        "pair": str(cell.pair),
        "extractor": cell.extractor,
        "optimizer": cell.optimizer,
        "init": cell.init,
        "weights": str(cell.weights),
        "iterations": count,
    }


def _cell_rows(
    cell: Cell,
    counts: Sequence[int],
    inputs: _Inputs | str,
    encoders: _Encoders,
    kept: Rows,
    folder: Path,
    bar: Any,
) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """A row and a picture for each count of iterations, from the disk where all are there. Raises what went wrong."""
    if isinstance(inputs, str):
        raise ValueError(inputs)
    encoder, its_key = encoders(cell.extractor)
    recipe = recipe_of(cell, counts[-1])
    fields = to_plain(recipe) | {"iterations": 0}
    key = fingerprint(inputs.photo, inputs.texture, fields, [its_key, encoders.device.type])

    def finished() -> Iterator[tuple[dict[str, Any], Tensor]]:
        for count in counts:
            row = kept.get(f"{key}-{count}")
            if row is None:
                return
            try:
                picture = images.load_image(folder / "pictures" / f"{key}-{count}.png")
            except images.ImageError:
                return
            values = {name: row[name] for name in ("loss", "style", "content", "tv", "seconds")}
            # Scored anew: another reference picture does not ask for another descent.
            yield _row(cell, count) | score(picture, inputs.reference) | values, picture

    if len(done := list(finished())) < len(counts):
        begin = time.perf_counter()

        def note(iterate: gatys.Iterate) -> None:
            losses = iterate.losses
            if iterate.iteration:
                bar.set_postfix_str(f"loss {losses['total']:.4g}", refresh=False)
                bar.update()
            if iterate.iteration in counts:
                images.save_image(iterate.image, folder / "pictures" / f"{key}-{iterate.iteration}.png")
                values = {name: losses[name] for name in ("style", "content", "tv")} | {"loss": losses["total"]}
                kept.add(
                    f"{key}-{iterate.iteration}",
                    {"recipe": fields, "pair": str(cell.pair), **values, "seconds": time.perf_counter() - begin},
                )

        device = encoders.device
        gatys.paint(inputs.photo.to(device), inputs.texture.to(device), encoder, recipe, note)
        done = list(finished())
    yield from done


def report(rows: Sequence[dict[str, Any]]) -> str:
    """The report's tables: every cell averaged over its pairs, then each choice averaged over all the others."""
    good = [row for row in rows if "error" not in row]
    lines = [
        [*map(str, key), *_means(group), f"{len(group)}"]
        for key, group in _grouped(good, AXES).items()
    ]
    text = "# Ablation of the iterative method\n\nMeans over the pairs; weights are content:style:tv. RMSE 0 .. 1, PSNR in "
    text += "dB, against the reference pictures.\n\n"
    heads = ["RMSE", "PSNR", "SSIM", "loss", "s"]
    text += markdown([*AXES, *heads, "pairs"], lines)
    for axis in AXES:
        groups = _grouped(good, (axis,))
        if len(groups) > 1:
            table = [[str(value), *_means(group)] for (value,), group in groups.items()]
            text += f"\n## By {axis}\n\n" + markdown([axis, *heads], table)
    if bad := [row for row in rows if "error" in row]:
        reasons = _grouped(bad, ("pair", "extractor", "optimizer", "error"))
        table = [[pair, extractor, optimizer, str(len(group)), why] for (pair, extractor, optimizer, why), group in reasons.items()]
        text += "\n## Failed\n\n" + markdown(["pair", "extractor", "optimizer", "cells", "why"], table)
    return text


def _grouped(rows: Sequence[dict[str, Any]], fields: Sequence[str]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in fields), []).append(row)
    return groups


def _means(rows: Sequence[dict[str, Any]]) -> list[str]:
    def mean(name: str) -> float | None:
        values = [row[name] for row in rows if row[name] is not None]
        return sum(values) / len(values) if values else None

    loss = mean("loss")
    return [
        number(mean("rmse"), 4),
        number(mean("psnr"), 2),
        number(mean("ssim"), 4),
        "-" if loss is None else f"{loss:.4g}",
        number(mean("seconds"), 1),
    ]


def _sheet(
    pair: Pair, inputs: _Inputs, cells: Sequence[Cell], counts: Sequence[int], pictures: dict[tuple[Cell, int], Tensor]
) -> Tensor:
    """Content, texture and reference above a row for each extractor, optimizer, init and weights, a column a count."""
    rows = [[("content", inputs.photo), ("texture", inputs.texture)]]
    if inputs.reference is not None:
        rows[0].append(("reference", inputs.reference))
    for cell in cells:
        if cell.pair == pair:
            row = [
                (f"{cell.title} {cell.init} {count}\n{cell.weights}", pictures[cell, count])
                for count in counts
                if (cell, count) in pictures
            ]
            rows += [row] if row else []
    return titled_sheet(rows, SHEET_TILE)
