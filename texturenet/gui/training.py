"""One training at a time, in a process of its own: `train.py`, as the command line starts it.

The page and the training share nothing but files, so neither a closed tab nor a crashed server touches it, and a page
that is started later finds it again:

    runs/training.json          which training is, or was last; locked (flock) by the training's own process while it
                                lives, so no stale number of a process can be mistaken for it
    runs/NAME/order.json        what it was started with, for resuming
    runs/NAME/texture.png       the texture, cropped
    runs/NAME/output.txt        what train.py printed
    runs/NAME/log.jsonl, runs/NAME/previews/, checkpoints/NAME.pt   train.py's own
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from texturenet import styles
from texturenet.files import is_plain_name, write_whole

TRAIN = Path(__file__).resolve().parents[2] / "train.py"
ERROR = "train.py: error: "  # what its last line begins with when it refuses
ENDED = ("finished", "stopped", "failed", "lost")  # states in which nothing runs


class Busy(ValueError):
    """Another training runs."""


@dataclass(frozen=True)
class Order:
    """What a training is started with; `flags` are train.py's, by name."""

    name: str
    texture: str
    data_dir: str
    flags: dict[str, Any] = field(default_factory=dict)

    def words(self) -> list[str]:
        """As typed. `--resume auto`: from the checkpoint if there is one, else from the beginning."""
        words = ["--name", self.name, "--texture", self.texture, "--data_dir", self.data_dir, "--resume", "auto"]
        for flag, value in self.flags.items():
            words += [f"--{flag}", *map(str, value if isinstance(value, list | tuple) else [value])]
        return words


@dataclass(frozen=True)
class Status:
    """How a training stands: running, paused, stopping, or one of ENDED. `trouble`: a sentence, or empty."""

    name: str
    state: str
    trouble: str = ""


class TrainingRoom:
    """Starts, signals and finds the training of a run folder.

    Where two servers share the folder, both see the same training, and it is refused to start a second.
    """

    def __init__(self, run_dir: Path = Path("runs"), checkpoint_dir: Path = Path("checkpoints")) -> None:
        self.run_dir, self.checkpoint_dir = run_dir, checkpoint_dir
        self._file = run_dir / "training.json"
        self._guard = threading.Lock()
        self._children: list[subprocess.Popen[bytes]] = []

    # --- what there is ------------------------------------------------------------------------------------------------

    def free_name(self, wanted: str) -> str:
        """A name for a new training that overwrites nothing: `wanted`, or with a number behind it."""
        name = number_one = wanted if is_plain_name(wanted) else "style"
        taken = {path.stem for path in styles.shipped()}
        number = 1
        while name in taken or self._checkpoint(name).exists() or (self.run_dir / name).exists():
            number += 1
            name = f"{number_one}-{number}"
        return name

    def order(self, name: str) -> Order | None:
        """What a training of this page was started with; None for a run that the command line made."""
        try:
            return Order(**json.loads((self.run_dir / name / "order.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def status(self) -> Status | None:
        """The training that runs, or the one that ended last; None before the first."""
        runs = self._runs()
        entry = self._entry()
        if entry is None:
            return None
        name = entry["name"]
        if runs:
            state = "stopping" if entry.get("stopping") else "paused" if entry.get("paused") else "running"
            return Status(name, state)
        lines = self.output(name)
        if lines and lines[-1].startswith(ERROR):
            return Status(name, "failed", lines[-1].removeprefix(ERROR))
        if any(line.startswith("checkpoint: ") for line in lines[-4:]):
            return Status(name, "finished")
        if entry.get("stopping") or any(line.startswith("stopped by ") for line in lines[-1:]):
            return Status(name, "stopped")
        return Status(name, "lost", "The training ended without a word, as when memory runs out or the machine does.")

    def output(self, name: str) -> list[str]:
        """The last lines that train.py printed, without its progress bar."""
        try:
            text = (self.run_dir / name / "output.txt").read_bytes()[-20_000:].decode(errors="replace")
        except OSError:
            return []
        return [line for line in text.replace("\r", "\n").split("\n") if line.strip()]

    # --- what can be done ---------------------------------------------------------------------------------------------

    def start(self, order: Order, texture: Image.Image) -> None:
        """Begin a new training. Raises Busy, and ValueError or OSError for what can't be written."""
        if not is_plain_name(order.name):
            raise ValueError(f"{order.name!r} is no name for a style: letters, numbers, - and _ make one")
        with self._locked() as lock:
            folder = self.run_dir / order.name
            folder.mkdir(parents=True)
            texture.save(folder / "texture.png")
            order = dataclasses.replace(order, texture=str(folder / "texture.png"))
            write_whole(folder / "order.json", json.dumps(dataclasses.asdict(order)).encode())
            self._launch(order, lock)

    def resume(self, name: str) -> None:
        """Go on with a training that was stopped. Raises Busy, and ValueError for one that this page did not start."""
        order = self.order(name)
        if order is None:
            raise ValueError(f"{name} was not started here; go on with it by train.py --resume")
        with self._locked() as lock:
            self._launch(order, lock)

    def pause(self) -> None:
        """Freeze it where it is: the processor is free at once, its memory is not. Nothing happens where none runs."""
        self._signal(signal.SIGSTOP, paused=True)

    def go_on(self) -> None:
        """Thaw it."""
        self._signal(signal.SIGCONT, paused=False)

    def stop(self) -> None:
        """Have it save and end after its step; a second time: end at once."""
        self._signal(signal.SIGCONT, paused=False)
        self._signal(signal.SIGINT, stopping=True)

    # --- the process and its lock -------------------------------------------------------------------------------------

    def _checkpoint(self, name: str) -> Path:
        return self.checkpoint_dir / f"{name}.pt"

    def _entry(self) -> dict[str, Any] | None:
        try:
            entry = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return entry if isinstance(entry, dict) and is_plain_name(str(entry.get("name", ""))) else None

    def _runs(self) -> bool:
        self._children = [child for child in self._children if child.poll() is None]  # else they stay as zombies
        try:
            with self._file.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The lock of the run folder as a file descriptor, for the training to inherit. Raises Busy."""
        if not TRAIN.is_file():
            raise ValueError(f"{TRAIN} is missing: run the page from a checkout of texturenet")
        self.run_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            for tries in reversed(range(10)):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not tries:
                        name = (self._entry() or {}).get("name", "another style")
                        raise Busy(
                            f"{name} is being trained already; stop it first, or wait until it is done"
                        ) from None
                    time.sleep(0.02)  # somebody may only be looking
            yield lock
        finally:
            os.close(lock)

    def _launch(self, order: Order, lock: int) -> None:
        with (self.run_dir / order.name / "output.txt").open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, str(TRAIN), *order.words()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[lock],
                start_new_session=True,  # Ctrl-C at the server is not meant for it
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        self._children.append(child)
        self._write({"name": order.name, "pid": child.pid})

    def _write(self, entry: dict[str, Any]) -> None:
        # In place: the lock is on this very file, a new one of its name would not be locked.
        with self._file.open("r+b") as file:
            file.write(json.dumps(entry).encode().ljust(200))
            file.truncate()

    def _signal(self, number: int, **change: bool) -> None:
        with self._guard:
            entry = self._entry()
            if entry is None or not self._runs():
                return
            with contextlib.suppress(ProcessLookupError):
                if number == signal.SIGINT:
                    os.kill(entry["pid"], number)  # it ends its readers itself, after what they have read
                else:
                    os.killpg(entry["pid"], number)
            self._write(entry | change)
