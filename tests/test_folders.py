"""folders.py: where results go, and a run that goes past what fails."""

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, picture

from texturenet import images
from texturenet.folders import Steps, Work, check_name, paint_all, plan


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
        ("{stem:{style}}.png", r"--name {stem:{style}}.png: .*; choose from {stem}"),
        (
            "/elsewhere/{stem}.png",
            "/elsewhere/{stem}.png leads out of the output folder; name that",
        ),
        ("../{stem}.png", r"leads out of the output folder"),
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


def test_results_in_the_folder_of_results_are_no_sources_for_another_one(tree: Path) -> None:
    images.save_image(picture(16, 16), tree / "deep" / "stylized" / "a-mosaic.jpg")
    assert sources(plan([tree], Path("out"), "s", "{stem}.png")) == ["in/a.jpg", "in/deep/b.PNG", "in/deep/er/c.tga"]
    assert sources(plan([tree / "deep" / "stylized"], Path("out"), "s")) == ["in/deep/stylized/a-mosaic.jpg"]


def test_a_folder_that_may_not_be_listed_is_named_and_passed(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = os.scandir

    def scandir(path: Path) -> object:
        if path == tree / "deep":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    work = plan([tree], Path("out"), "checks")
    assert sources(work) == ["in/a.jpg", "in/deep"]
    assert paint_all(work, lambda source, _target: str(source)) == 2
    said = capsys.readouterr()
    assert said.out == "in/a.jpg\n"
    assert "stylize.py: error: in/deep: no permission to list this folder: change its mode or owner" in said.err
    assert "1 of 2 pictures painted, 1 failed: in/deep" in said.err
    steps = Steps(lambda source, _target: source, lambda photo: photo, lambda painting, _target: str(painting))
    assert paint_all([*work[::-1], *work[:1]], lambda source, _target: str(source), steps=steps) == 2
    assert capsys.readouterr().out == "in/a.jpg\nin/a.jpg\n"


def test_what_lies_beside_a_result_is_no_source(tree: Path) -> None:
    stopped = tree / "a-checks-stopped.jpg"
    for left in (stopped, tree / "a-checks-losses.png", tree / "a-checks-steps" / "00050.jpg"):
        images.save_image(picture(16, 16), left)
    assert sources(plan([tree], tree, "checks")) == ["in/a.jpg", "in/deep/b.PNG", "in/deep/er/c.tga"]
    assert "in/a-checks-stopped.jpg" in sources(plan([tree, stopped], tree, "checks"))  # since it was asked for


def test_another_styles_results_are_no_sources_either(tree: Path) -> None:
    images.save_image(picture(16, 16), tree / "out" / "a-other.jpg")
    assert sources(plan([tree], tree / "out", "checks")) == ["in/a.jpg", "in/deep/b.PNG", "in/deep/er/c.tga"]


def test_a_picture_that_was_named_is_not_painted_over(tree: Path) -> None:
    for name in ("cat.png", "cat2.png"):
        (tree / name).write_bytes(b"a picture of mine")
    mine = [tree / "cat.png", tree / "cat2.png"]
    with pytest.raises(
        ValueError, match=r"the painting of .*cat.png would replace .*cat2.png; choose another -o or --name"
    ):
        plan(mine, tree, "s", "{stem}2{suffix}")


def test_a_source_is_never_replaced(tree: Path) -> None:
    with pytest.raises(ValueError, match="would replace the picture itself"):
        plan([tree / "a.jpg"], tree / "a.jpg", "checks")
    with pytest.raises(ValueError, match="would replace the picture itself"):
        plan([tree], tree, "checks", "{stem}{suffix}")


def test_what_else_is_read_is_not_replaced(tree: Path) -> None:
    masks = tree / "masks"
    images.save_image(picture(16, 16), masks / "a.png")
    for others in ([masks], [masks / "a.png"]):
        with pytest.raises(ValueError, match=r"masks/a.png is read too, and would be replaced"):
            plan([tree / "a.jpg"], masks, "s", "{stem}.png", others)
    images.save_image(picture(16, 16), tree / "b-losses.png")
    with pytest.raises(ValueError, match=r"b-losses.png is read, and kept beside .*b.png"):
        plan([tree / "b-losses.png"], tree / "b.png", "s")
    with pytest.raises(ValueError, match=r"b-losses.png is read, and kept beside .*b.png"):
        plan([tree / "a.jpg"], tree / "b.png", "s", others=[tree / "b-losses.png"])


def test_a_result_has_one_name(tree: Path) -> None:
    with pytest.raises(ValueError, match=r"-o b.png is the result's whole name; leave --name out"):
        plan([tree / "a.jpg"], Path("b.png"), "s", "{stem}{suffix}")


def test_two_pictures_never_share_a_target(tree: Path) -> None:
    images.save_image(picture(16, 16), tree / "other" / "a.jpg")
    with pytest.raises(ValueError, match=r"in/a.jpg and .*other/a.jpg would both become stylized/a-checks.jpg"):
        plan([tree / "a.jpg", tree / "other" / "a.jpg"], None, "checks")


def test_two_pictures_that_differ_in_their_suffix_alone(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither can be written as it is read: both would become .png."""
    folder = tree / "other"
    for suffix in ("avif", "ppm"):
        images.save_image(picture(16, 16), folder / "b.png")
        (folder / "b.png").rename(folder / f"b.{suffix}")
    first, second = plan([folder], Path("out"), "s")
    assert first == Work(folder / "b.avif", Path("out/b-s.png"))
    also = f"{second.source} would become out/b-s.png, as {first.source} does; paint it by itself, with another -o"
    assert second.trouble == also
    painted: list[Path] = []

    def paint(source: Path, target: Path) -> str:
        painted.append(source)
        target.parent.mkdir(exist_ok=True)
        target.touch()
        return "painted"

    for _ in range(2):  # what is there already is the other's
        assert paint_all([first, second], paint, skip_existing=True) == 2
        assert also in capsys.readouterr().err
    assert painted == [first.source]


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


def test_errors_name_their_file(work: list[Work], capsys: pytest.CaptureFixture[str]) -> None:
    def paint(source: Path, _target: Path) -> str:
        raise ValueError("too small" if source.name == "0.jpg" else f"{source}: no picture")

    paint_all(work[:2], paint)
    errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert errors == ["stylize.py: error: 0.jpg: too small", "stylize.py: error: 1.jpg: no picture"]


def test_links_and_names_that_lead_nowhere_are_files_like_others(tmp_path: Path) -> None:
    loop, long = tmp_path / "loop.jpg", tmp_path / f"{'x' * 300}.jpg"
    loop.symlink_to(loop)
    (good := tmp_path / "good.jpg").touch()
    painted: list[Path] = []

    def paint(source: Path, _target: Path) -> str:
        if not source.is_file():
            raise ValueError(f"{source}: can't be read")
        painted.append(source)
        return "painted"

    for skip_existing in (False, True):
        assert paint_all(plan([loop, good], tmp_path / "out", "s"), paint, skip_existing) == 2
    assert paint_all([Work(good, tmp_path / "out" / long.name)], paint, skip_existing=True) == 0
    assert painted == [good] * 3


def test_whoever_reads_the_lines_may_go(tmp_path: Path) -> None:
    """As `| head -1` does."""
    script = (
        "import sys; from pathlib import Path; from texturenet import program\n"
        "from texturenet.folders import Work, paint_all\n"
        "work = [Work(Path(name), Path(name)) for name in 'abc']\n"
        "sys.exit(program.run('it', lambda: paint_all(work, lambda source, target: target.touch() or 'painted')))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=writing, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writing)
    assert ended.returncode == 0 and ended.stderr.decode().splitlines()[-1] == "3 of 3 pictures painted"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_a_format_that_cannot_be_written_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"out\.jp2: that format can't be written"):
        plan([tmp_path / "a.jpg"], tmp_path / "out.jp2", "s")


def test_ctrl_c_keeps_what_is_done(work: list[Work], capsys: pytest.CaptureFixture[str]) -> None:
    assert paint_all(work, painter({"1": ValueError, "3": KeyboardInterrupt})) == 130
    assert [item.target.exists() for item in work] == [True, False, True, False, False, False]
    assert capsys.readouterr().err.splitlines()[-1] == "stopped: 2 of 6 pictures painted and kept, 1 failed: 1.jpg"


# --- three files at a time --------------------------------------------------------------------------------------------


class Held:
    """A decoded photo, or a painting."""

    def __init__(self, source: Path) -> None:
        self.source = source


class Studio:
    """Steps that write down what began and ended, and can be told what goes wrong or is slow.

    wrong  "step stem" -> what it raises
    slow   step -> seconds
    """

    def __init__(self, wrong: dict[str, type[BaseException]] | None = None, slow: dict[str, float] | None = None):
        self.wrong, self.slow = wrong or {}, slow or {}
        self.diary: list[str] = []
        self.threads: dict[str, set[int]] = {}
        self.held: weakref.WeakSet[Held] = weakref.WeakSet()
        self.most_held = 0
        self.held_beside: list[int] = []  # while a file was painted by itself
        self.changed = threading.Condition()

    def note(self, line: str) -> None:
        with self.changed:
            self.diary.append(line)
            self.changed.notify_all()

    def wait_for(self, line: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: line in self.diary, timeout=20), f"no {line!r} meanwhile"

    def step(self, name: str, source: Path) -> None:
        self.threads.setdefault(name, set()).add(threading.get_ident())
        self.note(f"{name} {source.stem}")
        time.sleep(self.slow.get(name, 0.002))  # at least until the other threads have let go of what they held
        if error := self.wrong.get(f"{name} {source.stem}"):
            self.note(f"{name} {source.stem} failed")
            raise error(f"{source}: {name} failed")

    def new(self, source: Path) -> Held:
        held = Held(source)
        self.held.add(held)
        self.most_held = max(self.most_held, len(self.held))
        return held

    def read(self, source: Path, _target: Path) -> Held:
        self.step("read", source)
        photo = self.new(source)
        self.note(f"read {source.stem} done")
        return photo

    def paint(self, photo: Held) -> Held:
        self.step("paint", photo.source)
        painting = self.new(photo.source)
        self.note(f"paint {photo.source.stem} done")
        return painting

    def write(self, painting: Held, target: Path) -> str:
        self.step("write", painting.source)
        target.write_text("painted")
        self.note(f"write {painting.source.stem} done")
        return str(target)

    def alone(self, source: Path, target: Path) -> str:
        self.step("alone", source)
        self.held_beside.append(len(self.held))
        target.write_text("painted alone")
        self.note(f"alone {source.stem} done")
        return str(target)

    def paint_all(self, work: list[Work], skip_existing: bool = False) -> int:
        return paint_all(work, self.alone, skip_existing, Steps(self.read, self.paint, self.write))

    def order(self, *lines: str) -> bool:
        places = [self.diary.index(line) for line in lines]
        return places == sorted(places)


class Patient(Studio):
    """Paints for as long as it takes the other two steps to do their part."""

    def paint(self, photo: Held) -> Held:
        number = int(photo.source.stem)
        if number < 5:
            self.wait_for(f"read {number + 1} done")
        if number > 0:
            self.wait_for(f"write {number - 1} done")
        return super().paint(photo)


def test_the_next_is_read_and_the_last_written_while_one_is_painted(
    work: list[Work], capsys: pytest.CaptureFixture[str]
) -> None:
    studio = Patient()
    assert studio.paint_all(work) == 0
    assert [item.target.read_text() for item in work] == ["painted"] * 6
    assert studio.threads["paint"] == {threading.get_ident()}  # where Ctrl-C arrives
    assert len(set().union(*studio.threads.values())) == 3
    said = capsys.readouterr()
    assert said.out.split() == [str(item.target) for item in work]
    assert said.err.splitlines()[-1] == "6 of 6 pictures painted"


@pytest.mark.parametrize("slowest", ["read", "paint", "write"])
def test_one_photo_waits_and_one_painting(work: list[Work], slowest: str) -> None:
    studio = Studio(slow={slowest: 0.03})
    assert studio.paint_all(work) == 0
    for n in range(4):
        assert studio.order(f"paint {n} done", f"read {n + 2}")  # n + 1 waits or is being read
        assert studio.order(f"write {n} done", f"paint {n + 2}")  # n + 1 waits or is being written
    assert studio.most_held <= 4  # photo and painting of one file, the next photo, the painting before
    assert not studio.held


def test_a_single_file_needs_no_threads(work: list[Work]) -> None:
    for item in work[1:]:
        item.target.write_text("earlier")
    studio = Studio()
    assert studio.paint_all(work, skip_existing=True) == 0
    assert studio.diary == ["alone 0", "alone 0 done"]
    assert studio.threads == {"alone": {threading.get_ident()}}


def test_what_is_not_read_ahead_is_painted_with_nothing_beside_it(
    work: list[Work], capsys: pytest.CaptureFixture[str]
) -> None:
    studio = Studio(wrong={"read 0": ValueError, "read 2": OSError, "read 3": ValueError}, slow={"write": 0.03})
    assert studio.paint_all(work) == 0
    assert [item.target.read_text() for item in work] == [
        "painted alone" if i in (0, 2, 3) else "painted" for i in range(6)
    ]
    assert studio.order("alone 0 done", "read 1")
    assert studio.order("write 1 done", "alone 2", "alone 2 done", "read 3", "alone 3", "alone 3 done", "read 4")
    assert studio.held_beside == [0, 0, 0]
    assert capsys.readouterr().out.split() == [str(item.target) for item in work]


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_the_error_of_a_step_is_the_error_of_its_file(
    work: list[Work], error: type[Exception], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", os.fdopen(os.dup(1), "w", buffering=1))  # in one stream, to see the order
    monkeypatch.setattr("sys.stdout", os.fdopen(os.dup(1), "w", buffering=1))
    wrong = dict.fromkeys(("read 1", "alone 1", "paint 2", "write 4", "read 5", "alone 5"), error)
    assert Studio(wrong, slow={"write": 0.02}).paint_all(work) == 2
    assert [item.target.exists() for item in work] == [True, False, False, True, False, False]
    lines = [line.rpartition("\r")[2] for line in capfd.readouterr().out.splitlines()]
    expected = [
        str(work[0].target),
        "stylize.py: error: 1.jpg: alone failed",
        "stylize.py: error: 2.jpg: paint failed",
        str(work[3].target),
        "stylize.py: error: 4.jpg: write failed",
        "stylize.py: error: 5.jpg: alone failed",
        "2 of 6 pictures painted, 4 failed: 1.jpg, 2.jpg, 4.jpg, ...",
    ]
    assert [line for line in lines if line in expected] == expected


@pytest.mark.parametrize("place", ["read 3", "paint 3", "write 3", "alone 3", "write 5"])
def test_what_is_no_files_fault_ends_the_run(work: list[Work], place: str) -> None:
    wrong: dict[str, type[BaseException]] = {"read 3": ValueError} if place == "alone 3" else {}
    wrong[place] = ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        Studio(wrong).paint_all(work)
    assert [item.target.exists() for item in work[:3]] == [True] * 3


def test_ctrl_c_while_one_is_painted(work: list[Work], capsys: pytest.CaptureFixture[str]) -> None:
    studio = Studio({"paint 3": KeyboardInterrupt}, slow={"write": 0.05})
    assert studio.paint_all(work) == 130
    assert [item.target.exists() for item in work] == [True, True, True, False, False, False]
    said = capsys.readouterr()
    assert said.out.split() == [str(item.target) for item in work[:3]]
    assert said.err.splitlines()[-1] == "stopped: 3 of 6 pictures painted and kept"


def test_one_that_was_stopped_half_way_does_not_count(work: list[Work], capsys: pytest.CaptureFixture[str]) -> None:
    studio = Studio({"write 3": KeyboardInterrupt, "paint 4": KeyboardInterrupt})
    assert studio.paint_all(work) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "stopped: 3 of 6 pictures painted and kept"


@pytest.mark.parametrize("moment", ["read 3", "paint 2", "write 1"])
def test_ctrl_c_whenever_it_comes(work: list[Work], moment: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As the terminal sends it, to the process: what the writer has begun is finished and counted."""

    class Stopped(Studio):
        def step(self, name: str, source: Path) -> None:
            if f"{name} {source.stem}" == moment:
                os.kill(os.getpid(), signal.SIGINT)
            super().step(name, source)

    studio = Stopped(slow={"read": 0.02, "paint": 0.02, "write": 0.05})
    before = threading.active_count()
    assert studio.paint_all(work) == 130
    assert threading.active_count() == before
    done = [item.target.exists() for item in work]
    assert done == sorted(done, reverse=True) and 1 <= sum(done) <= 3
    said = capsys.readouterr()
    assert said.out.split() == [str(item.target) for item in work[: sum(done)]]
    assert said.err.splitlines()[-1] == f"stopped: {sum(done)} of 6 pictures painted and kept"
