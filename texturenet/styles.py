"""The styles that ship: found by name, so that `mosaic` is as good as its path.

A room without torch, so that a wrong name is told before torch loads.
"""

from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "checkpoints"


def shipped() -> list[Path]:
    """The checkpoints beside the code, by name, and the user's own there; none in an installation without them."""
    return sorted(FOLDER.glob("*.pt"))


def for_photos(say: Callable[[str], None]) -> list[Path]:
    """Those of them that paint photos and were made for painting alone, as those that ship; no runs of the user's.

    say  receives a line for each that is left out because it can't be read
    """
    from texturenet import checkpoint

    found = []
    for path in shipped():
        try:
            fields = checkpoint.load(path)
        except checkpoint.CheckpointError as error:
            say(f"left out: {error}")
            continue
        if fields["generator"]["options"].get("content", True) and "training" not in fields:
            found.append(path)
    return found


def textures() -> list[Path]:
    """Those that make a texture of any size, which tiles."""
    return sorted((FOLDER / "textures").glob("*.pt"))


def find(name_or_path: str | Path) -> Path:
    """A style's file: a file of that path, else the shipped style of that name.

    Raises ValueError that lists the names.
    """
    if (path := Path(name_or_path)).is_file():
        return path
    names = {path.stem: path for path in [*shipped(), *textures()]}
    if str(name_or_path) in names:
        return names[str(name_or_path)]
    raise ValueError(
        f"no checkpoint at {name_or_path}, and no style of that name ships; "
        f"choose from {', '.join(names) or 'your own'}, or train one with train.py"
    )


def table() -> str:
    """The styles there are, a row each: size of the file, network, what it was trained on, how good it was found."""
    from texturenet import checkpoint, reports

    rows = []
    for path in [*shipped(), *textures()]:
        try:
            fields = checkpoint.load(path)
        except checkpoint.CheckpointError:
            rows.append([path.stem, f"{path.stat().st_size / 1e6:.1f} MB", "-", "no checkpoint, or a damaged one", "-"])
            continue
        photos = fields.get("photos", {}).get("count", 0)
        seen = f"{photos:,} photos" if fields["generator"]["options"].get("content", True) else "the texture alone"
        seen += f", {fields['step']:,} steps, {fields['perceptual']['name']}"
        quality = ", ".join(f"{name} {value}" for name, value in fields.get("quality", {}).items())
        rows.append(
            [path.stem, f"{path.stat().st_size / 1e6:.1f} MB", fields["generator"]["name"], seen, quality or "-"]
        )
    return reports.markdown(["style", "size", "network", "trained on", "quality"], rows)
