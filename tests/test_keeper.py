import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import held_elsewhere
from test_trainer import job

from texturenet import checkpoint, keeper
from texturenet.files import write_whole
from texturenet.keeper import Keeper
from texturenet.learner import Learner
from texturenet.processes import Processes


@pytest.fixture
def places(tmp_path: Path, texture_path: Path) -> Any:
    def make(**run: Any) -> tuple[Learner, Keeper]:
        prepared = job(tmp_path, texture_path, None, **run)
        learner = Learner(prepared)
        return learner, Keeper(prepared, learner)

    return make


def save(learner: Learner, keeper: Keeper, step: int, smoothed: float, **options: Any) -> None:
    learner.steps, learner.smoothed = step, torch.tensor(smoothed)
    keeper.save({"total": smoothed}, **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_last_ones_and_the_best_are_kept(places: Any, tmp_path: Path) -> None:
    learner, kept = places(keep=2)
    for step, smoothed in [(10, 5.0), (20, 3.0), (30, 4.0), (40, 3.5)]:
        save(learner, kept, step, smoothed)
    folder = tmp_path / "runs" / "s" / "checkpoints"
    assert names(folder) == ["000030.pt", "000040.pt", "best.pt"]
    assert names(tmp_path / "checkpoints") == ["s.pt"]
    steps = {path.stem: checkpoint.load(path)["step"] for path in folder.iterdir()}
    assert steps == {"000030": 30, "000040": 40, "best": 20}
    assert checkpoint.load(tmp_path / "checkpoints" / "s.pt")["training"]["least"] == 3.0
    assert (folder / "000040.pt").samefile(tmp_path / "checkpoints" / "s.pt")


def test_keep_nothing(places: Any, tmp_path: Path) -> None:
    learner, kept = places(keep=0)
    save(learner, kept, 10, 5.0)
    assert not (tmp_path / "runs" / "s").exists()


def test_later_ones_of_a_run_that_was_gone_back_on_make_room(places: Any, tmp_path: Path) -> None:
    learner, kept = places(keep=2)
    for step in (10, 20, 30, 15):
        save(learner, kept, step, 5.0)
    assert names(tmp_path / "runs" / "s" / "checkpoints") == ["000015.pt", "best.pt"]


def test_files_of_others_are_left_alone(places: Any, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "s" / "checkpoints"
    learner, kept = places(keep=1)
    save(learner, kept, 10, 5.0)
    (folder / "000002_good.pt").touch()
    save(learner, kept, 20, 5.0)
    assert names(folder) == ["000002_good.pt", "000020.pt", "best.pt"]


def test_a_run_of_this_name_is_going_on(tmp_path: Path, texture_path: Path) -> None:
    """Another process has it, until it is killed, whatever children it leaves behind."""
    prepared = job(tmp_path, texture_path, None)
    prepared.run_dir.mkdir(parents=True)
    words = "import fcntl, os, sys, time; lock = open('.lock', 'w'); fcntl.lockf(lock, fcntl.LOCK_EX)\n"
    words += "if os.fork(): print('held', flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", words], cwd=prepared.run_dir, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        children = Path(f"/proc/{other.pid}/task/{other.pid}/children").read_text().split()
        taken = r"a run called s is going on in .*; give another --name"
        with pytest.raises(ValueError, match=taken), keeper.claimed(prepared):
            pass
        other.kill()
        other.wait()
        with keeper.claimed(prepared):
            pass
        for child in children:
            os.kill(int(child), signal.SIGKILL)


def test_a_run_of_another_folder_saves_this_checkpoint(tmp_path: Path, texture_path: Path) -> None:
    prepared = job(tmp_path, texture_path, None)
    prepared.path.parent.mkdir(parents=True, exist_ok=True)
    lock = prepared.path.with_name(f".{prepared.path.name}.lock")
    with held_elsewhere(lock):
        taken = rf"going on in another --run_dir, and saves {prepared.path} too; give another --name"
        with pytest.raises(ValueError, match=taken), keeper.claimed(prepared):
            pass
    with keeper.claimed(prepared):
        assert lock.exists()
    assert not lock.exists()


def test_copies_where_there_are_no_links(places: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another device")

    monkeypatch.setattr(keeper.os, "link", refuse)
    learner, kept = places()
    save(learner, kept, 10, 5.0)
    folder = tmp_path / "runs" / "s" / "checkpoints"
    assert names(folder) == ["000010.pt", "best.pt"]
    assert checkpoint.load(folder / "best.pt")["step"] == 10


def test_full_disk_is_said_once_and_the_save_is_owed(
    places: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real refusal of the kernel: the process may not write files past a size."""
    learner, kept = places()
    save(learner, kept, 10, 5.0)
    path = tmp_path / "checkpoints" / "s.pt"
    old = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) // 2, before[1]))
    try:
        save(learner, kept, 20, 4.0)
        save(learner, kept, 30, 4.0)
        assert kept.owed
        with pytest.raises(OSError, match=r"s.pt: could not be saved: File too large; .* was there is untouched"):
            save(learner, kept, 40, 4.0, required=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == old
    save(learner, kept, 50, 4.0)
    assert not kept.owed
    assert checkpoint.load(path)["step"] == 50
    full, again = capsys.readouterr().err.splitlines()
    assert full.startswith("step 20: ") and "s.pt: could not be saved" in full
    assert "training goes on, and saves as soon as it can" in full
    assert again == f"step 50: saved {path} again"


def test_weights_that_are_not_finite_are_never_saved(places: Any, tmp_path: Path) -> None:
    learner, kept = places()
    next(learner.generator.parameters()).data[0] = torch.nan
    save(learner, kept, 10, 5.0, required=True)
    assert names(tmp_path / "checkpoints") == []


def test_only_the_first_process_saves(places: Any, tmp_path: Path) -> None:
    learner, kept = places(processes=Processes(1, 2))
    save(learner, kept, 10, 5.0)
    assert names(tmp_path / "checkpoints") == []


def test_what_a_killed_save_left_is_swept_away(places: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(_file: int) -> None:
        raise Killed

    folder = tmp_path / "checkpoints"
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", killed)
        patched.setattr(Path, "unlink", lambda *_args, **_options: None)
        for name in ("s", "other", "s1", "s[1]"):
            with contextlib.suppress(Killed):
                write_whole(folder / f"{name}.pt", b"half")
    assert [left.rsplit(".", 2)[0] for left in names(folder)] == [".other.pt", ".s.pt", ".s1.pt", ".s[1].pt"]
    places()
    places(name="s[1]")  # which is no pattern
    assert [left.rsplit(".", 2)[0] for left in names(folder)] == [".other.pt", ".s1.pt"]


def test_killed_at_any_moment_every_checkpoint_is_whole(places: Any, tmp_path: Path) -> None:
    """A child that saves without pause is killed at another moment each time."""
    learner, kept = places()
    save(learner, kept, 1, 5.0)
    folder, steps = tmp_path / "runs" / "s" / "checkpoints", []
    for kill in range(12):
        child = os.fork()
        if child == 0:
            try:
                for step in range(2 + 1000 * kill, 1000 * (kill + 1)):
                    save(learner, kept, step, 1 / step)
            finally:
                os._exit(1)
        signal.sigtimedwait([], 0.02 + 0.0037 * kill)  # a sleep that is not disturbed
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        steps.append(checkpoint.load(tmp_path / "checkpoints" / "s.pt")["step"])
        for path in folder.glob("[!.]*.pt"):
            assert checkpoint.load(path)["step"] <= steps[-1] + 1
    assert steps == sorted(steps)
    assert steps[-1] > 1
