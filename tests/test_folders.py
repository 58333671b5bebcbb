"""folders.py: where results go, and a run that goes past what fails."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import picture

from texturenet import images
from texturenet.folders import Work, check_name, paint_all, plan


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """in/a.jpg, in/deep/b.PNG, in/deep/er/c.tga and what is no picture, with the folder above as the current one."""
    for name in ("a.jpg", "deep/b.PNG", "deep/er/c.tga"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images.to_pil(picture(16, 16)).save(path)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "in" / ".hidden.jpg").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    return Path("in")


def targets(work: list[Work]) -> list[str]:
    return [item.target.as_posix() for item in work]


def sources(work: list[Work]) -> list[str]:
    return [item.source.as_posix() for item in work]


def test_a_folder_keeps_its_tree(tree: Path) -> None:
    assert targets(plan([tree], Path("out"), "checks")) == [
        "out/a-checks.jpg",
        "out/deep/b-checks.PNG",
        "out/deep/er/c-checks.png",  # Targa is read and not written
    ]


def test_files_and_folders_together(tree: Path) -> None:
    work = plan([tree / "a.jpg", tree / "deep"], None, "checks")
    assert targets(work) == ["stylized/a-checks.jpg", "stylized/b-checks.PNG", "stylized/er/c-checks.png"]
    assert plan([tree / "a.jpg", tree / "a.jpg"], None, "checks") == work[:1]


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/*", {"in/a.jpg": "a-s.jpg", "in/deep/b.PNG": "deep/b-s.PNG", "in/deep/er/c.tga": "deep/er/c-s.png"}),
        ("in/*.jpg", {"in/a.jpg": "a-s.jpg"}),
        ("in/**/*.PNG", {"in/deep/b.PNG": "deep/b-s.PNG"}),
        ("in/**/*", {"in/a.jpg": "a-s.jpg", "in/deep/b.PNG": "deep/b-s.PNG", "in/deep/er/c.tga": "deep/er/c-s.png"}),
        ("*/deep/[bc].*", {"in/deep/b.PNG": "in/deep/b-s.PNG"}),
    ],
)
def test_patterns_of_a_shell_that_expands_none(pattern: str, found: dict[str, str]) -> None:
    work = plan([Path(pattern)], Path(), "s")
    assert dict(zip(sources(work), targets(work), strict=True)) == found


def test_a_name_with_brackets_is_a_file_where_there_is_one(tree: Path) -> None:
    (tree / "a.jpg").rename(tree / "a[1].jpg")
    assert targets(plan([tree / "a[1].jpg"], None, "s")) == ["stylized/a[1]-s.jpg"]
    with pytest.raises(ValueError, match=r"no picture matches in/b\[1\].jpg"):
        plan([tree / "b[1].jpg"], None, "s")


def test_one_file(tree: Path) -> None:
    assert targets(plan([tree / "a.jpg"], Path("x/y.webp"), "checks")) == ["x/y.webp"]
    with pytest.raises(ValueError, match=r"-o y.png is one file, but there are 3 pictures"):
        plan([tree], Path("y.png"), "checks")


def test_videos_stay_videos(tree: Path) -> None:
    for name in ("clip.mp4", "old.avi"):
        (tree / name).write_bytes(b"film")
    assert targets(plan([tree / "clip.mp4", tree / "old.avi"], None, "s")) == [
        "stylized/clip-s.mp4",
        "stylized/old-s.mp4",
    ]
    assert {"in/clip.mp4", "in/old.avi"} < set(sources(plan([tree], None, "s")))
    assert targets(plan([tree / "clip.mp4"], Path("x.webm"), "s")) == ["x.webm"]


def test_a_name_of_ones_own(tree: Path) -> None:
    assert targets(plan([tree / "deep"], Path("out"), "mosaic", "{style}/{stem}.webp")) == [
        "out/mosaic/b.webp",
        "out/er/mosaic/c.webp",
    ]
    assert targets(plan([tree / "a.jpg"], None, "mosaic", "{stem}{suffix}")) == ["stylized/a.jpg"]
    with pytest.raises(ValueError, match=r"in/a.jpg and in/deep/b.PNG would both become stylized/same.png"):
        plan([tree / "a.jpg", tree / "deep" / "b.PNG"], None, "s", "same.png")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{stemm}.png", r"--name {stemm}.png: unknown field {stemm}; choose from {stem}, {style}, {suffix}"),
        ("{}.png", r"unknown field {}; choose from"),
        ("{stem.__class__}.png", r"unknown field {stem.__class__}"),
        ("{stem.png", r"--name {stem.png: .*; choose from {stem}, {style}, {suffix}"),
        ("{stem:d}.png", r"--name {stem:d}.png: .*; choose from {stem}"),
        ("{stem}", r"--name {stem} ends in no suffix that can be written; end it with {suffix} or .png"),
    ],
)
def test_a_name_that_is_none(tree: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan([tree], Path("out"), "s", name)


def test_a_name_may_hold_braces() -> None:
    check_name("{{{stem}}}{suffix}")


def test_results_of_an_earlier_run_are_not_painted_again(tree: Path) -> None:
    for folder in (tree / "out", tree):
        first = plan([tree], folder, "checks")
        assert sources(first) == ["in/a.jpg", "in/deep/b.PNG", "in/deep/er/c.tga"]
        for item in first:
            images.save_image(picture(16, 16), item.target)
        if folder == tree:
            assert sources(plan([*sorted(tree.glob("a*.jpg"))], folder, "checks")) == ["in/a.jpg"]
        assert sources(plan([tree], folder, "checks")) == sources(first)
        for item in first:
            item.target.unlink()


def test_another_styles_results_are_no_sources_either(tree: Path) -> None:
    images.save_image(picture(16, 16), tree / "out" / "a-other.jpg")
    assert sources(plan([tree], tree / "out", "checks")) == ["in/a.jpg", "in/deep/b.PNG", "in/deep/er/c.tga"]


def test_a_source_is_never_replaced(tree: Path) -> None:
    with pytest.raises(ValueError, match="would replace the picture itself"):
        plan([tree / "a.jpg"], tree / "a.jpg", "checks")
    with pytest.raises(ValueError, match="would replace the picture itself"):
        plan([tree], tree, "checks", "{stem}{suffix}")


def test_two_pictures_never_share_a_target(tree: Path) -> None:
    images.save_image(picture(16, 16), tree / "other" / "a.jpg")
    with pytest.raises(ValueError, match=r"in/a.jpg and .*other/a.jpg would both become stylized/a-checks.jpg"):
        plan([tree / "a.jpg", tree / "other" / "a.jpg"], None, "checks")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures in"):
        plan([tmp_path], None, "checks")


# --- the run ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path) -> list[Work]:
    return [Work(Path(f"{i}.jpg"), tmp_path / f"{i}.png") for i in range(6)]


def painter(wrong: dict[str, type[BaseException]]) -> Callable[[Path, Path], str]:
    def paint(source: Path, target: Path) -> str:
        if source.stem in wrong:
            raise wrong[source.stem](f"{source}: broken")
        target.write_text("painted")
        return str(target)

    return paint


def test_all_painted(work: list[Work], capsys: pytest.CaptureFixture[str]) -> None:
    assert paint_all(work, painter({})) == 0
    said = capsys.readouterr()
    assert said.out.split() == [str(item.target) for item in work]
    assert said.err.splitlines()[-1] == "6 of 6 pictures painted"


def test_one_picture_needs_no_summary(work: list[Work], capsys: pytest.CaptureFixture[str]) -> None:
    assert paint_all(work[:1], painter({})) == 0
    assert capsys.readouterr().err == ""


def test_bad_files_are_named_and_passed(work: list[Work], capsys: pytest.CaptureFixture[str]) -> None:
    assert paint_all(work, painter(dict.fromkeys("0234", ValueError) | {"2": OSError})) == 2
    assert work[5].target.exists()
    lines = capsys.readouterr().err.splitlines()
    assert sum("stylize.py: error: " in line for line in lines) == 4
    assert lines[-1] == "2 of 6 pictures painted, 4 failed: 0.jpg, 2.jpg, 3.jpg, ..."


def test_what_exists_is_skipped_on_demand(work: list[Work], capsys: pytest.CaptureFixture[str]) -> None:
    for item in work[:4]:
        item.target.write_text("earlier")
    assert paint_all(work, painter({}), skip_existing=True) == 0
    assert [item.target.read_text() for item in work] == ["earlier"] * 4 + ["painted"] * 2
    assert capsys.readouterr().err.splitlines()[-1] == "2 of 6 pictures painted, 4 were there already"
    assert paint_all(work, painter({})) == 0
    assert work[0].target.read_text() == "painted"


def test_ctrl_c_keeps_what_is_done(work: list[Work], capsys: pytest.CaptureFixture[str]) -> None:
    assert paint_all(work, painter({"1": ValueError, "3": KeyboardInterrupt})) == 130
    assert [item.target.exists() for item in work] == [True, False, True, False, False, False]
    assert capsys.readouterr().err.splitlines()[-1] == "stopped: 2 of 6 pictures painted and kept, 1 failed: 1.jpg"
