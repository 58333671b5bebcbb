"""A folder of photos, looked at while its path is typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from texturenet.files import ImageError
from texturenet.gui import uploads

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
THUMBNAILS = 6


@dataclass(frozen=True)
class Finding:
    """What a folder holds. `trouble` is a sentence where it can't be trained on, else empty."""

    folder: Path
    trouble: str = ""
    kind: str = ""  # "COCO dataset" or "folder of pictures"
    count: int = 0
    skipped: int = 0
    why_skipped: str = ""  # of the first
    thumbnails: Sequence[str] = ()  # data URLs

    @property
    def sentence(self) -> str:
        if self.trouble:
            return self.trouble
        left_out = f", {self.skipped:,} skipped" if self.skipped else ", none skipped"
        return f"{self.kind}: {self.count:,} {'picture' if self.count == 1 else 'pictures'}{left_out}"


def look(text: str) -> Finding:
    """What a typed path leads to. Never raises for what is on the disk: the sentence is for whoever types."""
    from texturenet import data  # brings torch, and the page is there before it

    folder = Path(text.strip())
    try:
        folder = folder.expanduser()
        index = data.find_photos(folder)
    except (ValueError, OSError, RuntimeError) as error:  # RuntimeError: ~ of a user that there isn't
        return Finding(folder, str(error))
    coco = any((folder / "annotations").glob("instances_*train*.json"))
    return Finding(
        folder,
        kind="COCO dataset" if coco else "Folder of pictures",
        count=len(index.paths),
        skipped=len(index.skipped),
        why_skipped=index.skipped[0][1] if index.skipped else "",
        thumbnails=_thumbnails(index.paths),
    )


def _thumbnails(paths: Sequence[Path]) -> list[str]:
    """Of photos spread over all of them; one that is broken gives way to the next."""
    stride = max(1, len(paths) // THUMBNAILS)
    found: list[str] = []
    for path in dict.fromkeys([*paths[::stride], *paths[1::stride]]):
        if len(found) == THUMBNAILS:
            break
        try:
            found.append(uploads.data_url(uploads.open_picture(path, uploads.THUMBNAIL)))
        except ImageError:
            continue
    return found
