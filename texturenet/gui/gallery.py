"""Styles with what their files tell: a thumbnail, the recipe, how good they were found."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from texturenet import checkpoint, files, images, styles
from texturenet.gui import photos, uploads
from texturenet.stylizer import Stylizer

THUMBNAIL = 192  # px that a sample scene is painted at
_SCENE = photos.SAMPLE / "val2017" / "000000000049.jpg"


@dataclass(frozen=True)
class Card:
    """One style file. `trouble`: why it can't be used, a sentence; the rest is then empty."""

    path: Path
    name: str
    trouble: str = ""
    texture: Image.Image | None = None  # as the loss saw it
    thumbnail: str = ""  # data URL: a scene painted, or the texture
    facts: dict[str, str] = field(default_factory=dict)
    noise_factor: float = 1.0
    seen: tuple[int, float] = (0, 0.0)  # size and time of the file


class Gallery:
    """The shipped styles and those of a checkpoint folder; a file is read again only when it changed."""

    def __init__(self, checkpoint_dir: Path) -> None:
        self.checkpoint_dir = checkpoint_dir
        self._cards: dict[Path, Card] = {}
        self._lock = threading.Lock()

    def cards(self) -> list[Card]:
        """Styles that paint photos, newest first, then those that can't be used."""
        with self._lock:
            paths = {path.resolve() for path in [*styles.shipped(), *self._own()]}
            self._cards = {path: self._card(path) for path in paths}
            cards = list(self._cards.values())
        usable = [card for card in cards if not card.trouble]
        broken = [card for card in cards if card.trouble]
        return sorted(usable, key=lambda card: -card.seen[1]) + sorted(broken, key=lambda card: card.name)

    def add(self, upload: Path) -> Card:
        """Take a style that was uploaded into the folder. Raises ValueError for one that can't be used."""
        card = _read(upload)
        if card.trouble:
            raise ValueError(card.trouble)
        target = self.checkpoint_dir / f"{card.path.stem}.pt"
        if target.exists():
            raise ValueError(f"{target.name}: a style of that name is here already; rename the file first")
        try:
            files.write_whole(target, upload.read_bytes())
        except OSError as error:
            raise ValueError(uploads.without_folders(error, target)) from None
        return self._card(target.resolve())

    def _own(self) -> list[Path]:
        return sorted(
            path for path in self.checkpoint_dir.glob("*.pt") if path.is_file() and not path.name.startswith(".")
        )

    def _card(self, path: Path) -> Card:
        known = self._cards.get(path)
        status = path.stat()
        seen = (status.st_size, status.st_mtime)
        return known if known is not None and known.seen == seen else _read(path, seen)


def _read(path: Path, seen: tuple[int, float] = (0, 0.0)) -> Card:
    try:
        fields = checkpoint.load(path)
        style = Stylizer(path)
        if not style.paints_photos:
            raise ValueError(f"{path} makes a texture and takes no photo")
        scene = images.open_image(_SCENE, longer_side=THUMBNAIL) if _SCENE.is_file() else None
        if scene is not None:
            scene.thumbnail((THUMBNAIL, THUMBNAIL))
            scene = style(scene)
    except (ValueError, OSError) as error:
        return Card(path, path.stem, str(error).replace(str(path), path.name), seen=seen)
    texture = None if "texture" not in fields else images.to_pil(fields["texture"].float() / 255)
    shown = scene or texture
    thumbnail = uploads.data_url(shown, THUMBNAIL) if shown is not None else ""
    return Card(path, path.stem, "", texture, thumbnail, _facts(path, fields), style.trained_noise_factor, seen)


def _facts(path: Path, fields: dict[str, object]) -> dict[str, str]:
    """What is worth telling, in words."""
    found: dict[str, str] = {}
    recipe, photos_seen, losses, quality = (
        part if isinstance(part := fields.get(key), dict) else {} for key in ("recipe", "photos", "losses", "quality")
    )
    perceptual = fields["perceptual"]
    assert isinstance(perceptual, dict)
    step, total = fields["step"], recipe.get("iterations")
    found["Steps"] = f"{step:,} of {total:,}" if isinstance(total, int) and step != total else f"{step:,}"
    if isinstance(start := fields.get("started_from"), dict):
        found["Begun with"] = f"{start.get('name')}, {start.get('step')} steps"
    found["Photos"] = f"{photos_seen.get('count', 0):,}"
    found["Training"] = f"batches of {recipe.get('batch_size')}, crops of {recipe.get('image_size')} px"
    found["Stroke size"] = f"{recipe.get('style_size')} px"
    found["Network"] = f"{recipe.get('generator')}, judged by {perceptual.get('name')}"
    for term in ("total", "style", "content"):
        if isinstance(value := losses.get(term), float):
            found[f"{term.capitalize()} loss"] = f"{value:.3g}"
    for name, value in quality.items():
        found[str(name).replace("_", " ").capitalize()] = f"{value:.3g}" if isinstance(value, float) else str(value)
    found["File"] = f"{path.stat().st_size / 1e6:.1f} MB"
    return found
