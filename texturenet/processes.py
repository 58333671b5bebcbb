"""Several processes that train one style or paint one folder together, as torchrun starts them; one is a case of it.

In training each passes its share of the step's batch and averages its gradients with the others, so that all take the
same step of the optimizer: plain data parallelism, in one message per step. It is written with torch.distributed's
collectives, not with DistributedDataParallel: the generator's gradients are half a megabyte, so there is nothing to
hide behind the backward pass, and a step is free to paint twice (`stability_weight`) or in parts (`--auto_batch`).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Work = TypeVar("Work")


class ProcessLost(OSError):
    """Another process of the run ended or does not answer."""


@dataclass(frozen=True)
class Processes:
    """This process among those of its run.

    rank      0 is the one that reports and saves
    restarts  how often torchrun has started the run again; None: torchrun is not there
    """

    rank: int = 0
    size: int = 1
    restarts: int | None = None

    def share(self, batch_size: int) -> slice:
        """The pictures of a step's batch that are this process's. ValueError when they can't be shared out evenly."""
        if batch_size % self.size:
            fits = max(batch_size // self.size, 1) * self.size
            raise ValueError(
                f"batch_size {batch_size} can't be shared out among {self.size} processes; give {fits} or another "
                f"multiple of {self.size}"
            )
        share = batch_size // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one device and type by their mean over all processes, in one message."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _one_line():
            dist.all_reduce(flat)
        flat /= self.size
        for tensor, mean in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def any(self, here: bool) -> bool:
        """Whether it is so in any process. Said over the CPU: no process waits for its GPU."""
        if self.size == 1:
            return here
        flag = torch.tensor([float(here)])
        with _one_line():
            dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag.item())

    def require_same(self, what: str) -> None:
        """Raise ValueError unless it is the same in every process; `what` as text, of any length."""
        if self.size == 1:
            return
        own = int.from_bytes(hashlib.sha256(what.encode()).digest()[:7])
        least_and_most = torch.tensor([own, -own])
        with _one_line():
            dist.all_reduce(least_and_most, dist.ReduceOp.MIN)
        if least_and_most[0] != -least_and_most[1]:
            raise ValueError(
                "the processes of this run do not have the same flags, texture, photos, perceptual network, precision "
                "and checkpoint: give all of them the same files, and name --perceptual and --precision"
            )


ALONE = Processes()


def launched() -> bool:
    """Whether torchrun, or what sets its variables, started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def own_device(device: torch.device) -> torch.device:
    """Of several GPUs, this process's: the one of its place on the machine. ValueError if there are too few."""
    if not launched() or device.type != "cuda":
        return device
    place, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if place >= count:
        raise ValueError(f"process {place} of this machine has no GPU, there are {count}: --nproc_per_node={count}")
    return torch.device("cuda", place)


def own_share(work: Sequence[Work]) -> Sequence[Work]:
    """Of pieces of work that need no word between the processes, this process's: each piece is exactly one's."""
    if not launched():
        return work
    return work[int(os.environ["RANK"]) :: int(os.environ["WORLD_SIZE"])]


def wait_for_all() -> None:
    """Until every process has come here that has a share of the work: torchrun ends them all as soon as one fails."""
    if not launched() or "MASTER_ADDR" not in os.environ:
        return
    span = timedelta(days=30)
    with contextlib.suppress(RuntimeError):  # of those that are lost torchrun tells
        store, rank, size = _store(span)
        store.set(f"done {rank}", "")
        store.wait([f"done {other}" for other in range(size)], span)


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def _store(span: timedelta) -> tuple[Any, int, int]:
    """What the processes of a run tell each other by, this one's rank, and how many they are.

    torchrun keeps one store over its restarts: without a prefix of its own, a process that is early finds the addresses
    of those that were lost (torch 2.13: 3 of 5 restarts failed, "Connection refused").
    """
    store, rank, size = next(dist.rendezvous("env://", timeout=span))  # type: ignore[attr-defined]
    return dist.PrefixStore(f"restart_{_restarts()}", store), rank, size  # type: ignore[attr-defined]


@contextlib.contextmanager
def joined(device: torch.device, patience: float) -> Iterator[Processes]:
    """Within, this process is one of its run.

    patience  seconds that one process may keep the others waiting
    """
    if not launched():
        yield ALONE
        return
    if device.type == "mps":
        raise ValueError("processes on mps can't talk to each other; train in one, without torchrun, or with --cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    span = timedelta(seconds=patience)
    # Its functions take the process group there is as a default argument, once and for all. Imported within, as by an
    # optimizer's first step, it would keep the group and its threads past the end, and one of them, wanting the
    # interpreter while that shuts down, ends the process with SIGABRT (torch 2.13, seldom).
    importlib.import_module("torch.distributed.nn.functional")
    with _one_line():
        store, rank, size = _store(span)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=span)
    yield Processes(rank, size, _restarts())
    dist.destroy_process_group()  # not after an error: it would wait for a process that is lost


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch has no narrower one that gloo's and NCCL's share
        reason = str(error).strip().splitlines()[0].partition(". ")[0]
        raise ProcessLost(f"lost the other processes of the run ({reason}); go on with --resume") from error
