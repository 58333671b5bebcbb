"""stylize.py from the shell: each run a new process, from its start to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.timing import Failed
from texturenet import images

ROOT = Path(__file__).parents[1]
SIZE = 512  # px of the picture


@dataclass(frozen=True)
class Command:
    """name  in the table; words  after the interpreter; target  seconds at most, or None"""

    name: str
    words: list[str]
    target: float | None


def commands(folder: Path, style: Path, device: str, size: int = SIZE) -> list[Command]:
    """What is timed; pictures lie in `folder`."""
    photo = folder / "photo.png"
    images.save_image(torch.rand((1, 3, size, size), generator=torch.Generator().manual_seed(0)), photo)
    picture = ["stylize.py", "--model", str(style), "--device", device, str(photo), "-o", str(folder / "painting.png")]
    return [
        Command("`stylize.py --help`", ["stylize.py", "--help"], 0.5),
        Command(f"one {size}x{size} picture", picture, 3.0),
        Command("`import torch` alone", ["-c", "import torch"], None),
    ]


def measure(
    commands: list[Command], rounds: int, threads: int | None, tick: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Seconds of each round by the commands' names; the commands in turn. Raises Failed."""
    environment = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    seconds: dict[str, list[float]] = {command.name: [] for command in commands}
    for _ in range(rounds):
        for command in commands:
            begin = time.perf_counter()
            ended = subprocess.run(
                [sys.executable, *command.words],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            seconds[command.name].append(time.perf_counter() - begin)
            if ended.returncode:
                raise Failed(f"{' '.join(command.words)}: {ended.stderr.strip()}")
        tick()
    return seconds
