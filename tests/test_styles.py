from pathlib import Path

import pytest
from test_stylizer import save_style

from texturenet import checkpoint, styles


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two shipped styles, and another folder as the current one."""
    for name in ("weave", "amber"):
        save_style(tmp_path / "checkpoints" / f"{name}.pt")
    (tmp_path / "checkpoints" / "README.md").write_text("no style")
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(styles, "FOLDER", tmp_path / "checkpoints")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "checkpoints"


def test_a_shipped_style_by_name(folder: Path) -> None:
    assert [path.stem for path in styles.shipped()] == ["amber", "weave"]
    assert styles.find("weave") == folder / "weave.pt"


def test_textures_are_found_by_name_and_lie_apart(folder: Path) -> None:
    path = save_style(folder / "textures" / "pebbles.pt", content=False, padding="circular")
    assert styles.textures() == [path] and path not in styles.shipped()
    assert styles.find("pebbles") == path
    assert "the texture alone, 1 steps" in styles.table()


@pytest.mark.usefixtures("folder")
def test_a_path_wins(tmp_path: Path) -> None:
    own = save_style(tmp_path / "here" / "own.pt")
    assert styles.find(own) == own
    assert styles.find("own.pt") == Path("own.pt")
    Path("weave").write_text("a file that is called as a style is")
    assert styles.find("weave") == Path("weave")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["weaves", "checkpoints/weave.pt", "README", ""])
def test_an_unknown_name_lists_those_that_ship(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^no checkpoint at {name}, .*; choose from amber, weave, or train"):
        styles.find(name)


@pytest.mark.usefixtures("folder")
def test_the_table_tells_what_a_checkpoint_holds(folder: Path) -> None:
    fields = checkpoint.load(folder / "amber.pt") | {"photos": {"count": 1200}, "quality": {"gap closed": 0.97}}
    checkpoint.save(folder / "amber.pt", **{key: fields[key] for key in fields if key not in ("format", "version")})
    header, _, amber, weave = styles.table().splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        "style",
        "size",
        "network",
        "trained on",
        "quality",
    ]
    assert "amber" in amber and "1,200 photos, 1 steps, lite" in amber and "gap closed 0.97" in amber
    assert "weave" in weave and "pyramid" in weave and "MB" in weave
    del fields["generator"]["options"]["content"]  # as convert.py writes it
    checkpoint.save(folder / "amber.pt", **{key: fields[key] for key in fields if key not in ("format", "version")})
    assert "1,200 photos" in styles.table()


def test_what_ships_with_the_repository_is_listed() -> None:
    assert "mosaic" in {path.stem for path in styles.shipped()}
    assert "| mosaic " in styles.table()
