"""Where the networks run, and in what precision."""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)
DEVICES = ("auto", "cpu", "cuda", "mps")
_TYPES = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(wanted: str) -> torch.device:
    """The device of that name, "cuda:1" too; "auto": CUDA, else Apple's mps, else the CPU. ValueError if absent.

    On CUDA float32 means float32 from then on: torch's own choice for convolutions is TF32, whose factors are
    rounded by up to half of what the reference calls a gain, and sums of bfloat16 products may be rounded on their way,
    which a Gram matrix's must not be.
    """
    device = find_device(wanted)
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    return device


def find_device(wanted: str) -> torch.device:
    """The device of that name, as `resolve_device` has it; torch's settings stay as they are."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ValueError(f"unknown device {wanted!r}; choose from {', '.join(DEVICES)}, or cuda:N") from None
    if device.type not in DEVICES:
        raise ValueError(f"unknown device {wanted!r}; choose from {', '.join(DEVICES)}, or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build of torch"
            found = f"{count} found" if count else f"torch finds none ({built})"
            raise ValueError(f"{wanted} asked for, but there is no such GPU: {found}; use --cpu, or mend the driver")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("mps asked for, but this is no Mac with a Metal GPU; use --cpu")
    return device


def describe(device: torch.device) -> str:
    """The device in words, for the log; of the first of its kind without its number."""
    if device.type == "cuda":
        return f"{device if device.index else device.type} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


def out_of_memory(error: Exception) -> bool:
    """Whether that is what an error of torch says: the CPU's allocator, and mps, raise a bare RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in str(error)
        for words in ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC")
    )


def resolve_precision(wanted: str, device: torch.device, painting: bool = False) -> torch.dtype:
    """The type that networks compute in; "auto": half precision where the chip is faster in it.

    That is a GPU, a CPU with AMX, and one with AVX512-BF16 that turns out to be faster in it: a Xeon that had it, but
    no AMX, ran bf16 products at 0.6 of float32's rate and training steps at 0.7, an EPYC at 2.9 and 1.7. Emulated bf16
    is slower than either. A GPU trains in bfloat16, for the range of its gradients, and paints in float16, which rounds
    to an eighth of that: marbling is then off by 0.2/255 on average, and not by 1.6 (both by autocast on a CPU).
    """
    if painting and device.type == "mps":  # its autocast is not tried
        return torch.float32
    if wanted not in _TYPES:
        raise ValueError(f"unknown precision {wanted!r}; choose from {', '.join(_TYPES)}")
    if (asked := _TYPES[wanted]) is not None:
        return asked
    if device.type == "cuda":
        ranges = not painting and torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if ranges else torch.float16
    if device.type == "cpu":
        avx512 = torch.cpu._is_avx512_bf16_supported()
        if torch.cpu._is_amx_tile_supported() or (avx512 and gains_from_bf16()):
            return torch.bfloat16
    return torch.float32


@cache
def gains_from_bf16() -> bool:
    """Whether this CPU is clearly faster in bf16 than in float32: measured once, in a tenth of a second.

    The best of some rounds that take turns, since others may use the machine; what was seen lies far from the threshold
    on both sides, so that two runs on one machine decide alike.
    """
    operands = {dtype: torch.ones(512, 512, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    best = dict.fromkeys(operands, math.inf)
    for _ in range(8):
        for dtype, matrix in operands.items():
            start = time.perf_counter()
            matrix @ matrix
            best[dtype] = min(best[dtype], time.perf_counter() - start)
    return best[torch.bfloat16] < best[torch.float32] / 1.4


def place(module: Module, device: torch.device) -> Module:
    """Move to the device, weights in channels_last, in which convolutions are faster everywhere."""
    return module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be taken on the device, or None where it can't be told."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch takes it again
        return torch.cuda.mem_get_info(device)[0] + cached
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return min([int(line.split()[1]) * 1024, *_left_by_groups()])
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _left_by_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Bytes that each control group this process is in leaves of its limit: a container's, a batch job's.

    Version 2 of them; what is cached of files, and gone when memory is asked for, counts as left.
    """
    left: list[int] = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        inner = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
        group = root / inner.strip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(root):
                break
            with contextlib.suppress(OSError, ValueError):  # the outermost has no limit, "max" is no number
                limit = int((folder / "memory.max").read_text())
                cached = re.search(r"^inactive_file (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
                used = int((folder / "memory.current").read_text()) - int(cached[1] if cached else 0)
                left.append(max(limit - used, 0))
    return left


def room_left(device: torch.device, max_memory: int | None) -> int | None:
    """Bytes that may be taken on the device besides what this process holds; None where it can't be told.

    max_memory  that the process may hold in all; nine tenths of what is free are the most in any case
    """
    free = free_memory(device)
    most = None if free is None else int(0.9 * free)
    if max_memory is None:
        return most
    allowed = max_memory - used_memory(device)
    return allowed if most is None else min(allowed, most)


def used_memory(device: torch.device) -> int:
    """Bytes that this process holds on the device; 0 where it can't be told."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0
