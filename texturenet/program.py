"""How every program of ours ends: with 0, with 2 after an error as argparse has it, with 130 after Ctrl-C as shells do.

An error is one line on stderr that names the value and the way out. A fault of ours, which is what any other exception
is, keeps its traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

FAILED, STOPPED = 2, 130


def run(name: str, work: Callable[[], int | None], stopped: str = "stopped") -> int:
    """The exit code: that of `work`, 0 for None.

    name     stands before an error
    stopped  the line after Ctrl-C: what became of the work
    """
    try:
        return work() or 0
    except (ValueError, OSError) as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return STOPPED
