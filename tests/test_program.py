import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from texturenet import program

ROOT = Path(__file__).parents[1]


def _raise(error: BaseException) -> int:
    raise error


def test_codes() -> None:
    assert program.run("it", lambda: None) == 0
    assert program.run("it", lambda: 3) == 3


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("-1: give more"), 2, "it: error: -1: give more"),
        (FileNotFoundError(2, "No such file", "a.jpg"), 2, "it: error: [Errno 2] No such file: 'a.jpg'"),
        (KeyboardInterrupt(), 130, "stopped; all is kept"),
    ],
)
def test_one_line(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run("it", lambda: _raise(error), "stopped; all is kept") == code
    assert capsys.readouterr() == ("", f"{line}\n")


def test_a_name_that_the_terminal_can_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdout", screen)
    assert program.run("it", lambda: print("caf\udce9.jpg", flush=True)) == 0
    assert screen.buffer.getvalue() == b"caf\\udce9.jpg\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("words", [["--list"], ["--help"]])
def test_whoever_reads_it_has_read_enough(words: list[str]) -> None:
    command = [sys.executable, str(ROOT / "stylize.py"), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_what_can_not_be_printed_is_told() -> None:
    command = f"{sys.executable} {ROOT / 'stylize.py'} --list >/dev/full"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert ended.stderr == ("stylize.py: error: what it printed could not be written: No space left on device\n")
    assert ended.returncode == 2


BARS = """
import sys, threading, time
from tqdm import tqdm
from texturenet import program
def work():
    with tqdm(total=9, mininterval=0) as bar:
        thread = threading.Thread(target=lambda: [bar.update() for _ in range(9)])
        thread.start(), thread.join()
        tqdm.write("told", file=sys.stderr)
    open("done", "w").close()
sys.exit(program.run("it", work))
"""


def test_a_bar_that_nobody_sees_holds_nobody_up(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-c", BARS],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=writing, timeout=60, check=False,
    )  # fmt: skip
    os.close(writing)
    assert ended.returncode == 0 and (tmp_path / "done").exists()


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_with_its_outputs_closed(closed: str) -> None:
    assert (
        subprocess.run(f"{sys.executable} {ROOT / 'stylize.py'} --list {closed}", shell=True, check=False).returncode
        == 0
    )


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(KeyError):
        program.run("it", lambda: _raise(KeyError("layer")))


def test_sigterm_ends_it_as_ctrl_c_does(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert program.run("it", lambda: os.kill(os.getpid(), signal.SIGTERM), "stopped; all is kept") == 130
    assert capsys.readouterr().err == "stopped; all is kept\n"
    assert signal.getsignal(signal.SIGTERM) is before
