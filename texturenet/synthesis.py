"""Textures of a trained generator against those of the iterative reference (Gatys et al. 2015, arXiv 1505.07376).

Both start from noise and have no photo to keep: L0 is the loss of white noise, L that of one pass, L* of the best that
L-BFGS finds from white noise. Gap closed and matched iterations are those of matched.py. The sheet is for the eye.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from texturenet import checkpoint, images
from texturenet.devices import describe
from texturenet.judging import Judged, labels, open_several
from texturenet.metrics import diversity, matched_iterations
from texturenet.reports import file_stem, markdown, number, publish, titled_sheet
from texturenet.yardstick import References, Trajectory

SHEET_SEEDS = 2


def run(
    checkpoints: Sequence[Path],
    out_dir: Path,
    device: torch.device,
    texture_path: Path | None = None,
    size: int = 256,
    iterations: int = 300,
    seeds: int = 3,
    fresh: bool = False,
    record: bool = False,
    resumable: bool = True,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Judge styles that make textures; a row per style and seed, table and sheets in `out_dir`/synthesis.

    size     sides of the textures, px
    record   write the figures into the checkpoints; resumable: these keep what only resuming needs
    Raises ValueError or OSError, one line. After KeyboardInterrupt the same call goes on where it was.
    """
    judged = open_several(checkpoints, texture_path, device, of_photos=False)
    references = References(out_dir / "references", device, fresh)
    rows: list[dict[str, Any]] = []
    table = []
    folder = out_dir / "synthesis"
    with tqdm(total=len(judged) * iterations, unit="it", dynamic_ncols=True) as bar:
        for path, name, style in zip(checkpoints, labels(judged, checkpoints), judged, strict=True):
            reference = references.get(style, torch.zeros(1, 3, size, size), "noise", iterations, bar)
            style.stylizer.synthesize(size, size, seeds)  # warms up, with noise that nobody asks for again
            own, pictures = zip(*(_measured(name, style, reference, size, seed) for seed in range(seeds)), strict=True)
            rows += own
            gap, matched, seconds = (
                statistics.median(row[key] for row in own)
                for key in ("gap_closed", "matched_from_noise", "pass_seconds")
            )
            table.append(
                [
                    name,
                    str(size),
                    number(100 * gap, 1),
                    number(matched, 1, iterations),
                    number(seconds, 3),
                    number(reference.seconds, 1) if reference.device == describe(device) else "-",
                ]
            )
            samples = [(f"one pass, seed {seed}", picture) for seed, picture in enumerate(pictures[:SHEET_SEEDS])]
            theirs = [(f"Gatys {i}", image) for i, image in sorted(reference.pictures.items())]
            sheet = titled_sheet([[("texture", style.texture), *samples, *theirs]])
            images.save_image(sheet, folder / f"{file_stem(name)}-{size}.jpg")
            if record:
                figures = {"gap_closed": round(gap, 4), "matched_from_noise": round(matched, 1), "judged_px": size}
                figures |= {"reference_iterations": iterations}
                if seeds > 1:
                    figures["diversity"] = round(diversity(pictures), 4)
                checkpoint.record(path, figures, round(own[0]["pass_total"], 4), resumable)
                say(f"{path}: recorded")
    text = (
        f"# Textures against {iterations} iterations of L-BFGS\n\nMedians over {seeds} seeds. Gap closed: (white noise "
        f"- pass) / (white noise - reference) of the total loss. Times on {describe(device)}.\n\n"
    )
    heads = ["style", "px", "gap closed, %", "matched from noise", "pass, s", f"Gatys {iterations} it., s"]
    publish(folder / file_stem(*(row["style"] for row in rows[::seeds])), text + markdown(heads, table), rows, say)
    return rows


def _measured(name: str, style: Judged, reference: Trajectory, size: int, seed: int) -> tuple[dict[str, Any], Tensor]:
    """The row of one seed, and its picture."""
    begin = time.perf_counter()
    picture = style.stylizer.synthesize(size, size, seed)
    seconds = time.perf_counter() - begin
    terms = style.terms(picture, picture)
    row = {
        "style": name,
        "seed": seed,
        "gap_closed": reference.gap_closed(terms["total"]),
        "matched_from_noise": matched_iterations(reference.totals, terms["total"]),
        "pass_seconds": seconds,
        **{f"pass_{term}": value for term, value in terms.items()},
    }
    return row, picture
