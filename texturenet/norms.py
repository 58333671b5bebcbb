"""Instance norm with statistics that somebody else chose, of the past of a clip for its next frame.

Whoever computes an instance norm measures its input and asks `chosen` what to take instead: `given_statistics` answers
in the same thread, and does so for the calls of `torch.nn.functional.instance_norm` itself too, through torch's own
function modes. So no module is touched: a generator that is painting in another thread keeps its own statistics, and
any network will do, in the order in which it calls its norms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Choose = Callable[[int, "Statistics"], "Statistics"]
Statistics = tuple[Tensor, Tensor]  # mean and variance (biased, as instance norm's) of each channel, (C,) and (C,)


_choose: ContextVar[Choose | None] = ContextVar("choose", default=None)


def measure(x: Tensor) -> Statistics:
    """Of one picture (1, C, H, W), or of several parts of one (B, C, H, W) taken together."""
    variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
    return mean, variance


def chosen(place: int, measured: Statistics) -> Statistics:
    """What to take for the norm of that place in the pass (0, 1, ...), whose input measures so."""
    choose = _choose.get()
    return measured if choose is None else choose(place, measured)


class given_statistics(TorchFunctionMode):
    """Within, in this thread, every instance norm subtracts and divides by what `choose` answers.

    choose  (place of the norm in the pass: 0, 1, ...; what its input measures) -> Statistics, on the same device
    For painting, not for training: no gradient goes through statistics that are given. The count of norms goes on as
    long as one is entered, so take a new one for each pass of the network.
    `given_statistics(lambda _, measured: measured)` is instance norm itself, for a batch of one.
    """

    def __init__(self, choose: Choose) -> None:
        super().__init__()
        self._mine, self._place = choose, 0

    def __enter__(self) -> Self:
        self._token = _choose.set(self._mine)
        return super().__enter__()  # type: ignore[no-any-return, no-untyped-call]

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        _choose.reset(self._token)

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
        mean, variance = self._mine(self._place, measure(x))
        self._place += 1
        return F.batch_norm(x, mean, variance, norm["weight"], norm["bias"], training=False, eps=norm["eps"])
