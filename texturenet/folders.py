"""Many files through one painter: where each result goes, and how far a run gets whatever one file does."""

from __future__ import annotations

import glob
import os
import string
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from texturenet import codec, files, program, video

OUTPUT_DIR = Path("stylized")
NAME = "{stem}-{style}{suffix}"
FIELDS = ("stem", "style", "suffix")  # of a picture's file, but for the style
_READ_ALONE = {".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".3gp", ".flv", ".wmv"}
VIDEO_SUFFIXES = (video.SUFFIXES | _READ_ALONE) - files.SUFFIXES  # an animated picture is one picture
SUFFIXES = files.SUFFIXES | VIDEO_SUFFIXES
WRITABLE = codec.SAVE_FORMATS.keys() | video.SUFFIXES
_NAMED = 3  # failures that the summary repeats

Photo = TypeVar("Photo")
Painting = TypeVar("Painting")


@dataclass(frozen=True)
class Work:
    """One file to paint and where it goes."""

    source: Path
    target: Path
    trouble: str | None = None  # why it can't be read, where that is known before


def plan(
    pictures: Sequence[Path],
    output: Path | None,
    style: str,
    name: str | None = None,
    others: Sequence[Path] = (),
) -> list[Work]:
    """Where each result goes.

    pictures  files, folders (searched, their tree kept below the output folder) and patterns such as `trip/**/*.jpg`
              (for shells that expand none; the tree below the first wildcard is kept)
    output    a file (one picture), a folder, or None: `stylized/`
    name      of a result, with `FIELDS` in braces; None: `NAME`, as in amber-mosaic.jpg
    others    what else is read, a mask or a texture, or a folder of them
    A suffix that can't be written becomes .png or .mp4. Results of an earlier run are no sources: what lies in an
    output folder below a searched one, or in one called `stylized`, is called as a result will be, or was found beside
    one as its losses are. A folder below a searched one that can't be listed is a source with that trouble. Raises
    ValueError for a folder or pattern without a picture, a name that is none, one output file for several pictures, or
    where a result, or what is kept beside it, would replace what is read or another result; of a.avif and a.ppm,
    which differ in nothing else, the second has that trouble.
    """
    single_file = output is not None and is_file_name(output)
    if single_file and name is not None:
        raise ValueError(f"-o {output} is the result's whole name; leave --name out, or give -o a folder")
    name = name or NAME
    check_name(name)
    folder = output if output is not None and not single_file else OUTPUT_DIR
    work = []
    for source, place, trouble in _found(pictures, folder):
        otherwise = ".mp4" if place.suffix.lower() in VIDEO_SUFFIXES else ".png"
        suffix = place.suffix if place.suffix.lower() in WRITABLE else otherwise
        target = folder / place.parent / name.format(stem=place.stem, style=style, suffix=suffix)
        if target.suffix.lower() not in WRITABLE:
            raise ValueError(f"--name {name} ends in no suffix that can be written; end it with {{suffix}} or .png")
        work.append(Work(source, target, trouble))
    if single_file:
        assert output is not None
        if len(work) != 1:
            raise ValueError(f"-o {output} is one file, but there are {len(work)} pictures; name a folder")
        work = [Work(work[0].source, output, work[0].trouble)]
    results: dict[Path, Path] = {}
    for index, item in enumerate(work):
        if (other := results.setdefault(_real(item.target), item.source)) != item.source:
            if item.source.with_suffix("") != other.with_suffix(""):
                raise ValueError(
                    f"{other} and {item.source} would both become {item.target}; paint them into two folders"
                )
            also = f"{item.source} would become {item.target}, as {other} does; paint it by itself, with another -o"
            work[index] = Work(item.source, item.target, item.trouble or also)
        if _real(item.target) == _real(item.source):
            raise ValueError(f"{item.target} would replace the picture itself; choose another -o or --name")
    asked = {_real(picture) for picture in pictures}
    read = {_real(path) for path in _each(others)}
    for item in work:
        if _real(item.target) in read:
            raise ValueError(f"{item.target} is read too, and would be replaced; choose another -o or --name")
        if _real(plot := files.losses_beside(item.target)) in read | asked:
            raise ValueError(f"{plot} is read, and kept beside {item.target}; choose another -o or --name")
    named = set() if "{style}" in name else asked  # no results of ours, these
    for item in work:
        if (first := results.get(_real(item.source))) and _real(item.source) in named:
            raise ValueError(f"the painting of {first} would replace {item.source}; choose another -o or --name")
    kinds = (files.stopped_beside, files.losses_beside, files.steps_beside)
    beside = {kind(target) for target in results for kind in kinds}

    def is_result(source: Path) -> bool:
        return source in results or (source not in asked and not beside.isdisjoint((source, source.parent)))

    return [item for item in dict.fromkeys(work) if not is_result(_real(item.source))]


def _each(paths: Sequence[Path]) -> Iterator[Path]:
    """Files, and the pictures of folders."""
    for path in paths:
        yield from files.find_images(path) if path.is_dir() else [path]


def is_file_name(output: Path) -> bool:
    """Whether an output names a file, not a folder. Raises ValueError for a format that can't be written."""
    suffix = output.suffix.lower()
    if output.is_dir():
        return False
    if suffix in SUFFIXES - WRITABLE:
        raise ValueError(f"-o {output}: that format can't be written; end it with one of {', '.join(sorted(WRITABLE))}")
    return suffix in WRITABLE


def _real(path: Path) -> Path:
    """Without its links. A link that leads to itself stays: Path.resolve raises RuntimeError for it before 3.13."""
    return Path(os.path.realpath(path))


def check_name(name: str) -> None:
    """Raises ValueError for a template with anything but `FIELDS` in its braces, and for one that leads elsewhere."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"--name {name} leads out of the output folder; name that one with -o")
    choices = ", ".join(f"{{{field}}}" for field in FIELDS)
    try:
        fields = {field for _, field, *_ in string.Formatter().parse(name) if field is not None}
        if unknown := sorted(fields - set(FIELDS)):
            raise ValueError(f"unknown field {{{unknown[0]}}}")
        name.format(**dict.fromkeys(FIELDS, "x"))  # a letter: a field within a field's format is then told
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"--name {name}: {error}; choose from {choices}") from None


@dataclass(frozen=True)
class Steps(Generic[Photo, Painting]):
    """How a file is painted, in three steps that may be at three files at a time, each in a thread of its own.

    read   (source, target) -> what is painted; its ValueError or OSError: not ahead of its turn, or not at all
    paint  what was read -> the painting; its ValueError or OSError is the file's
    write  (painting, target) -> what to print; likewise
    A KeyboardInterrupt of the last two says that this file was stopped half-way, and ends the run.
    """

    read: Callable[[Path, Path], Photo]
    paint: Callable[[Photo], Painting]
    write: Callable[[Painting, Path], str]


def paint_all(
    work: Sequence[Work],
    paint: Callable[[Path, Path], str],
    skip_existing: bool = False,
    steps: Steps[Any, Any] | None = None,
) -> int:
    """Paint one file after the other, past those that fail -> exit code: 0, 2 if any failed, 130 if stopped.

    paint  (source, target) -> what to print; its ValueError or OSError is printed and counted
    steps  the same in steps: of several files the next is then read and the one before written meanwhile; None: it
           has none
    What is printed comes in the order of `work`. For more than one file a bar with the time left, and a summary at the
    end, go to stderr.
    """
    there = {item for item in work if skip_existing and not item.trouble and files.safely(item.target.exists)}
    waiting = [item for item in work if item not in there]
    run = _Run(len(waiting))
    stopped = False
    try:
        if steps is not None and len(waiting) > 1:
            _side_by_side(waiting, paint, steps, run)
        else:
            for item in waiting:
                run.begin(item, paint)
    except KeyboardInterrupt:
        stopped = True
    finally:
        run.bar.close()
    if len(work) > 1 or stopped or len(waiting) < len(work):
        print(_summary(len(work), run.painted, len(work) - len(waiting), run.failed, stopped), file=sys.stderr)
    return program.STOPPED if stopped else program.FAILED if run.failed else 0


def _side_by_side(
    work: Sequence[Work], paint: Callable[[Path, Path], str], steps: Steps[Photo, Painting], run: _Run
) -> None:
    """Paint here; read the next file and write the one before in a thread each.

    So at most one photo waits and one painting. A file that can't be read ahead, because it is large or broken, goes
    through `paint` in its turn, with nothing beside it; if it is broken, that tells the error. On Ctrl-C a painting
    that is finished is still written.
    """
    with ThreadPoolExecutor(1, "reader") as reader, ThreadPoolExecutor(1, "writer") as writer:

        def hand_on(item: Work, photo: Photo) -> Future[None]:
            """Paint, and leave the rest to the writer; no painting outlives its writing here."""
            try:
                painting = steps.paint(photo)
            except (ValueError, OSError) as error:
                return writer.submit(run.fail, item, str(error))
            return writer.submit(run.settle, item, steps.write, painting)

        reads = (reader.submit(steps.read, item.source, item.target) for item in work)  # each when it is asked for
        ahead, writing = next(reads), writer.submit(lambda: None)
        for item in work:
            if item.trouble is not None or isinstance(ahead.exception(), ValueError | OSError):
                writing.result()
                run.begin(item, paint)
                ahead = next(reads, ahead)
            else:
                photo, ahead = ahead.result(), next(reads, ahead)
                before, writing = writing, hand_on(item, photo)
                del photo  # the next file may be one that has nothing beside it
                before.result()
        writing.result()


class _Run:
    """What became of each file, told as it happens and counted."""

    def __init__(self, files: int) -> None:
        self.bar = tqdm(total=files, unit="picture", disable=files <= 1)
        self.painted, self.failed = 0, list[Path]()

    def begin(self, item: Work, paint: Callable[[Path, Path], str]) -> None:
        """Paint a file, unless it is known that it can't be read."""
        if item.trouble is None:
            self.settle(item, paint, item.source)
        else:
            self.fail(item, item.trouble)

    def settle(self, item: Work, finish: Callable[[Any, Path], str], subject: Any) -> None:
        """Finish a file: subject (its source, or its painting), target -> what to print."""
        try:
            told = finish(subject, item.target)
        except (ValueError, OSError) as error:
            self.fail(item, str(error))
            return
        self.painted += 1
        self.bar.update()
        tqdm.write(told, file=sys.stdout)
        sys.stdout.flush()

    def fail(self, item: Work, error: str) -> None:
        self.failed.append(item.source)
        if not any(str(path) in error for path in (item.source, item.target)):
            error = f"{item.source}: {error}"
        tqdm.write(f"stylize.py: error: {error}", file=sys.stderr)
        self.bar.update()


def _summary(total: int, painted: int, skipped: int, failed: Sequence[Path], stopped: bool) -> str:
    kept = " and kept" if stopped and painted else ""
    parts = [f"{'stopped: ' if stopped else ''}{painted} of {total} pictures painted{kept}"]
    if skipped:
        parts.append(f"{skipped} were there already")
    if failed:
        names = ", ".join(map(str, failed[:_NAMED])) + (", ..." if len(failed) > _NAMED else "")
        parts.append(f"{len(failed)} failed: {names}")
    return ", ".join(parts)


def _found(pictures: Sequence[Path], output: Path) -> Iterator[tuple[Path, Path, str | None]]:
    """Each file, its place below the folder or pattern that it was found by, and the trouble of what can't be listed.

    None in an output folder below it.
    """
    for picture in pictures:
        troubles: dict[Path, str] = {}
        if files.safely(picture.is_dir):
            root, found = picture, files.find_images(picture, SUFFIXES, troubles.__setitem__)
        elif glob.has_magic(str(picture)) and not picture.exists():
            root = next(parent for parent in picture.parents if not glob.has_magic(str(parent)))
            try:
                found = list(_matches(root, str(picture.relative_to(root))))
            except ValueError as error:
                raise ValueError(f"{picture}: {error}") from None
        else:
            yield picture, Path(picture.name), None
            continue
        found = [path for path in found if OUTPUT_DIR.name not in path.relative_to(root).parts[:-1]]
        if _real(root) in _real(output).parents:
            found = [path for path in found if _real(output) not in _real(path).parents]
        if not found and not troubles:
            raise ValueError(f"no pictures in {picture}" if root == picture else f"no picture matches {picture}")
        for path in (*found, *troubles):
            yield path, path.relative_to(root), troubles.get(path)


def _matches(root: Path, pattern: str) -> Iterator[Path]:
    """Pictures and videos below `root` that a pattern names, and those in folders that it names."""
    for path in sorted(root.glob(pattern)):
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            yield path
        elif path.is_dir() and "**" not in pattern:
            yield from files.find_images(path, SUFFIXES)
