"""Instance norm with statistics that somebody else chose: of the whole picture for a tile, of the past for a frame.

`given_statistics` answers the calls of `torch.nn.functional.instance_norm` themselves, through torch's own function
modes. Such a mode belongs to the thread that entered it and touches no module: a generator that is painting in another
thread keeps its own statistics, and any network will do, in the order in which it calls its norms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Statistics = tuple[Tensor, Tensor]  # mean and variance (biased, as instance norm's) of each channel, (C,) and (C,)


def measure(x: Tensor) -> Statistics:
    """Of one picture (1, C, H, W), or of several parts of one (B, C, H, W) taken together."""
    variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
    return mean, variance


class given_statistics(TorchFunctionMode):
    """Within, in this thread, every instance norm subtracts and divides by what `choose` answers.

    choose  (place of the norm in the pass: 0, 1, ...; its input (B, C, H, W)) -> Statistics, on the input's device
    For painting, not for training: no gradient goes through statistics that are given. The count of norms goes on as
    long as one is entered, so take a new one for each pass of the network.
    `given_statistics(lambda _, x: measure(x))` is instance norm itself, for a batch of one.
    """

    def __init__(self, choose: Callable[[int, Tensor], Statistics]) -> None:
        super().__init__()
        self._choose, self._place = choose, 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not F.instance_norm:
            return func(*args, **(kwargs or {}))
        (x,), norm = args, kwargs or {}  # torch hands the input by place and all else by name
        mean, variance = self._choose(self._place, x)
        self._place += 1
        return F.batch_norm(x, mean, variance, norm["weight"], norm["bias"], training=False, eps=norm["eps"])
