"""What was chosen so far, in one small file, so that a restarted page goes on where it was."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from texturenet.files import safely, write_whole
from texturenet.gui.texture import Crop

FILE = "page/choices.json"  # below the run folder


@dataclass
class Desk:
    """The choices of the first two steps and of the page itself; `save` after a change.

    folder  where the file and an uploaded texture are kept
    """

    folder: Path
    data_dir: str = ""
    texture: str = ""  # path
    crop: Crop = field(default_factory=Crop)
    style_size: int = 256
    dark: bool | None = None  # None: as the browser has it

    @classmethod
    def at(cls, folder: Path) -> Desk:
        """As it was left; empty where nothing was, or the file is damaged."""
        try:
            kept: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
            desk = cls(folder, **(kept | {"crop": Crop(**kept["crop"])}))
        except (OSError, ValueError, TypeError, KeyError):
            return cls(folder)
        if not safely(Path(desk.texture).is_file):
            desk.texture = ""
        return desk

    def save(self) -> None:
        """A full disk is no reason to stop: what was chosen is then forgotten with the server."""
        fields = dataclasses.asdict(self)
        del fields["folder"]
        with contextlib.suppress(OSError):
            write_whole(self.folder / FILE, json.dumps(fields).encode())

    @property
    def uploads(self) -> Path:
        """Where an uploaded texture stays."""
        return self.folder / "page" / "textures"
