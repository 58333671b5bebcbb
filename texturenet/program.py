"""How every program of ours ends: with 0, with 2 after an error as argparse has it, with 130 after Ctrl-C as shells do,
and with 141, without a word, where whoever reads its output has read enough (`| head`).

An error is one line on stderr that names the value and the way out. A fault of ours, which is what any other exception
is, keeps its traceback. SIGTERM, by which batch systems and containers end a program, does what Ctrl-C does, so that
what there is by then is kept.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

FAILED, STOPPED, UNREAD = 2, 130, 141


def run(name: str, work: Callable[[], int | None], stopped: str = "stopped") -> int:
    """The exit code: that of `work`, 0 for None.

    name     stands before an error
    stopped  the line after Ctrl-C: what became of the work
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names that the terminal can't show are no reason to fail
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        told = io.BufferedWriter(_Told(sys.stderr.fileno(), "w", closefd=False))
        sys.stderr = io.TextIOWrapper(told, sys.stderr.encoding, "backslashreplace", line_buffering=True)
    try:
        with _terminated_as_by_ctrl_c():
            return _flushed(work) or 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the very end
        return UNREAD
    except (ValueError, OSError) as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return STOPPED


class _Told(io.FileIO):
    """stderr, which leads nowhere once its reader has gone (`2>&1 | head`, a terminal closed); the work goes on.

    A progress bar that could not be written kept tqdm's lock, for which the next thread waited for ever.
    """

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return super().write(data)


def _flushed(work: Callable[[], int | None]) -> int | None:
    """What it returns, once all that it printed is out."""
    out = sys.stdout or io.StringIO()  # none, where it was closed
    try:
        code = work()
    except SystemExit:  # argparse's, after --help
        out.flush()
        raise
    out.flush()
    return code


@contextlib.contextmanager
def _terminated_as_by_ctrl_c() -> Iterator[None]:
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not the main thread: whoever started us handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
