"""Contenders run in turn, and what that took.

Each runs in a process of its own, so that its peak memory is its own and a process that is killed for memory costs one
figure and not the run. In round 1, 3, ... they run in their order, in 2, 4, ... in the opposite one, so that whatever
else the machine does meets all of them; ratios are taken within a round. On a GPU all share one process, and with it
one cache of memory.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.nn.functional as F

from texturenet.devices import free_memory, resolve_device, used_memory

# A first round counts where each contender took longer, since what happens only once is small beside it; else it
# warms up.
LONG_ROUND = 10.0  # seconds
_PRELOADED = ["benchmarks.stylization", "benchmarks.training"]
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024

Run = Callable[[], object]


@dataclass(frozen=True)
class Contender:
    """build   makes what is timed, in the process that times it; pickled on its way there
    needed  bytes that it takes at its peak, estimated; 0: it fits itself into what there is
    """

    name: str
    build: Callable[[], Run]
    needed: int = 0


@dataclass
class Measured:
    """seconds  one number a round
    peak     bytes above what its process held before the first run
    reason   why there is no number
    """

    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    reason: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def ratio(self, other: Measured) -> float:
        """This one's time over the other's: the median of the rounds."""
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds, strict=True))


@dataclass(frozen=True)
class Reply:
    """seconds  of one run
    held     bytes after it, peak  at most: both above what was held before
    """

    seconds: float
    held: int
    peak: int


class Failed(ValueError):
    """A contender that can't be measured; the line says why."""


def seconds(run: Run, device: torch.device) -> float:
    """Of one run, to the end of what it started on the device."""
    if device.type != "cuda":
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        milliseconds: float = start.elapsed_time(end)
        return milliseconds / 1000


class Runner:
    """Builds a contender when it is first asked for, and runs it each time."""

    def __init__(self, contenders: Sequence[Contender], device: torch.device) -> None:
        self.contenders, self.device = {contender.name: contender for contender in contenders}, device
        self._built: dict[str, tuple[Run, int]] = {}

    def ask(self, name: str) -> Reply:
        """Run a contender once."""
        if name not in self._built:
            _load_kernels(self.device)
            run = self.contenders[name].build()
            self._built[name] = (run, used_memory(self.device))
        run, at_first = self._built[name]
        if self.device.type == "cuda":  # where the others of this process hold memory too
            before = torch.cuda.memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            elapsed = seconds(run, self.device)
            peak = torch.cuda.max_memory_allocated(self.device) - before
        else:
            elapsed = seconds(run, self.device)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT - at_first
        return Reply(elapsed, used_memory(self.device) - at_first, peak)


def _load_kernels(device: torch.device) -> None:
    """What the first use of an operation loads for good is no part of a contender's peak."""
    for dtype in (torch.float32, torch.bfloat16):
        image = torch.rand((1, 8, 32, 32), device=device, dtype=dtype, requires_grad=True)
        weight = torch.rand((8, 8, 3, 3), device=device, dtype=dtype, requires_grad=True)
        maps = F.instance_norm(F.conv2d(image, weight, padding=1)).relu().flatten(2)
        (maps @ maps.transpose(1, 2)).sum().backward()  # type: ignore[no-untyped-call]


class Host:
    """A `Runner` in a process of its own."""

    def __init__(self, contenders: Sequence[Contender], device: torch.device, threads: int | None) -> None:
        # A new CPU process branches off one that has loaded torch and nothing else: it starts at once, and unlike a
        # program that is loaded into a child it does not inherit its parent's peak. CUDA does not survive that.
        context: Any = multiprocessing.get_context("spawn" if device.type == "cuda" else "forkserver")
        if device.type != "cuda":
            context.set_forkserver_preload(_PRELOADED)
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, list(contenders), device, threads), daemon=True)
        self._process.start()
        other.close()

    def ask(self, name: str) -> Reply:
        """Run a contender once. Raises Failed."""
        try:
            self._pipe.send(name)
            reply = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise Failed(f"its process ended with code {self._process.exitcode}: most likely out of memory") from None
        if isinstance(reply, str):
            raise Failed(reply)
        assert isinstance(reply, Reply)
        return reply

    def close(self) -> None:
        self._pipe.close()
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, contenders: Sequence[Contender], device: torch.device, threads: int | None) -> None:
    resolve_device(str(device))  # what float32 means on a GPU is told to each process
    if threads:
        torch.set_num_threads(threads)
    runner = Runner(contenders, device)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            name = pipe.recv()
            try:
                pipe.send(runner.ask(name))
            except (MemoryError, RuntimeError, ValueError) as error:
                pipe.send(str(error).partition("\n")[0] or type(error).__name__)


def left_out(contenders: Sequence[Contender], device: torch.device) -> dict[str, str]:
    """Why those that do not fit the memory are not run, by their names: all of them where no baseline fits."""
    free = free_memory(device)
    reasons = {}
    for contender in contenders:
        if free is not None and contender.needed > 0.9 * free:
            gigabytes = f"{contender.needed / 2**30:.0f} GB, {free / 2**30:.0f} are free"
            reasons[contender.name] = f"left out: takes about {gigabytes}"
    if reasons and not any(contender.needed for contender in contenders if contender.name not in reasons):
        alone = {contender.name: "left out: nothing to compare it with fits the memory" for contender in contenders}
        return alone | reasons
    return reasons


def interleaved(
    contenders: Sequence[Contender],
    rounds: int,
    device: torch.device,
    threads: int | None = None,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, Measured]:
    """Run them in turn, `rounds` times; those that do not fit the memory are left out, with the reason.

    tick  called after each round that counts
    """
    reasons = left_out(contenders, device)
    results = {contender.name: Measured(reason=reasons.get(contender.name, "")) for contender in contenders}
    running = [contender.name for contender in contenders if contender.name not in reasons]
    with contextlib.ExitStack() as closing:
        hosts: dict[str, Host] = {}
        for group in [contenders] if device.type == "cuda" else [[contender] for contender in contenders]:
            if any(contender.name in running for contender in group):
                host = Host(group, device, threads)
                closing.callback(host.close)
                hosts |= {contender.name: host for contender in group}
        warm = False
        while running and len(results[running[0]].seconds) < rounds:
            order = running if len(results[running[0]].seconds) % 2 == 0 else running[::-1]
            for name in order:
                try:
                    reply = hosts[name].ask(name)
                except Failed as failure:
                    results[name] = Measured(reason=str(failure))
                    continue
                results[name].seconds.append(reply.seconds)
                results[name].peak = max(results[name].peak, reply.peak)
            running = [name for name in running if not results[name].reason]
            if not warm and min((results[name].seconds[0] for name in running), default=0) < LONG_ROUND:
                for name in running:
                    results[name].seconds.clear()
            else:
                tick()
            warm = True
    return results
