"""What an evaluation leaves behind: rows that outlive an interruption, tables, sheets with titled pictures."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from texturenet import files, images

TILE = 256  # longer side of the pictures of a sheet, px
KEY_DIGITS = 16
_LONGEST_STEM = 120  # letters; a file's name may have 255 bytes


def fingerprint(*parts: Any) -> str:
    """A short hash of numbers, strings, lists, dicts and tensors: equal for equal parts, and for nothing else."""
    digest = hashlib.blake2b()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{tuple(part.shape)} {part.dtype}".encode())
            digest.update(part.detach().cpu().contiguous().numpy().tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()[:KEY_DIGITS]


class Rows:
    """Finished work in a JSONL file, one row a key; of two rows with one key the later counts.

    path   the file; made with the first row
    fresh  whether rows of earlier runs are left unused; they stay in the file
    """

    def __init__(self, path: Path, fresh: bool = False) -> None:
        self.path = path
        self._rows: dict[str, dict[str, Any]] = {}
        if not fresh and path.exists():
            for line in path.read_bytes().splitlines():
                try:
                    row = json.loads(line)
                    self._rows[row["key"]] = row
                except (ValueError, TypeError, KeyError):  # cut by a crash or a full disk: that work is done again
                    continue

    def get(self, key: str) -> dict[str, Any] | None:
        """The row of a key, if that work is finished."""
        return self._rows.get(key)

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Keep a row, on the disk when this returns. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": key, **row})
        with self.path.open("ab+") as file:
            if file.tell() and not self._ends_line(file):
                line = "\n" + line  # after a line that was cut
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        self._rows[key] = {"key": key, **row}

    @staticmethod
    def _ends_line(file: io.BufferedRandom) -> bool:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


# ------------------------------------------------------------------------------------------------------------- tables


def number(value: float | None, digits: int = 3, beyond: float | None = None) -> str:
    """A figure with `digits` after the point; "-" for none or NaN; infinite is "inf", or "> beyond" where given."""
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if beyond is None else f"> {beyond:g}"
    return f"{value:.{digits}f}"


def markdown(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that reads well as plain text too."""
    cells = [list(headers), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |\n"

    return line(cells[0]) + line(["-" * width for width in widths]) + "".join(map(line, cells[1:]))


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Rows as a table; the columns are the fields of all of them, in the order of their first use. Raises OSError."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_whole(path, os.fsencode(text.getvalue()))


def publish(stem: Path, text: str, rows: Sequence[dict[str, Any]], say: Callable[[str], None]) -> None:
    """The report `text` as STEM.md, its rows as STEM.csv; `say` gets the report and where it is. Raises OSError."""
    write_csv(stem.with_name(f"{stem.name}.csv"), rows)
    target = stem.with_name(f"{stem.name}.md")
    files.write_whole(target, os.fsencode(text))  # names of files may be no UTF-8
    say(f"{text}\nin {stem.parent}: {target.name}, {stem.name}.csv and sheets")


def file_stem(*names: str) -> str:
    """A file name out of names of styles, which may be paths."""
    stem = "+".join(name.strip("./").replace("/", "_") for name in names)
    return stem if len(stem) <= _LONGEST_STEM else f"{stem[:_LONGEST_STEM]}-{fingerprint(list(names))[:8]}"


# ------------------------------------------------------------------------------------------------------------- sheets


def fit(image: Tensor, height: int, width: int) -> Tensor:
    """(1, 3, H, W) scaled into height x width px with its aspect kept, centred on white."""
    h, w = image.shape[-2:]
    scale = min(height / h, width / w)
    small = images.resize(image.detach().float().cpu(), (max(1, round(h * scale)), max(1, round(w * scale))))
    h, w = small.shape[-2:]
    page = torch.ones(1, 3, height, width)
    page[..., (height - h) // 2 : (height - h) // 2 + h, (width - w) // 2 : (width - w) // 2 + w] = small
    return page


def titled_sheet(rows: Sequence[Sequence[tuple[str, Tensor]]], width: int = TILE) -> Tensor:
    """Contact sheet (1, 3, H, W) in which each picture has a title of its own.

    rows  of (title, picture (1, 3, H, W) in [0, 1]); the first picture of a row sets the height of the others
    All tiles are `width` px wide, smaller pictures are enlarged: a title needs that much.
    """
    bands = []
    for row in rows:
        h, w = row[0][1].shape[-2:]
        height = max(1, round(h * width / max(h, w)))
        tiles = [fit(image, height, width) for _, image in row]
        bands.append([images.sheet([tiles], [title for title, _ in row])])
    return images.sheet(bands)
