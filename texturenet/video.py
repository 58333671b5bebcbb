"""A clip through a style: frame by frame, steadily, to the end or to where the next run goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from itertools import count, groupby, takewhile
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from texturenet import files, torchfile
from texturenet.ahead import ahead
from texturenet.steady import Steady

# What can be written, by the suffix of the target. Read is also avi, mpg, mts, wmv, ...
SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".gif"})
SAME_PICTURE = 0.25 / 255  # mean difference; another number of threads makes less, another seed a hundred times more


def _announce(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


def stylize(
    paint: Callable[[Tensor], Tensor],
    source: Path,
    target: Path,
    *,
    size: int | None = None,
    quality: int = 95,
    steady: bool = True,
    side_by_side: bool = False,
    segment_seconds: float = 10.0,
    painter: str = "",
    say: Callable[[str], None] = _announce,
) -> None:
    """Paint a clip into `target`, whose suffix names the container.

    paint            one frame (1, 3, H, W) in [0, 1] to the same shape: a Stylizer with its seed and controls bound,
                     `lambda frame: style(frame, seed=3, strength=0.8)`. The seed being the same for each frame is what
                     keeps the noise still
    size             longer side of the result, px (the other is then even); None: as the source
    quality          1..100 as for pictures
    steady           statistics that follow the clip slowly (see steady.py), and sensor noise averaged before painting
    side_by_side     read the next frame while one is painted and the one before encoded, each in a thread of its own.
                     For painting on a device: on a CPU torch's threads are then in each other's way (a clip of 640x360
                     on two cores of a Xeon took 12.2 s without and 16.7 s with)
    segment_seconds  what a killed run loses at most
    painter          what tells this `paint` from others, since a black first frame or a small mask does not
    say              receives a line for each choice made for the user, and for where a run goes on
    Frames keep their times; sound is copied; memory does not depend on the length. A run that was killed leaves the
    folder `.TARGET.parts` beside the target, and the same call goes on from there: the same by the source's size and
    date, by these arguments, and by the first frame, painted again.
    Raises ValueError or OSError of one line: no PyAV, no video, cut or damaged, a suffix that can't be written.
    """
    try:
        from texturenet import clips, joining
    except ImportError as error:
        raise ValueError(f"{source}: videos need PyAV, and {error}: pip install av") from error

    container = joining.container_of(target)
    if os.path.realpath(target) == os.path.realpath(source):
        raise ValueError(f"{target} would replace the video itself; choose another name")
    clip = clips.survey(source, size)
    if joining.pixel_format(container, clip.height, clip.width) == "yuv444p":
        say(
            f"{target}: H.264 holds {clip.width}x{clip.height}, an odd size, in full colours (4:4:4) only, which "
            "browsers do not play; ask for another size, or end its name in .webm"
        )
    if clip.transparent:
        say(f"{target}: the transparency of {source} is left out, as of any video")
    length = max(1, round(segment_seconds * clip.rate))
    status = source.stat()
    made_of = [status.st_size, status.st_mtime_ns, clip.height, clip.width, quality, steady, length, container.picture]
    with contextlib.closing(clips.read(clip, denoise=steady)) as frames:
        first = paint(next(frames)[1])
    lock = target.with_name(f".{target.name}.lock")
    with files.claimed(lock, f"{target}: another run is painting it; wait for that one, or choose another -o"):
        parts = _Parts(target.with_name(f".{target.name}.parts"), [*made_of, painter], first)
        steadied = Steady(paint)
        start = min(parts.done * length, clip.frames)
        if parts.done:
            say(f"{target}: goes on after {start} of {clip.frames} frames")
            steadied.restore(torchfile.read(parts.state(parts.done - 1)))

        def painted(
            group: Iterator[tuple[int, tuple[int, Tensor]]], state_path: Path
        ) -> Generator[tuple[int, Tensor], None, None]:
            for _, (pts, frame) in group:
                yield pts, (steadied(frame, float(pts * clip.time_base)) if steady else paint(frame))
                bar.update()
            torchfile.write(state_path, steadied.state())  # before the segment counts as done

        try:
            with (
                tqdm(total=clip.frames, initial=start, desc=source.name, unit="frame", dynamic_ncols=True) as bar,
                contextlib.closing(clips.read(clip, denoise=steady)) as frames,
                contextlib.closing(ahead(frames, "reader") if side_by_side else frames) as waiting,
            ):
                for number, group in groupby(enumerate(waiting), lambda item: item[0] // length):
                    if number >= parts.done:
                        paintings = painted(group, parts.state(number))
                        with contextlib.closing(ahead(paintings, "painter") if side_by_side else paintings) as coming:
                            joining.write_segment(parts.segment(number), container, clip, coming, quality)
        except KeyboardInterrupt:
            kept = min(length * len(parts.segments()), clip.frames)
            say(f"{target}: {kept} of {clip.frames} frames are kept, and the same command goes on after them")
            raise
        joining.join(parts.segments(), container, clip, target, say)
        parts.remove()


class _Parts:
    """The folder with the segments of a clip that are done. One that was made of anything else is emptied.

    made_of  plain numbers and strings
    first    the clip's first frame, painted
    """

    def __init__(self, folder: Path, made_of: list[Any], first: Tensor) -> None:
        self._folder = folder
        job = {"made_of": made_of, "first": first.cpu()}
        if not _same(folder / "job.pt", job):
            self.remove()
            torchfile.write(folder / "job.pt", job)
        self.done = len(self.segments())

    def segment(self, number: int) -> Path:
        return self._folder / f"{number:06}.nut"

    def state(self, number: int) -> Path:
        """Of `Steady` after that segment."""
        return self._folder / f"{number:06}.pt"

    def segments(self) -> list[Path]:
        """Those done, from the first without a gap."""
        return list(takewhile(Path.exists, map(self.segment, count())))

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _same(path: Path, job: dict[str, Any]) -> bool:
    """Whether the file holds this job."""
    try:
        held = torchfile.read(path)
    except (OSError, ValueError):  # none, or one that a crash cut short
        return False
    if held["made_of"] != job["made_of"]:
        return False
    return float((held["first"] - job["first"]).abs().mean()) < SAME_PICTURE
