"""What the machine could do at best with the same arithmetic, and with the same bytes.

The limit of a pass is the longer of two times: its floating-point operations at the rate of a large matrix product, and
its bytes at the rate of a large copy. Bytes are those of a program that reads the inputs of each convolution once and
writes its output once, with norms, activations and joins done on the way. Both rates are measured, in each type; the
limit is that of the type in which it is lowest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import seconds

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
GEMM_SIZE = {"cpu": 2048, "cuda": 8192}
COPIED = 2**29  # bytes, more than any cache
TRIES = 5
ENOUGH = 5.0  # seconds of them: a product in a type that the chip only emulates takes a minute


@dataclass(frozen=True)
class Rates:
    """gemm  floating-point operations a second, by type; copy  bytes a second, read and written."""

    gemm: dict[str, float]
    copy: float


def measure(device: torch.device, size: int | None = None, copied: int = COPIED) -> Rates:
    """The best of a few tries each; `size` and `copied` smaller than usual are for tests."""
    n = size or GEMM_SIZE[device.type]
    gemm = {}
    for name, dtype in TYPES.items():
        a, b = (torch.rand((n, n), device=device).to(dtype) for _ in range(2))
        c = torch.empty_like(a)
        gemm[name] = 2 * n**3 / _shortest(partial(torch.mm, a, b, out=c), device)
    source = torch.ones(copied // 4, device=device)
    target = torch.empty_like(source)
    return Rates(gemm, 2 * copied / _shortest(partial(target.copy_, source), device))


def _shortest(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of the best try."""
    tries: list[float] = []
    while len(tries) < TRIES and sum(tries) < ENOUGH:
        tries.append(seconds(run, device))
    return min(tries)


@dataclass(frozen=True)
class Work:
    """flops  floating-point operations, a multiplication and an addition being two; values  read and written."""

    flops: int
    values: int


def work(run: Callable[[], object]) -> Work:
    """Of what `run` does with tensors; on the "meta" device nothing is computed for it."""
    moved = _Moved()
    with moved, FlopCounterMode(display=False) as counter:
        run()
    return Work(counter.get_total_flops(), moved.values)


class _Moved(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the values that convolutions and matrix products read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name == "convolution_backward":
            upstream, image, weight, *_, wanted = args
            read = [upstream, weight if wanted[0] else None, image if wanted[1] else None]
            self._count(*read, *result)
        elif name in ("convolution", "mm", "addmm", "bmm"):
            self._count(*args, result)
        return result

    def _count(self, *values: object) -> None:
        self.values += sum(value.numel() for value in values if isinstance(value, Tensor))


@dataclass(frozen=True)
class Limit:
    """seconds that the work takes at least; `by` "arithmetic" or "bytes", in `dtype`."""

    seconds: float
    by: str
    dtype: str


def limit(work: Work, rates: Rates) -> Limit:
    """The lowest over the types."""

    def of(dtype: str) -> Limit:
        arithmetic = work.flops / rates.gemm[dtype]
        copying = work.values * TYPES[dtype].itemsize / rates.copy
        return Limit(max(arithmetic, copying), "arithmetic" if arithmetic > copying else "bytes", dtype)

    return min((of(dtype) for dtype in rates.gemm), key=lambda found: found.seconds)
