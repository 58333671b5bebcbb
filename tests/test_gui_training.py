"""One training at a time, in a process of its own. A stand-in for train.py says what it was given and waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from texturenet.gui import training
from texturenet.gui.training import ENDED, Busy, Order, TrainingRoom

STAND_IN = """
import signal, sys, time
print("given", *sys.argv[1:], flush=True)
if "--fail" in sys.argv:
    print("train.py: error: no such folder", file=sys.stderr)
    sys.exit(2)
def stop(*_):
    print("saved")
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
time.sleep(60 if "--seconds" not in sys.argv else float(sys.argv[sys.argv.index("--seconds") + 1]))
print("log: runs/x/log.jsonl\\ncheckpoint: checkpoints/x.pt")
"""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainingRoom]:
    script = tmp_path / "train.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(training, "TRAIN", script)
    room = TrainingRoom(tmp_path / "runs", tmp_path / "checkpoints")
    yield room
    room.stop()
    until(lambda: room.status() is None or room.status().state in ENDED)  # type: ignore[union-attr]


def until(true: object, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def state(room: TrainingRoom) -> str:
    status = room.status()
    return "none" if status is None else status.state


def start(room: TrainingRoom, name: str = "checks", **flags: object) -> None:
    room.start(Order(name, "", "photos", flags), Image.new("RGB", (8, 8), "red"))
    until(lambda: "ready" in room.output(name) or state(room) in ENDED)


def test_before_the_first(room: TrainingRoom) -> None:
    assert room.status() is None
    room.pause()
    room.stop()


def test_start_and_stop(room: TrainingRoom) -> None:
    start(room, iterations=7, style_weights=(1, 2))
    assert state(room) == "running"
    given = room.output("checks")[0]
    assert "--name checks" in given
    assert "--data_dir photos --resume auto --iterations 7 --style_weights 1 2" in given
    assert Image.open(room.run_dir / "checks" / "texture.png").size == (8, 8)
    room.stop()
    until(lambda: state(room) == "stopped")
    assert room.output("checks")[-1] == "saved"


def test_to_its_end(room: TrainingRoom) -> None:
    start(room, seconds=0.1)
    until(lambda: state(room) == "finished")


def test_a_second_start_is_refused_kindly(room: TrainingRoom) -> None:
    start(room)
    for other in (room, TrainingRoom(room.run_dir, room.checkpoint_dir)):  # here, and in another server
        with pytest.raises(Busy, match=r"^checks is being trained already; stop it first, or wait until it is done$"):
            start(other, "second")
    assert not (room.run_dir / "second").exists()
    assert state(room) == "running"


def test_a_page_that_starts_later_finds_it_and_ends_it(room: TrainingRoom) -> None:
    start(room)
    later = TrainingRoom(room.run_dir, room.checkpoint_dir)
    assert state(later) == "running"
    later.stop()
    until(lambda: state(later) == "stopped")


def test_it_outlives_the_page(room: TrainingRoom) -> None:
    """The page's process is killed, with all that its terminal holds."""
    code = (
        "import sys; from pathlib import Path; from PIL import Image; from texturenet.gui import training as t\n"
        f"t.TRAIN = Path({str(training.TRAIN)!r})\n"
        f"room = t.TrainingRoom(Path({str(room.run_dir)!r}), Path({str(room.checkpoint_dir)!r}))\n"
        "room.start(t.Order('checks', '', 'photos'), Image.new('RGB', (8, 8)))\n"
        "print('started', flush=True); sys.stdin.read()"
    )
    page = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert page.stdout is not None
    assert page.stdout.readline() == b"started\n"
    until(lambda: "ready" in room.output("checks"))
    os.killpg(page.pid, signal.SIGKILL)
    page.wait()
    assert state(room) == "running"


def test_pause_and_go_on(room: TrainingRoom) -> None:
    start(room, seconds=0.5)
    room.pause()
    assert state(room) == state(TrainingRoom(room.run_dir, room.checkpoint_dir)) == "paused"
    time.sleep(0.8)
    assert state(room) == "paused"  # else it would have finished
    room.go_on()
    until(lambda: state(room) == "finished")


def test_a_paused_one_can_be_stopped(room: TrainingRoom) -> None:
    start(room)
    room.pause()
    room.stop()
    until(lambda: state(room) == "stopped")


def test_resume(room: TrainingRoom) -> None:
    start(room, iterations=7)
    room.stop()
    until(lambda: state(room) == "stopped")
    again = TrainingRoom(room.run_dir, room.checkpoint_dir)
    again.resume("checks")
    assert state(again) == "running"
    until(lambda: "ready" in again.output("checks"))
    assert "--resume auto --iterations 7" in again.output("checks")[0]


def test_resume_of_a_run_from_elsewhere(room: TrainingRoom) -> None:
    with pytest.raises(ValueError, match="mosaic was not started here"):
        room.resume("mosaic")


def test_what_train_py_refuses_is_its_sentence(room: TrainingRoom) -> None:
    room.start(Order("checks", "", "photos", {"fail": ""}), Image.new("RGB", (8, 8)))
    until(lambda: state(room) == "failed")
    status = room.status()
    assert status is not None
    assert status.trouble == "no such folder"


def test_a_training_that_is_killed(room: TrainingRoom) -> None:
    start(room)
    entry = room._entry()
    assert entry is not None
    os.kill(entry["pid"], signal.SIGKILL)
    until(lambda: state(room) == "lost")
    room.resume("checks")
    assert state(room) == "running"


@pytest.mark.parametrize("name", ["../out", "a/b", ".hidden", ""])
def test_names_that_lead_elsewhere(room: TrainingRoom, name: str) -> None:
    with pytest.raises(ValueError, match="no name for a style"):
        room.start(Order(name, "", "photos"), Image.new("RGB", (8, 8)))
    assert room.free_name(name) == "style"


def test_free_names(room: TrainingRoom) -> None:
    assert room.free_name("checks") == "checks"
    room.checkpoint_dir.mkdir()
    (room.checkpoint_dir / "checks.pt").touch()
    (room.run_dir / "checks-2").mkdir(parents=True)
    assert room.free_name("checks") == "checks-3"
    assert room.free_name("mosaic") == "mosaic-2"  # one of that name ships


@pytest.mark.parametrize("content", ["", "[]", '{"name": "../x", "pid": 1}', "\0"])
def test_a_damaged_entry_is_none(room: TrainingRoom, content: str) -> None:
    room.run_dir.mkdir()
    (room.run_dir / "training.json").write_text(content)
    assert room.status() is None
    start(room)
    assert state(room) == "running"
