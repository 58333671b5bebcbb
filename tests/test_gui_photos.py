"""What a typed path leads to."""

from __future__ import annotations

from pathlib import Path

from conftest import ROOT

from texturenet.gui import photos


def test_a_plain_folder(photo_dir: Path) -> None:
    (photo_dir / "note.jpg").write_text("a text")
    finding = photos.look(f" {photo_dir} ")
    assert finding.sentence == "Folder of pictures: 6 pictures, 1 skipped"
    assert "note.jpg: not a picture" in finding.why_skipped
    assert len(finding.thumbnails) == 6
    assert all(source.startswith("data:image/jpeg;base64,") for source in finding.thumbnails)


def test_the_sample_scenes_are_coco() -> None:
    assert ROOT / "data" / "sample" == photos.SAMPLE
    finding = photos.look(str(photos.SAMPLE))
    assert finding.sentence == "COCO dataset: 48 pictures, none skipped"


def test_trouble_is_a_sentence_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    for text, why in (
        (f"{tmp_path}/nowhere", "no such folder: check the spelling"),
        (f"{tmp_path}/a.txt", "is a file, not a folder"),
        (str(tmp_path), "no usable photo"),
        ("\0", ""),
    ):
        finding = photos.look(text)
        assert why in finding.trouble
        assert finding.sentence == finding.trouble != ""
        assert finding.count == 0


def test_home(photo_dir: Path, monkeypatch: object) -> None:
    monkeypatch.setenv("HOME", str(photo_dir.parent))  # type: ignore[attr-defined]
    assert photos.look(f"~/{photo_dir.name}").count == 6


def test_few_photos_have_few_thumbnails(photo_dir: Path) -> None:
    for path in sorted(photo_dir.iterdir())[2:]:
        path.unlink()
    assert len(photos.look(str(photo_dir)).thumbnails) == 2
