"""What a training run reports, and who listens.

The trainer makes one `StepEvent` every few steps and one `PreviewEvent` per contact sheet, and hands them to its
listeners: a tqdm line, a JSONL log, a visdom page (visdom_monitor.py). A listener never stops or slows a run: a full
disk or a server that went away costs one warning. A run that was put back to an earlier step reports its steps again;
what it reported last holds.

`python -m texturenet.monitor runs/NAME` makes one HTML file of a past run's log and previews.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor
from tqdm import tqdm

from texturenet import program, report_page
from texturenet.config import filled


@dataclass(frozen=True)
class StepEvent:
    """Numbers of a run after `step` steps."""

    step: int  # steps finished so far (1-based after the first step)
    iterations: int  # steps in all
    losses: dict[str, float]  # "total", "style", "content", "tv", and per layer "style/relu1_1", "content/relu4_2"
    images_per_second: float  # since the last event; 0.0 where unknown
    data_wait: float  # share of time in [0, 1] spent waiting for photos since the last event
    learning_rate: float
    seconds_left: float | None = None  # at the present speed, crops that grow counted in; None where unknown


@dataclass(frozen=True)
class PreviewEvent:
    """Stylized photos after `step` steps."""

    step: int
    images: Tensor  # (B, 3, H, W) float32 in [0, 1], CPU
    path: Path | None  # where the sheet was written


class Listener(Protocol):
    """Whoever wants to know how a run goes."""

    def on_step(self, event: StepEvent) -> None: ...

    def on_preview(self, event: PreviewEvent) -> None: ...

    def close(self) -> None: ...


class ProgressBar:
    """One tqdm line on stderr; every `verbose_every` steps (0: never) a line of losses on stdout too."""

    def __init__(self, iterations: int, start_step: int = 0, verbose_every: int = 0) -> None:
        self._verbose_every = verbose_every
        # In a file every refresh is a line of its own, so few of them.
        pause = 0.2 if sys.stderr.isatty() else 15.0
        self._bar = tqdm(
            total=iterations,
            initial=start_step,
            unit="step",
            file=sys.stderr,
            mininterval=pause,
            dynamic_ncols=True,
        )

    def on_step(self, event: StepEvent) -> None:
        shown = {name: event.losses[name] for name in ("total", "style", "content") if name in event.losses}
        parts = [f"{name} {value:.4g}" for name, value in shown.items()]
        if event.images_per_second > 0:
            parts.append(f"{event.images_per_second:.3g} img/s")
        self._bar.set_postfix_str("  ".join([*parts, f"data wait {event.data_wait:.0%}"]), refresh=False)

        if event.seconds_left is not None:  # tqdm's own knows nothing of crops that grow
            left = tqdm.format_interval(event.seconds_left)
            numbers = f"{{n_fmt}}/{{total_fmt}} [{{elapsed}}<{left}, {{rate_fmt}}{{postfix}}]"
            self._bar.bar_format = f"{{l_bar}}{{bar}}| {numbers}"
        before = self._bar.n
        self._bar.update(event.step - before)
        # Events need not fall on multiples of verbose_every: the first one past each multiple speaks.
        every = self._verbose_every
        if every and event.step // every > before // every:
            losses = "  ".join(f"{name} {value:.4f}" for name, value in event.losses.items())
            self.message(f"step {event.step}/{event.iterations}  {losses}  lr {event.learning_rate:.3g}")

    def on_preview(self, event: PreviewEvent) -> None:
        if self._verbose_every and event.path is not None:
            self.message(f"step {event.step}  preview {event.path}")

    def message(self, text: str) -> None:
        """One line on stdout, above the bar."""
        self._bar.write(text)

    def close(self) -> None:
        self._bar.close()


def read_log(path: Path | str) -> list[dict[str, Any]]:
    """Rows of a JsonlLog, oldest first; a log that is not there yet is empty, a half-written line is left out.

    Rows of steps that were taken back and reported again are left out too.
    """
    path = Path(path)
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    with path.open("rb") as lines:
        for line in lines:
            if (row := _parse_row(line)) is None:
                continue
            if row.get("event") == "step":
                while rows and rows[-1]["step"] >= row["step"]:
                    rows.pop()
            rows.append(row)
    return rows


def _parse_row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:  # cut by a crash or a full disk; UnicodeDecodeError is one too
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None  # NaN and Infinity are no JSON


class DataWait:
    """Says once, on stderr, that training waits for its photos, and what shortens the wait.

    workers, cores  processes that decode photos, and how many of them the machine has cores for
    enough          shorter side of a photo, px, from which on it is decoded in vain
    """

    LIMIT = 0.1  # share of the time since the last event

    def __init__(self, workers: int, cores: int, enough: int) -> None:
        more = [f"more --workers ({workers} now, up to {cores})"] if workers < cores else []
        shrunk = f"photos shrunk beforehand to {enough} px on the shorter side"
        self._ways_out = ", ".join([*more, shrunk, "or a faster disk help"])
        self._said = False

    def on_step(self, event: StepEvent) -> None:
        warm = event.images_per_second > 0  # the first reading holds the start of the workers
        if warm and event.data_wait > self.LIMIT and not self._said:
            self._said = True
            notice(f"training waits for photos {event.data_wait:.0%} of the time: {self._ways_out}")

    def on_preview(self, event: PreviewEvent) -> None: ...

    def close(self) -> None: ...


class JsonlLog:
    """One JSON object per event, each on its line at once: `{"event": "step", ...}` or `{"event": "preview", ...}`.

    A run starts an empty log. A run resumed at `start_step` keeps the rows up to there and drops the later ones,
    which the earlier run wrote after its last checkpoint, so that the log holds every step once.
    """

    def __init__(self, path: Path | str, start_step: int = 0) -> None:
        self.path = Path(path)
        self._fd: int | None = None
        self._unwritten = b""  # all rows that the disk did not take, to be written with the next one
        self._warned = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_file():
                self._keep_until(start_step)
        except OSError as error:
            self._warn(error)

    def _keep_until(self, step: int) -> None:
        temporary = self.path.with_name(self.path.name + ".tmp")
        with self.path.open("rb") as old, temporary.open("wb") as new:
            for line in old:
                row = _parse_row(line)
                if step > 0 and row is not None and row["step"] <= step:
                    new.write(line.rstrip(b"\n") + b"\n")
        temporary.replace(self.path)

    def on_step(self, event: StepEvent) -> None:
        self._write(
            {
                "event": "step",
                "step": event.step,
                "iterations": event.iterations,
                "losses": {name: _finite_or_none(value) for name, value in event.losses.items()},
                "images_per_second": _finite_or_none(event.images_per_second),
                "data_wait": _finite_or_none(event.data_wait),
                "learning_rate": _finite_or_none(event.learning_rate),
                "seconds_left": event.seconds_left,
            }
        )

    def on_preview(self, event: PreviewEvent) -> None:
        self._write({"event": "preview", "step": event.step, "path": None if event.path is None else str(event.path)})

    def _write(self, row: dict[str, Any]) -> None:
        self._unwritten += json.dumps(row).encode() + b"\n"
        try:
            if self._fd is None:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            # Unbuffered: a buffer would keep what could not be written and fail again at close.
            self._unwritten = self._unwritten[os.write(self._fd, self._unwritten) :]
            if self._unwritten:
                raise OSError("the disk took only a part of a line")
        except OSError as error:
            self._warn(error)
            return
        if self._warned:
            notice(f"log: {self.path} is written again, no row is missing")
        self._warned = False

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            reason = error.strerror or error
            notice(f"log: cannot write {self.path} ({reason}); training goes on, rows wait until it can be written")
        self._warned = True

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None


def notice(text: str) -> None:
    """One line on stderr that leaves a tqdm bar whole."""
    tqdm.write(text, file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m texturenet.monitor", description="A past run as one HTML file: its curves and previews."
    )
    parser.add_argument("run", type=filled(Path), metavar="RUN_DIR", help="of the run: runs/NAME")
    parser.add_argument("-o", "--output", type=filled(Path), metavar="FILE", help="(default: RUN_DIR/report.html)")
    flags = parser.parse_args(argv)
    print(report_page.write(flags.run, read_log(flags.run / "log.jsonl"), flags.output))
    return 0


if __name__ == "__main__":
    sys.exit(program.run("python -m texturenet.monitor", main))
