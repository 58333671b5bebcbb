"""The gap to the reference that a style closes, over the time and the steps of its training.

A run of train.py leaves its last checkpoints behind (`--keep`). Each is judged as `matched` judges a finished style, so
that two recipes can be compared at equal time and at equal steps. The step size falls to zero over a run: a checkpoint
from its midst is worse than the last one of a run half as long, so compare the ends of runs, and the shape of a curve.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from texturenet import checkpoint, images
from texturenet.files import write_whole
from texturenet.judging import choose_photos, open_judged
from texturenet.metrics import quartiles
from texturenet.reports import file_stem, markdown, number, publish
from texturenet.yardstick import References


@dataclass(frozen=True)
class Point:
    """A checkpoint of a run; the gap in its quartiles over the photos, shares of 1."""

    run: str
    step: int
    seconds: float
    gap: tuple[float, float, float]


def run(
    runs: Sequence[Path],
    photo_dir: Path,
    out_dir: Path,
    device: torch.device,
    texture_path: Path | None = None,
    count: int = 6,
    size: int = 256,
    iterations: int = 300,
    fresh: bool = False,
    say: Callable[[str], None] = print,
) -> list[Point]:
    """Judge the checkpoints that runs kept; table and plot go to `out_dir`/curve.

    runs        folders RUN_DIR/NAME of train.py
    size        longer side of the photos, px
    iterations  of L-BFGS from the photo, the reference
    Raises ValueError or OSError, one line. After KeyboardInterrupt the same call goes on where it was.
    """
    kept = {folder: _kept(folder) for folder in runs}
    names = [folder.name for folder in kept]
    called = {folder: folder.name if names.count(folder.name) == 1 else str(folder) for folder in kept}
    photos = [images.load_image(path, size) for path in choose_photos(photo_dir, count, size, say)]
    references = References(out_dir / "references", device, fresh)
    points: list[Point] = []
    work = sum(map(len, kept.values())) * len(photos) * iterations  # of the reference, which serves all of one loss
    with tqdm(total=work, unit="it", dynamic_ncols=True) as bar:
        for folder, checkpoints in kept.items():
            for path, step, seconds in checkpoints:
                style = open_judged(path, texture_path, device)
                gaps = []
                for photo in photos:
                    reference = references.get(style, photo, "photo", iterations, bar)
                    gaps.append(reference.gap_closed(style.terms(style.stylizer(photo), photo)["total"]))
                points.append(Point(called[folder], step, seconds, quartiles(gaps)))
    stem = out_dir / "curve" / file_stem(*called.values())
    plot(points, stem.with_name(f"{stem.name}.png"))
    text = (
        f"# Gap closed while training\n\nOf the way from the loss of the photo to that of {iterations} iterations of "
        f"L-BFGS, in %: median (quartiles) over {len(photos)} photos at {size} px. Minutes by the clock of the "
        "machine that trained.\n\n"
    )
    rows = []
    for point in points:
        lower, median, upper = (number(share, 1) for share in _percent(point))
        rows.append([point.run, str(point.step), number(point.seconds / 60, 1), f"{median} ({lower} .. {upper})"])
    table = markdown(["run", "step", "minutes", "gap closed, %"], rows)
    publish(stem, text + table, [_csv_row(point) for point in points], say)
    return points


def plot(points: Sequence[Point], path: Path) -> None:
    """The medians and quartiles over minutes, and over steps, a line for each run. Raises OSError."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    over_time, over_steps = figure.subplots(1, 2, sharey=True)
    for name in dict.fromkeys(point.run for point in points):
        own = [point for point in points if point.run == name]
        lower, median, upper = zip(*map(_percent, own), strict=True)
        for axes, places in ((over_time, [p.seconds / 60 for p in own]), (over_steps, [p.step for p in own])):
            (line,) = axes.plot(places, median, marker=".", label=name)
            axes.fill_between(places, lower, upper, color=line.get_color(), alpha=0.15, linewidth=0)
    over_time.set(xlabel="minutes of training", ylabel="gap closed, %")
    over_steps.set(xlabel="steps")
    over_steps.legend(loc="lower right")
    for axes in (over_time, over_steps):
        axes.grid(alpha=0.3)
    content = io.BytesIO()
    figure.savefig(content, dpi=120)
    write_whole(path, content.getbuffer())


def _kept(folder: Path) -> list[tuple[Path, int, float]]:
    """The numbered checkpoints of a run, their steps and seconds. Raises ValueError for none, and for one without."""
    kept = [path for path in (folder / "checkpoints").glob("*.pt") if path.stem.isdecimal()]
    paths = sorted(kept, key=lambda path: int(path.stem))
    if not paths:
        raise ValueError(
            f"{folder}: no checkpoints of a run in it; name a folder such as runs/mosaic, see train.py --keep"
        )
    found = []
    for path in paths:
        fields = checkpoint.load(path)
        if "seconds" not in fields.get("training", {}):
            raise ValueError(f"{path} does not tell how long it was trained; train it again")
        found.append((path, fields["step"], fields["training"]["seconds"]))
    return found


def _percent(point: Point) -> tuple[float, float, float]:
    lower, median, upper = point.gap
    return 100 * lower, 100 * median, 100 * upper


def _csv_row(point: Point) -> dict[str, float | str]:
    lower, median, upper = point.gap
    return {
        "run": point.run,
        "step": point.step,
        "seconds": point.seconds,
        "gap_closed": median,
        "lower_quartile": lower,
        "upper_quartile": upper,
    }
