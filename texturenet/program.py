"""How every program of ours ends: with 0, with 2 after an error as argparse has it, with 130 after Ctrl-C as shells do,
whether or not anybody reads what it prints.

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
from pathlib import Path
from typing import Any

FAILED, STOPPED = 2, 130


def run(name: str, work: Callable[[], int | None], stopped: str = "stopped") -> int:
    """The exit code: that of `work`, 0 for None.

    name     stands before an error
    stopped  the line after Ctrl-C: what became of the work
    """
    out, _ = _lasting("stdout"), _lasting("stderr")
    try:
        with _terminated_as_by_ctrl_c():
            code = work() or 0
    except (ValueError, OSError) as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return STOPPED
    sys.stdout.flush()
    if out and out.trouble:
        print(f"{name}: error: what it printed could not be written: {out.trouble}", file=sys.stderr)
        return FAILED
    return code


class _Stream(io.FileIO):
    """stdout or stderr that leads nowhere from where it can't be written on: its reader has gone (`| head`), a terminal
    is closed, a disk full. The work goes on.

    A progress bar that could not be written kept tqdm's lock, for which the next thread waited for ever.

    trouble  why, but for a reader that has gone
    """

    trouble: str | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                self.trouble = error.strerror
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return super().write(data)


def _lasting(name: str) -> _Stream | None:
    """Put a `_Stream` in the place of sys.stdout or sys.stderr, if that is the process's own."""
    before = getattr(sys, name)
    if before is None:  # closed by whoever started us, and print and tqdm would write to it
        setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  for as long as the process lives
    elif os.name == "posix" and before is getattr(sys, f"__{name}__"):
        stream = _Stream(before.fileno(), "w", closefd=False)
        # Names that the terminal can't show are no reason to fail.
        text = io.TextIOWrapper(
            io.BufferedWriter(stream), before.encoding, "backslashreplace", line_buffering=before.line_buffering
        )
        setattr(sys, name, text)
        return stream
    elif isinstance(before, io.TextIOWrapper):
        before.reconfigure(errors="backslashreplace")
    return None


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
