"""What a user can ask of a trained style, once; the flags of stylize.py derive from it.

Nothing here imports torch, so that `--help` and a wrong value answer at once. What each does is in blending.py and
painting.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from texturenet.config import MOST_NOISE, flag


@dataclass(frozen=True)
class Look:
    """How a photo is painted, where, and how it is shown. Raises ValueError for values that contradict each other."""

    noise_factor: float | None = flag(None, "look", "strength of the noise (default: as trained)", least=0)
    strength: float = flag(1.0, "look", "from 0, the photo, to 1, the painting")
    preserve_color: str | None = flag(
        None,
        "look",
        "luma: the photo's chroma under the painting's luma; hist: the painting in the photo's palette",
        ("luma", "hist"),
    )
    work_size: int | None = flag(
        None,
        "look",
        "longer side that is painted at, px: smaller for coarser strokes; the result keeps its size, and the photo's "
        "detail is brought back",
        least=16,
    )

    refine: int = flag(
        0,
        "look",
        "iterations of the reference that go on from the painting, nearer to the texture and to the photo: 10 take as "
        "many seconds for 512 px on a CPU; 0: none",
        least=0,
    )

    mask: Path | None = flag(
        None,
        "where",
        "grey picture, white where to paint, black for the photo; or a folder with one of each photo's name",
    )
    segments: Path | None = flag(None, "where", "COCO annotation json: paint its segments of --segments_category")
    segments_category: str | None = flag(None, "where", "names, a comma between: person or person,dog")
    mask_invert: bool = flag(False, "where", "paint outside of the mask or segments instead")

    grid: bool = flag(False, "sheets", "one sheet of all styles named with --model, else of all that ship")
    compare: bool = flag(False, "sheets", "photo and painting side by side")

    @property
    def masked(self) -> bool:
        return self.mask is not None or self.segments is not None

    def __post_init__(self) -> None:
        if self.noise_factor is not None and not self.noise_factor < MOST_NOISE:
            raise ValueError(f"--noise_factor {self.noise_factor:g}: give 0 to 2, the range of the styles that ship")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"--strength {self.strength:g} is outside 0 (the photo) to 1 (the painting)")
        if self.mask and self.segments:
            raise ValueError("--mask and --segments both say where to paint; give one of them")
        if (self.segments is None) != (self.segments_category is None):
            raise ValueError("--segments FILE and --segments_category NAME go together")
        if self.mask_invert and not self.masked:
            raise ValueError("--mask_invert needs --mask FILE or --segments FILE")
        if self.grid and (self.compare or self.masked):
            raise ValueError("--grid shows whole paintings beside the photo; leave --compare and masks out")
