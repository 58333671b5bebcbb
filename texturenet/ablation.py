"""The ablation of the iterative method: extractor x optimizer x iterations x init x weights, scored against references.

The report that this re-runs took AdaIN's outputs as pseudo ground truth, and scored by RMSE, PSNR and SSIM; here the
reference pictures are the user's.
One descent serves all counts of iterations: the pictures after 1000 and 1500 are met on the way to 2000.
"""

from __future__ import annotations

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
from texturenet.grid import Cell, Grid, Pair, recipe_of
from texturenet.judging import encoder_key
from texturenet.metrics import psnr, rmse, ssim
from texturenet.perceptual import Encoder, load_encoder
from texturenet.reports import Rows, file_stem, fingerprint, markdown, number, publish, titled_sheet, write_csv

SCORES = ("rmse", "psnr", "ssim")
AXES = ("extractor", "optimizer", "init", "weights", "iterations")


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
    """Work through the grid; tables and sheets in `out_dir`/ablate; a row for each cell and count of iterations.

    A cell that fails has its reason in "error", and `say` gets it as a line; the others go on. Raises ValueError where
    no cell could be painted. After KeyboardInterrupt the same call goes on where it was.
    """
    folder = out_dir / "ablate"
    pairs = list(dict.fromkeys(pairs))
    cells = [
        Cell(*choice)
        for choice in product(pairs, grid.extractors, grid.optimizers, grid.inits, dict.fromkeys(grid.weights))
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
    failures: set[str] = set()
    painted = 0
    with tqdm(total=len(cells) * counts[-1], unit="it", dynamic_ncols=True) as bar:
        for index, pair in enumerate(pairs, start=1):
            loaded = inputs[pair]
            pictures: dict[tuple[Cell, int], Tensor] = {}
            own = [cell for cell in cells if cell.pair == pair]
            for cell in own:
                done = bar.n
                bar.set_description_str(f"{pair} {cell.title} {cell.init} {cell.weights}", refresh=False)
                try:
                    for row, picture in _cell_rows(cell, counts, loaded, encoders, kept, folder, bar):
                        rows.append(row)
                        pictures[cell, row["iterations"]] = picture
                except (ValueError, OSError, RuntimeError) as error:  # RuntimeError: torch, out of memory
                    reason = (str(error).splitlines() or [type(error).__name__])[0]
                    missing = [count for count in counts if (cell, count) not in pictures]
                    rows += [_row(cell, count) | {"error": reason} for count in missing]
                    if reason not in failures and reason != loaded:
                        bar.write(f"{pair} {cell.title}: {reason}")
                    failures.add(reason)
                bar.update(done + counts[-1] - bar.n)
            if isinstance(loaded, _Inputs) and pictures:
                images.save_image(_sheet(loaded, own, counts, pictures), folder / f"{file_stem(f'{index}-{pair}')}.jpg")
            painted += len(pictures)
    if not painted:
        write_csv(folder / "ablate.csv", rows)
        raise ValueError(f"no cell of the grid could be painted; the reasons are in {folder / 'ablate.csv'}")
    publish(folder / "ablate", report(rows), rows, say)
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
                self._loaded[name] = ValueError(f"{error} (of this command: --extractors lite)")
        found = self._loaded[name]
        if isinstance(found, ValueError):
            raise found
        return found


def _row(cell: Cell, count: int) -> dict[str, Any]:
    return {
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
        try:
            gatys.paint(inputs.photo.to(device), inputs.texture.to(device), encoder, recipe, note)
        finally:
            yield from finished()  # a descent that fails late has earlier pictures to show
    else:
        yield from done


def report(rows: Sequence[dict[str, Any]]) -> str:
    """The report's tables: every cell averaged over its pairs, then each choice averaged over all the others."""
    good = [row for row in rows if "error" not in row]
    lines = [[*map(str, key), *_means(group), f"{len(group)}"] for key, group in _grouped(good, AXES).items()]
    heads = ["RMSE", "PSNR", "SSIM", "loss", "s"]
    text = (
        "# Ablation of the iterative method\n\nMeans over the pairs; weights are content:style:tv. RMSE (0 .. 1), PSNR "
        "(dB) and SSIM against the reference pictures, where there is one. Losses compare within one extractor "
        "and set of weights only. A cell that failed counts nowhere.\n\n"
    )
    text += markdown([*AXES, *heads, "pairs"], lines)
    for axis in AXES:
        groups = _grouped(good, (axis,))
        if len(groups) > 1:
            table = [[str(value), *_means(group)] for (value,), group in groups.items()]
            text += f"\n## By {axis}\n\n" + markdown([axis, *heads], table)
    failed = _grouped([row for row in rows if "error" in row], ("error",))
    if failed:
        text += "\n## Failed\n\n"
    for (reason,), group in failed.items():
        pairs, extractors = (", ".join(dict.fromkeys(row[name] for row in group)) for name in ("pair", "extractor"))
        text += f"- {len(group)} of {len(rows)} ({pairs}; {extractors}): {reason}\n"
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
    inputs: _Inputs, cells: Sequence[Cell], counts: Sequence[int], pictures: dict[tuple[Cell, int], Tensor]
) -> Tensor:
    """Content, texture and reference above a row for each extractor, optimizer, init and weights, a column a count."""
    several = len({cell.weights for cell in cells}) > 1
    rows = [[("content", inputs.photo), ("texture", inputs.texture)]]
    if inputs.reference is not None:
        rows[0].append(("reference", inputs.reference))
    for cell in cells:
        title = f"{cell.title} {cell.init}{f' {cell.weights}' if several else ''}"
        row = [(f"{title} {count}", pictures[cell, count]) for count in counts if (cell, count) in pictures]
        rows += [row] if row else []
    return titled_sheet(rows)
