"""One pass of a trained generator against the iterative reference, on the same photo under the same loss.

Three losses of a photo are compared: L0 of the photo itself, L of the generator's picture, and L* of the best that
L-BFGS (Gatys et al. 2016) finds in so many iterations from the photo. Gap closed is (L0 - L) / (L0 - L*); matched
iterations are how many the reference needs for L, from the photo and from white noise. Johnson et al. 2016 (section
4.1) report 50 to 100 under their loss.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from texturenet import checkpoint, images
from texturenet.artefacts import artefacts, ratio
from texturenet.devices import describe
from texturenet.judging import SAMPLE, choose_photos, labels, loss_terms, open_several, sample_loss
from texturenet.losses import PerceptualLoss
from texturenet.metrics import diversity, matched_iterations, quartiles
from texturenet.reports import file_stem, markdown, number, publish, titled_sheet
from texturenet.yardstick import References, Trajectory

SHEET_PHOTOS = 6
TIMED_PASSES = 3
GROUPS = ("total", "style", "content", "tv")
# Artefact -> its title in the report, and the unit there. None: signed, so that a ratio would say nothing.
ARTEFACTS: dict[str, tuple[str, float | None]] = {
    "nyquist": ("2 px grid, ‰", 1000),
    "half_nyquist": ("4 px grid, ‰", 1000),
    "grid_lock": ("edges in cells of 8 px, %", 100),
    "border_gradient": ("border gradient", 1),
    "border_colour": ("border colour", 1),
    "drift_lightness": ("lighter", None),
    "drift_red": ("redder", None),
    "drift_yellow": ("yellower", None),
    "clipped": ("clipped, %", 100),
}


@dataclass(frozen=True)
class Measure:
    """One picture of one generator against the reference."""

    style: str
    photo: str
    size: int
    ours: dict[str, float]  # terms of the loss of one pass
    from_photo: Trajectory
    from_noise: Trajectory | None
    diversity: float  # between this picture and that of the next seed, see `metrics.diversity`
    pass_seconds: float
    artefacts: dict[str, float]  # of one pass, see artefacts.py
    reference_artefacts: dict[str, float]  # of the last picture of the reference from the photo

    @property
    def gap(self) -> float:
        """Share closed of the way from the photo's loss to the reference's best, see `metrics.gap_closed`."""
        return self.from_photo.gap_closed(self.ours["total"])

    @property
    def matched_photo(self) -> float:
        return matched_iterations(self.from_photo.totals, self.ours["total"])

    @property
    def matched_noise(self) -> float | None:
        return None if self.from_noise is None else matched_iterations(self.from_noise.totals, self.ours["total"])


def measure(
    paint: Callable[[Tensor, int], Tensor],
    loss_function: PerceptualLoss,
    photo: Tensor,
    from_photo: Trajectory,
    from_noise: Trajectory | None,
    style: str = "",
    name: str = "",
    seed: int = 0,
) -> tuple[Measure, Tensor]:
    """What `paint`, a function from photo and seed to picture, both (1, 3, H, W), reaches; and its picture.

    The time is the median of a few passes after the first, which also pays for warming up.
    """
    picture = paint(photo, seed)
    times, others = [], []
    for another in range(1, TIMED_PASSES + 1):  # seeds whose noise is not at hand
        begin = time.perf_counter()
        others.append(paint(photo, seed + another))
        times.append(time.perf_counter() - begin)
    ours = loss_terms(loss_function, picture, photo)
    size = max(photo.shape[-2:])
    reference = from_photo.pictures[from_photo.iterations]
    found = Measure(
        style,
        name,
        size,
        ours,
        from_photo,
        from_noise,
        diversity([picture, others[0]]),
        statistics.median(times),
        artefacts(picture, photo),
        artefacts(reference, photo),
    )
    return found, picture


def run(
    checkpoints: Sequence[Path],
    photo_dir: Path,
    out_dir: Path,
    device: torch.device,
    texture_path: Path | None = None,
    count: int = 20,
    sizes: Sequence[int] = (256,),
    iterations: int = 300,
    noise_iterations: int | None = None,
    seed: int = 0,
    fresh: bool = False,
    record: bool = False,
    resumable: bool = True,
    refine: int = 0,
    say: Callable[[str], None] = print,
) -> list[Measure]:
    """Judge checkpoints; tables and sheets go to `out_dir`/matched, runs of the reference to `out_dir`/references.

    count, sizes      of photos; the longer side in px
    iterations        of L-BFGS from the photo; from noise `noise_iterations`: None as many, 0 none at all
    record            write the figures of the first size into the checkpoints
    resumable         whether these keep what only resuming needs
    refine            iterations that go on from each pass, as `stylize.py --refine`; they are judged in its place
    Raises ValueError or OSError, one line. After KeyboardInterrupt the same call goes on where it was.
    """
    if record and refine:
        raise ValueError("--record keeps the figures of one pass; leave out --refine")
    judged = open_several(checkpoints, texture_path, device, refine=refine)
    names = labels(judged, checkpoints)
    photos = choose_photos(photo_dir, count, min(sizes), say)
    references = References(out_dir / "references", device, fresh)
    noise_iterations = iterations if noise_iterations is None else noise_iterations
    measures: list[Measure] = []
    sheets: dict[tuple[str, int], list[list[tuple[str, Tensor]]]] = {}
    # A reference that serves several checkpoints is counted for each, and passes at once the second time.
    work = len(sizes) * len(photos) * len(judged) * (iterations + noise_iterations)
    with tqdm(total=work, unit="it", dynamic_ncols=True) as bar:
        for size in sizes:
            for path in photos:
                photo = images.load_image(path, size)
                for style, name in zip(judged, names, strict=True):
                    from_photo = references.get(style, photo, "photo", iterations, bar)
                    from_noise = (
                        references.get(style, photo, "noise", noise_iterations, bar) if noise_iterations else None
                    )
                    result, picture = measure(
                        style.stylizer,
                        style.loss_function,
                        photo,
                        from_photo,
                        from_noise,
                        name,
                        path.name,
                        seed,
                    )
                    measures.append(result)
                    sheet = sheets.setdefault((name, size), [])
                    if len(sheet) < SHEET_PHOTOS:
                        sheet.append(_sheet_row(result, photo, style.texture, picture))
    folder = out_dir / "matched"
    for (name, size), rows in sheets.items():
        images.save_image(titled_sheet(rows), folder / f"{file_stem(name)}-{size}.jpg")
    publish(folder / file_stem(*names), report(measures, device, refine), [_csv_row(item) for item in measures], say)
    if record:
        for path, name, style in zip(checkpoints, names, judged, strict=True):
            figures = _quality([item for item in measures if item.style == name])
            # Where there are no such photos it is not a checkout of the project, whose tests alone ask for it.
            held = round(sample_loss(style), 4) if SAMPLE.is_dir() else None
            checkpoint.record(path, figures, held, resumable)
            say(f"{path}: recorded")
    return measures


def _quality(measures: Sequence[Measure]) -> dict[str, float]:
    """Medians over the photos of the first size."""
    size = measures[0].size
    items = [item for item in measures if item.size == size]
    figures: dict[str, float] = {
        "gap_closed": round(quartiles([item.gap for item in items])[1], 3),
        "matched_from_photo": round(quartiles([item.matched_photo for item in items])[1], 1),
    }
    from_noise = [item.matched_noise for item in items if item.matched_noise is not None]
    if from_noise:
        figures["matched_from_noise"] = round(quartiles(from_noise)[1], 1)
    figures["diversity"] = round(quartiles([item.diversity for item in items])[1], 4)
    judged = {"judged_photos": len(items), "judged_px": size, "reference_iterations": items[0].from_photo.iterations}
    return figures | judged


def _sheet_row(item: Measure, photo: Tensor, texture: Tensor, picture: Tensor) -> list[tuple[str, Tensor]]:
    matched = number(item.matched_photo, 0, item.from_photo.iterations)
    ours = f"one pass: {100 * item.gap:.0f} %, {matched} it."
    reference = [(f"Gatys {i}", image) for i, image in sorted(item.from_photo.pictures.items())]
    return [(Path(item.photo).stem, photo), ("texture", texture), (ours, picture), *reference]


def _csv_row(item: Measure) -> dict[str, Any]:
    row: dict[str, Any] = {
        "style": item.style,
        "size": item.size,
        "photo": item.photo,
        "gap_closed": item.gap,
        "matched_from_photo": item.matched_photo,
        "matched_from_noise": item.matched_noise,
        "diversity": item.diversity,
        "pass_seconds": item.pass_seconds,
        "reference_seconds": item.from_photo.seconds,
        "reference_iterations": item.from_photo.iterations,
    }
    for group, terms in (("photo", item.from_photo.first), ("pass", item.ours), ("reference", item.from_photo.best)):
        row |= {f"{group}_{term}": value for term, value in terms.items()}
    for group, found in (("pass", item.artefacts), ("reference", item.reference_artefacts)):
        row |= {f"{group}_{name}": value for name, value in found.items()}
    return row


def report(measures: Sequence[Measure], device: torch.device, refine: int = 0) -> str:
    """The tables in Markdown: figures per style and size, and the terms of the loss."""
    groups: dict[tuple[str, int], list[Measure]] = {}
    for item in measures:
        groups.setdefault((item.style, item.size), []).append(item)
    longest = max(item.from_photo.iterations for item in measures)
    figures = [
        [
            style,
            str(size),
            str(len(items)),
            _spread([100 * item.gap for item in items], 1),
            _spread([item.matched_photo for item in items], 1, longest),
            _spread_noise(items),
            number(statistics.median(item.pass_seconds for item in items), 3),
            *_reference_times(items, describe(device)),
        ]
        for (style, size), items in groups.items()
    ]
    terms = [
        [style, str(size), term, *(_median_term(items, which, term) for which in ("photo", "pass", "reference"))]
        for (style, size), items in groups.items()
        for term in [*GROUPS, *(name for name in items[0].ours if "/" in name)]
    ]
    faults = [[style, str(size), *map(partial(_fault, items), ARTEFACTS)] for (style, size), items in groups.items()]
    heads = ["style", "px", "photos", "gap closed, %", "matched from photo", "matched from noise"]
    times = ["pass, s", f"Gatys {longest} it., s", "times as fast"]
    return (
        f"# One pass{f' and {refine} iterations from it' if refine else ''} against {longest} iterations of L-BFGS\n\n"
        "Median (quartiles) over the photos. Gap closed: (photo - pass) / (photo - reference) of the total loss. "
        f"Matched: L-BFGS iterations that reach the loss of the pass. Times on {describe(device)}.\n\n"
        + markdown([*heads, *times], figures)
        + "\n## Artefacts\n\n"
        "Medians over the photos: of one pass / of the reference's last iterate, and in brackets how many times the "
        "reference's. Energy of grids of 2 and 4 px (white noise 12 and 31), how unevenly edges "
        "stand in cells of 8 px, border of 8 px against the rest "
        "(gradient: a ratio; colour: Delta E), drift from the photo in CIELAB, pixels at 0 or 255.\n\n"
        + markdown(["style", "px", *(title for title, _ in ARTEFACTS.values())], faults)
        + "\n## Terms of the loss\n\n"
        "Medians: of the photo itself, of one pass, of the best iterate of the reference. Totals as weighted in the "
        "loss, single layers unweighted.\n\n" + markdown(["style", "px", "term", "photo", "pass", "reference"], terms)
    )


def _spread(values: Sequence[float], digits: int, beyond: float | None = None) -> str:
    lower, median, upper = (number(value, digits, beyond) for value in quartiles(values))
    return f"{median} ({lower} .. {upper})"


def _reference_times(items: Sequence[Measure], device: str) -> tuple[str, str]:
    """Its seconds, and how many times a pass's; nothing where a kept run is of another machine."""
    if any(item.from_photo.device != device for item in items):
        return "-", "-"
    seconds = [item.from_photo.seconds for item in items]
    times = [item.from_photo.seconds / item.pass_seconds for item in items]
    return number(statistics.median(seconds), 1), number(statistics.median(times), 0)


def _spread_noise(items: Sequence[Measure]) -> str:
    runs = [item.from_noise for item in items if item.from_noise is not None]
    values = [item.matched_noise for item in items if item.matched_noise is not None]
    return _spread(values, 1, max(run.iterations for run in runs)) if runs else "-"


def _fault(items: Sequence[Measure], name: str) -> str:
    ours = [item.artefacts[name] for item in items]
    reference = [item.reference_artefacts[name] for item in items]
    unit = ARTEFACTS[name][1]
    if unit is None:
        return f"{statistics.median(ours):+.1f} / {statistics.median(reference):+.1f}"
    times = statistics.median(map(ratio, ours, reference))
    return f"{unit * statistics.median(ours):.3g} / {unit * statistics.median(reference):.3g} ({number(times, 2)}x)"


def _median_term(items: Sequence[Measure], which: str, term: str) -> str:
    sources = {
        "photo": lambda m: m.from_photo.first,
        "pass": lambda m: m.ours,
        "reference": lambda m: m.from_photo.best,
    }
    return f"{statistics.median(sources[which](item)[term] for item in items):.4g}"
