"""One number varied at a time, looked at and measured: noise of a trained style, its seeds, and short training runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from texturenet import checkpoint, images, trainer
from texturenet.config import Recipe, Run, to_plain
from texturenet.job import prepare
from texturenet.judging import choose_photos, labels, load_recipe_encoder, open_judged, open_several
from texturenet.metrics import diversity, quartiles
from texturenet.monitor import StepEvent
from texturenet.presets import on_lite
from texturenet.reports import file_stem, fingerprint, markdown, number, publish, titled_sheet
from texturenet.stylizer import Stylizer

SHEET_PHOTOS = 6
SPREAD_GAIN = 4  # by which the sheet of seeds shows their standard deviation brighter

Say = Callable[[str], None]
SheetRow = list[tuple[str, Tensor]]


def _median(values: Sequence[float]) -> float:
    return quartiles(values)[1]


def noise_sweep(
    checkpoint_path: Path,
    photo_dir: Path,
    out_dir: Path,
    device: torch.device,
    factors: Sequence[float],
    texture_path: Path | None = None,
    count: int = 6,
    size: int = 256,
    seed: int = 0,
    say: Say = print,
) -> list[dict[str, Any]]:
    """One trained style over factors of its noise: the loss per photo and factor, table and sheet in `out_dir`/sweep.

    Raises ValueError or OSError, one line.
    """
    style = open_judged(checkpoint_path, texture_path, device)
    rows: list[dict[str, Any]] = []
    sheet: list[SheetRow] = []
    for path in tqdm(choose_photos(photo_dir, count, size, say), unit="photo", dynamic_ncols=True):
        photo = images.load_image(path, size)
        band: SheetRow = [(path.stem, photo)]
        still = style.stylizer(photo, seed, 0.0)
        for factor in factors:
            picture = style.stylizer(photo, seed, factor)
            band.append((f"noise_factor {factor:g}", picture))
            # How far the noise moves the picture at all, against none.
            row = {"photo": path.name, "noise_factor": factor, "moved": diversity([still, picture])}
            rows.append(row | style.terms(picture, photo))
        sheet.append(band)
    folder, stem = out_dir / "sweep", f"{style.name}-noise_factor"
    images.save_image(titled_sheet(sheet[:SHEET_PHOTOS]), folder / f"{stem}.jpg")
    columns = ("total", "style", "content", "tv", "moved")
    table = [
        [
            f"{factor:g}",
            *(f"{_median([row[name] for row in rows if row['noise_factor'] == factor]):.4g}" for name in columns),
        ]
        for factor in factors
    ]
    publish(
        folder / stem,
        f"# {style.name} over noise_factor\n\nMedians over {len(sheet)} photos at {size} px; trained at "
        f"{style.recipe.noise_factor:g}. Moved: RMSE from the picture without noise, 0 .. 1.\n\n"
        + markdown(["noise_factor", *columns], table),
        rows,
        say,
    )
    return rows


def seed_sweep(
    checkpoints: Sequence[Path],
    photo_dir: Path,
    out_dir: Path,
    device: torch.device,
    texture_path: Path | None = None,
    count: int = 6,
    size: int = 256,
    seeds: int = 4,
    noise_factor: float | None = None,
    say: Say = print,
) -> list[dict[str, Any]]:
    """How different the pictures of different seeds are; a row per style and photo, table and sheets in
    `out_dir`/diversity.

    diversity        mean pairwise RMSE over pixels, 0 .. 1 (metrics.diversity)
    style            the style term, averaged over the seeds; style_range its largest minus its smallest
    relative         diversity over style: of two networks with the same loss, the higher one gives more different
                     pictures that are equally good
    Raises ValueError or OSError, one line.
    """
    if seeds < 2:
        raise ValueError(f"--seeds {seeds}: diversity is between pictures; give 2 or more")
    judged = open_several(checkpoints, texture_path, device)
    photos = choose_photos(photo_dir, count, size, say)
    folder = out_dir / "diversity"
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(judged) * len(photos), unit="photo", dynamic_ncols=True) as bar:
        for style, name in zip(judged, labels(judged, checkpoints), strict=True):
            sheet: list[SheetRow] = []
            for path in photos:
                photo = images.load_image(path, size)
                pictures = [style.stylizer(photo, seed, noise_factor) for seed in range(seeds)]
                styles = [style.terms(picture, photo)["style"] for picture in pictures]
                mean, distance = sum(styles) / seeds, diversity(pictures)
                rows.append(
                    {
                        "style_name": name,
                        "photo": path.name,
                        "diversity": distance,
                        "style": mean,
                        "style_range": max(styles) - min(styles),
                        "relative": distance / mean,
                    }
                )
                spread = (SPREAD_GAIN * torch.cat(pictures).std(dim=0, keepdim=True)).clamp(0, 1)
                band = [(f"seed {seed}", picture) for seed, picture in enumerate(pictures)]
                sheet.append([(path.stem, photo), *band, (f"deviation x {SPREAD_GAIN}", spread)])
                bar.update()
            images.save_image(titled_sheet(sheet[:SHEET_PHOTOS]), folder / f"{file_stem(name)}.jpg")
    stem = file_stem(*labels(judged, checkpoints))
    columns = ("diversity", "style", "style_range", "relative")
    table = []
    for name in labels(judged, checkpoints):
        own = [row for row in rows if row["style_name"] == name]
        table.append([name, *(number(_median([row[column] for row in own]), 4) for column in columns)])
    publish(
        folder / stem,
        f"# Diversity over {seeds} seeds\n\nMedians over {len(photos)} photos at {size} px. Diversity: mean pairwise "
        "RMSE, 0 .. 1. Style term: mean over the seeds; its range: from the best seed to the worst. Relative: "
        "diversity over style term.\n\n"
        + markdown(["style", "diversity", "style term", "its range", "relative"], table),
        rows,
        say,
    )
    return rows


def training_sweep(
    recipe_given: dict[str, Any],
    texture_path: Path,
    data_dir: Path,
    photo_dir: Path,
    out_dir: Path,
    device: torch.device,
    factors: Sequence[float],
    ratios: Sequence[float],
    count: int = 2,
    size: int = 256,
    fresh: bool = False,
    say: Say = print,
) -> list[dict[str, Any]]:
    """Short training runs over noise_factor and the style/content ratio: a row per run, sheet per photo, in
    `out_dir`/sweep.

    recipe_given  fields of a Recipe that were asked for; `iterations` and `image_size` among them
    ratios  style against content, as multiples of the recipe's: content_weights are divided by them, so that the style
            term stays comparable
    All runs share the seed, so they see the same crops. A finished run is kept and used again, a run that was stopped
    is gone on with. The terms of each picture are of one loss (ratio 1, else the first), whatever it was trained for.
    Raises ValueError or OSError, one line, and recovery.Interrupted.
    """
    if any(ratio <= 0 for ratio in ratios):
        raise ValueError(f"--ratios {' '.join(f'{ratio:g}' for ratio in ratios)}: give numbers above 0")
    photos = choose_photos(photo_dir, count, size, say)
    folder = out_dir / "sweep"
    recipe = Recipe(**recipe_given)
    if load_recipe_encoder(recipe).name == "lite":  # as `job.prepare` would
        recipe_given = recipe_given | on_lite(None, recipe_given, recipe, say)
        recipe = Recipe(**recipe_given)
    runs: dict[tuple[float, float], Path] = {}
    with tqdm(total=recipe.iterations * len(factors) * len(ratios), unit="step", dynamic_ncols=True) as bar:
        for factor in factors:
            for ratio in ratios:
                content = tuple(weight / ratio for weight in recipe.content_weights)
                bar.set_description_str(f"noise {factor:g}, ratio {ratio:g}", refresh=False)
                cell = recipe_given | {"noise_factor": factor, "content_weights": content}
                runs[factor, ratio] = _trained(cell, texture_path, data_dir, folder / "runs", device, fresh, bar)
    # One judge for all: of the recipe's own ratio, or without one, of the first.
    judge = open_judged(runs[factors[0], 1.0 if 1.0 in ratios else ratios[0]], device=device)
    painters = {choice: Stylizer(path, device) for choice, path in runs.items()}
    rows: list[dict[str, Any]] = []
    for count, path in enumerate(photos, 1):
        photo = images.load_image(path, size)
        sheet: list[SheetRow] = []
        for factor in factors:
            band: SheetRow = []
            for ratio in ratios:
                picture = painters[factor, ratio](photo)
                band.append((f"noise {factor:g}, style/content {ratio:g}", picture))
                row = {"photo": path.name, "noise_factor": factor, "ratio": ratio}
                rows.append(row | judge.terms(picture, photo))
            sheet.append(band)
        sheet.insert(0, [(path.stem, photo), ("texture", judge.texture)])
        images.save_image(titled_sheet(sheet), folder / f"{texture_path.stem}-training-{count}-{path.stem}.jpg")
    stem = f"{texture_path.stem}-training"
    columns = ("total", "style", "content", "tv")
    table = []
    for factor, ratio in runs:
        own = [row for row in rows if (row["noise_factor"], row["ratio"]) == (factor, ratio)]
        table.append([f"{factor:g}", f"{ratio:g}", *(f"{_median([row[name] for row in own]):.4g}" for name in columns)])
    publish(
        folder / stem,
        f"# {texture_path.stem}: {recipe.iterations} steps over noise_factor and style/content ratio\n\nMedians over "
        f"{len(photos)} photos at {size} px, all under the loss of ratio {1 if 1 in ratios else ratios[0]:g}.\n\n"
        + markdown(["noise_factor", "style/content", *columns], table),
        rows,
        say,
    )
    return rows


def _trained(
    recipe_given: dict[str, Any],
    texture_path: Path,
    data_dir: Path,
    folder: Path,
    device: torch.device,
    fresh: bool,
    bar: Any,
) -> Path:
    """The checkpoint of a recipe, trained unless it is there; named by what decides it."""
    recipe = Recipe(**recipe_given)
    key = fingerprint(to_plain(recipe), images.load_image(texture_path, recipe.style_size), str(data_dir.resolve()))
    name = f"noise{recipe.noise_factor:g}-content{'_'.join(f'{weight:g}' for weight in recipe.content_weights)}-{key}"
    path = folder / f"{name}.pt"
    if fresh:
        path.unlink(missing_ok=True)
    if path.exists() and checkpoint.load(path)["step"] >= recipe.iterations:
        bar.update(recipe.iterations)
        return path
    resumed = path.exists()
    run = Run(name=name, checkpoint_dir=folder, run_dir=folder, preview_every=0, workers=0, log_every=5, keep=0)
    given = {} if resumed else recipe_given
    job = prepare(given, run, texture_path, data_dir, (), device, "auto" if resumed else None, say=lambda _line: None)
    bar.update(job.start_step)
    return trainer.train(job, [_Ticks(bar, job.start_step)])


class _Ticks:
    """A listener that moves a bar of several runs."""

    def __init__(self, bar: Any, step: int) -> None:
        self.bar, self.step = bar, step

    def on_step(self, event: StepEvent) -> None:
        self.bar.set_postfix_str(f"loss {event.losses['total']:.4g}", refresh=False)
        self.bar.update(event.step - self.step)
        self.step = event.step

    def on_preview(self, _event: object) -> None:
        pass

    def close(self) -> None:
        pass
