"""What a run reports, and who listens."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from texturenet import monitor
from texturenet.monitor import DataWait, JsonlLog, PreviewEvent, ProgressBar, StepEvent, read_log


def event(step: int, **losses: float) -> StepEvent:
    named = {"total": 1 / step, "style": 0.8123, "content": 0.4411, "tv": 0.0, "style/relu1_1": 2 / step}
    return StepEvent(step, 2000, named | losses, images_per_second=12.34, data_wait=0.25, learning_rate=1e-3)


def steps_of(path: Path) -> list[int]:
    return [row["step"] for row in read_log(path)]


# --- the log


def test_log_holds_every_event_at_once(tmp_path: Path) -> None:
    log = JsonlLog(tmp_path / "deep" / "log.jsonl")
    log.on_step(event(1))
    log.on_preview(PreviewEvent(1, torch.zeros(1, 3, 4, 4), Path("sheet.png")))
    rows = read_log(log.path)  # before close
    assert rows[0]["event"] == "step"
    assert rows[0]["losses"]["style"] == 0.8123
    assert rows[0]["learning_rate"] == 1e-3
    assert rows[1] == {"event": "preview", "step": 1, "path": "sheet.png"}
    log.close()


def test_log_of_a_new_run_starts_empty(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for first in (1, 5):
        log = JsonlLog(path)
        log.on_preview(PreviewEvent(0, torch.zeros(1, 3, 4, 4), None))
        log.on_step(event(first))
        log.close()
    assert steps_of(path) == [0, 5]


def test_resumed_log_has_each_step_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = JsonlLog(path)
    for step in range(1, 8):
        log.on_step(event(step))
    log.close()
    with path.open("a") as file:
        file.write('{"event": "step", "st')  # the crash

    log = JsonlLog(path, start_step=4)
    assert steps_of(path) == [1, 2, 3, 4]
    for step in range(5, 10):
        log.on_step(event(step))
    log.close()
    assert steps_of(path) == list(range(1, 10))
    assert len(path.read_text().splitlines()) == 9
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("rest", [b'{"event": "step", "step": 2', b"\xff\xfe", b"[1, 2]\n", b"\n", b'{"step": null}\n'])
def test_broken_line_is_left_out(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "log.jsonl"
    log = JsonlLog(path)
    log.on_step(event(1))
    log.close()
    path.write_bytes(path.read_bytes() + rest)
    assert steps_of(path) == [1]


def test_no_log_yet_is_an_empty_log(tmp_path: Path) -> None:
    assert read_log(tmp_path / "none.jsonl") == []


def test_diverged_losses_are_still_json(tmp_path: Path) -> None:
    log = JsonlLog(tmp_path / "log.jsonl")
    log.on_step(event(1, total=math.nan, style=math.inf))
    row = json.loads(log.path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert row["losses"]["total"] is None
    assert row["losses"]["style"] is None
    log.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_said_once_and_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    log = JsonlLog("/dev/full")
    for step in range(1, 4):
        log.on_step(event(step))
    log.close()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "log: cannot write /dev/full (No space left on device)" in said


def test_place_that_cannot_be_written_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    log = JsonlLog(tmp_path / "file" / "log.jsonl")
    log.on_step(event(1))
    log.close()
    assert capsys.readouterr().err.count("\n") == 1


def test_line_cut_by_a_full_disk_is_finished_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = JsonlLog(tmp_path / "log.jsonl")
    log.on_step(event(1))
    write = monitor.os.write
    with monkeypatch.context() as short:
        short.setattr(monitor.os, "write", lambda fd, data: write(fd, data[:20]))
        log.on_step(event(2))
    log.on_step(event(3))
    log.close()
    assert steps_of(log.path) == [1, 2, 3]
    cut, whole = capsys.readouterr().err.splitlines()
    assert "the disk took only a part of a line" in cut and "is written again, no row is missing" in whole


def test_log_whose_folder_comes_later_lacks_no_row(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    log = JsonlLog(tmp_path / "runs" / "log.jsonl")
    log.on_step(event(1))
    (tmp_path / "runs").unlink()
    (tmp_path / "runs").mkdir()
    log.on_step(event(2))
    log.close()
    assert steps_of(log.path) == [1, 2]


def test_steps_that_were_taken_back_are_read_as_they_were_taken_last(tmp_path: Path) -> None:
    log = JsonlLog(tmp_path / "log.jsonl")
    for step, total in [(1, 5.0), (2, 4.0), (3, math.nan), (2, 3.0), (3, 2.0)]:
        log.on_step(event(step, total=total))
    log.close()
    assert [(row["step"], row["losses"]["total"]) for row in read_log(log.path)] == [(1, 5.0), (2, 3.0), (3, 2.0)]


# --- the wait for photos


def test_wait_for_photos_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = DataWait(workers=2, cores=8, enough=384)
    first, short, long = replace(event(1), images_per_second=0.0), replace(event(2), data_wait=0.1), event(3)
    for one in (first, short):
        waiting.on_step(one)
    assert capsys.readouterr().err == ""
    for _ in range(2):
        waiting.on_step(long)
    assert capsys.readouterr().err == (
        "training waits for photos 25% of the time: more --workers (2 now, up to 8), photos shrunk beforehand to "
        "384 px on the shorter side, or a faster disk help\n"
    )


def test_no_more_workers_than_cores_are_advised(capsys: pytest.CaptureFixture[str]) -> None:
    DataWait(workers=2, cores=2, enough=192).on_step(event(5))
    assert "of the time: photos shrunk beforehand to 192 px" in capsys.readouterr().err


# --- the bar


def test_bar_shows_losses_speed_and_steps(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar(2000, start_step=100)
    bar.on_step(event(150, total=12.3456))
    bar.on_preview(PreviewEvent(150, torch.zeros(1, 3, 4, 4), Path("a.png")))
    bar.close()
    out, err = capsys.readouterr()
    assert out == ""
    for part in ("150/2000", "total 12.35", "style 0.8123", "content 0.4411", "12.3 img/s", "data wait 25%"):
        assert part in err


def test_bar_shows_the_time_left_that_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar(2000)
    bar.on_step(replace(event(150), seconds_left=3725.0))
    bar.close()
    assert re.search(r"150/2000 \[\d\d:\d\d<1:02:05, .*total", capsys.readouterr().err)


def test_verbose_line_at_the_first_event_past_each_multiple(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar(2000, start_step=190, verbose_every=200)
    for step in (195, 205, 215, 400):
        bar.on_step(event(step))
    bar.message("saved mosaic.pt")
    bar.close()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 205/2000", "step 400/2000", "saved mosaic.pt"]
    assert "style 0.8123  content 0.4411" in lines[0]
