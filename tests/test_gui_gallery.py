"""Styles with what their files tell."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from texturenet import checkpoint, styles
from texturenet.gui.gallery import Gallery


class RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("code-was-run",)


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery(tmp_path / "checkpoints")


def test_the_shipped_style(gallery: Gallery) -> None:
    card = next(card for card in gallery.cards() if card.name == "mosaic")
    assert card.trouble == ""
    assert card.thumbnail.startswith("data:image/jpeg;base64,")
    assert card.texture is not None
    assert card.texture.size == (256, 256)
    fields = checkpoint.load(styles.find("mosaic"))
    assert card.facts["Steps"] == f"{fields['step']:,}"
    assert card.facts["Photos"] == f"{fields['photos']['count']:,}"
    assert card.facts["Network"] == "pyramid, judged by lite"


def test_quality_figures(gallery: Gallery) -> None:
    fields = checkpoint.load(styles.find("mosaic")) | {"name": "own", "quality": {"gap_closed": 0.7812}}
    del fields["format"], fields["version"]
    checkpoint.save(gallery.checkpoint_dir / "own.pt", **fields)
    card = next(card for card in gallery.cards() if card.name == "own")
    assert card.facts["Gap closed"] == "0.781"


def test_files_are_read_once(gallery: Gallery) -> None:
    assert all(a is b for a, b in zip(gallery.cards(), gallery.cards(), strict=True))


def test_a_checkpoint_with_a_pickle_is_a_sentence(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery.checkpoint_dir.mkdir()
    monkeypatch.chdir(gallery.checkpoint_dir)
    torch.save({"format": "texturenet", "weights": RunsCode()}, gallery.checkpoint_dir / "evil.pt")
    card = gallery.cards()[-1]
    assert card.trouble.startswith("evil.pt holds")
    assert "can run code" in card.trouble
    upload = gallery.checkpoint_dir.parent / "evil2.pt"
    shutil.copy(gallery.checkpoint_dir / "evil.pt", upload)
    with pytest.raises(ValueError, match=r"^evil2.pt holds .* is not loaded"):
        gallery.add(upload)
    assert [path.name for path in gallery.checkpoint_dir.iterdir()] == ["evil.pt"]


def test_adding_a_style(gallery: Gallery, tmp_path: Path) -> None:
    upload = tmp_path / "own.pt"
    shutil.copy(styles.find("mosaic"), upload)
    assert gallery.add(upload).path == (gallery.checkpoint_dir / "own.pt").resolve()
    with pytest.raises(ValueError, match=r"^own.pt: a style of that name is here already"):
        gallery.add(upload)
