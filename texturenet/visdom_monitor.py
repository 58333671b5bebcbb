"""The visdom page of a training run: curves and previews, live, for `--viz`.

A listener of monitor.py that must never cost a run anything: the server may be missing, hang, die and come back.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from texturenet.monitor import PreviewEvent, StepEvent, notice

MAX_POINTS = 2000  # points kept of a curve: more than a screen has columns, and a redraw stays near 1 MB
DRAW_EVERY = 2.0  # seconds between redraws, at least
RETRY_EVERY = 10.0  # seconds between attempts to reach a server that is away
TIMEOUT = (1.0, 5.0)  # seconds to connect, and to wait for an answer
CLOSE_WAIT = 10.0  # seconds that close() gives to the last redraw
MAX_PREVIEWS, PREVIEW_SIZE = 16, 512  # photos in the image window, and the longer side of each in pixels


def require() -> None:
    """Raises ValueError where visdom is not installed."""
    if find_spec("visdom") is None:
        raise ValueError(
            "--viz needs visdom, which is not installed: run `python -m texturenet.visdom_server --install` once"
        )


class VisdomMonitor:
    """Curves and previews in a visdom page, drawn by a thread of its own.

    The points live here: every redraw sends whole curves, so a server that was killed and started again, or that
    starts after the run does, shows all of them. `history` takes the rows of `read_log` when a run is resumed.
    `client_factory` makes the object that talks to the server (default: visdom's own client).
    """

    def __init__(
        self,
        server: str = "http://localhost",
        port: int = 8097,
        env: str = "texturenet",
        history: Iterable[dict[str, Any]] = (),
        log_path: Path | str | None = None,
        client_factory: Callable[[], Any] | None = None,
    ) -> None:
        self._new_client = client_factory or partial(_visdom_client, server, port, env)
        self._client: Any = None
        self._address, self._env = f"{server.rstrip('/')}:{port}", env
        self._log_name = "the log" if log_path is None else str(log_path)

        self._lock = threading.Lock()
        self._rows: list[tuple[int, dict[str, float]]] = []  # every stride-th event
        self._newest: tuple[int, dict[str, float]] | None = None
        self._seen, self._stride = 0, 1
        self._preview: tuple[int, Tensor] | None = None
        self._drawn_preview = -1  # step of the preview that the server was given last
        for row in history:
            if row.get("event") == "step":
                losses = {name: math.nan if value is None else value for name, value in row["losses"].items()}
                self._keep(row["step"], losses)

        self._told_away = self._told_here = False
        self._changed, self._closing = threading.Event(), threading.Event()
        self._changed.set()  # look for the server at once, so that its absence is said at the start
        self._thread = threading.Thread(target=self._draw_on_change, name="visdom", daemon=True)
        self._thread.start()

    def on_step(self, event: StepEvent) -> None:
        self._keep(event.step, event.losses)
        self._changed.set()

    def on_preview(self, event: PreviewEvent) -> None:
        images = event.images[:MAX_PREVIEWS].detach().float()  # (B, 3, H, W)
        scale = PREVIEW_SIZE / max(images.shape[-2:])
        if scale < 1:
            size = [max(1, round(side * scale)) for side in images.shape[-2:]]
            images = F.interpolate(images, size=size, mode="area")
        # A copy within [0, 1]: the client takes a picture with a value above 1 for one in [0, 255].
        with self._lock:
            self._preview = event.step, images.clamp(0, 1).clone()
        self._changed.set()

    def close(self) -> None:
        """Draw what is still to be drawn, have the server save it, and stop."""
        self._closing.set()
        self._changed.set()
        self._thread.join(CLOSE_WAIT)

    def _keep(self, step: int, losses: dict[str, float]) -> None:
        """Evenly thinned: past MAX_POINTS every second point goes, and from then on only every second one comes."""
        with self._lock:
            while self._rows and self._rows[-1][0] >= step:  # the run was put back
                self._rows.pop()
            self._newest = step, dict(losses)
            if self._seen % self._stride == 0:
                self._rows.append(self._newest)
            self._seen += 1
            if len(self._rows) > MAX_POINTS:
                self._rows = self._rows[::2]
                self._stride *= 2

    def _draw_on_change(self) -> None:
        while not self._closing.is_set():
            self._changed.wait()
            self._changed.clear()
            start = time.monotonic()
            if self._draw():
                # However long a redraw takes, it takes at most a twentieth of the time.
                self._closing.wait(max(DRAW_EVERY, 20 * (time.monotonic() - start)))
            else:
                self._changed.set()
                self._closing.wait(RETRY_EVERY)
        self._draw(save=True)

    def _draw(self, save: bool = False) -> bool:
        """Send everything; False where the server could not be reached."""
        with self._lock:
            rows, preview = list(self._rows), self._preview
            if self._newest is not None and (not rows or rows[-1] is not self._newest):
                rows.append(self._newest)
        try:
            if self._client is None:
                self._client = self._new_client()
            self._draw_curves(rows)
            if preview is not None:
                save = self._draw_preview(*preview) or save
            if save:
                self._client.save([self._env])
        except Exception as error:  # the client's own faults as well as the network's: a screen never stops a run
            self._client = None
            if not self._told_away:
                notice(self._away_message(error))
            self._told_away = True
            return False
        if not self._told_here:
            notice(f"visdom: curves at {self._address}/env/{self._env}")
        self._told_here = True
        return True

    def _away_message(self, error: Exception) -> str:
        reason = f"no server at {self._address}" if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        return (
            f"visdom: {reason} – start one with `python -m texturenet.visdom_server`; "
            f"training goes on, curves are kept in {self._log_name}"
        )

    def _draw_curves(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        steps = np.array([step for step, _ in rows])
        names = dict.fromkeys(name for _, losses in rows for name in losses)
        # Inf is no JSON and would break the page; NaN leaves a gap in the curve.
        curves = {}
        for name in names:
            values = np.array([losses.get(name, math.nan) for _, losses in rows], dtype=np.float64)
            curves[name] = np.where(np.isfinite(values), values, math.nan)
        relative = {}
        for name, values in curves.items():
            known = values[values > 0]
            if known.size:
                relative[name] = values / known[0]
        sums = {name: values for name, values in curves.items() if "/" not in name}
        layers = {name: values for name, values in curves.items() if "/" in name}

        self._draw_lines("losses", "loss terms", steps, sums)
        self._draw_lines("layers", "loss per layer", steps, layers)
        self._draw_lines("relative", "relative to the first value", steps, relative)

    def _draw_lines(self, win: str, title: str, steps: np.ndarray, curves: dict[str, np.ndarray]) -> None:
        if not curves:
            return
        self._client.line(
            X=steps,
            Y=np.stack(list(curves.values()), axis=1),  # (points, curves)
            win=win,
            env=self._env,
            opts={
                "title": title,
                "legend": list(curves),
                "xlabel": "step",
                "ytype": "log",
                "width": 560,
                "height": 380,
            },
        )

    def _draw_preview(self, step: int, images: Tensor) -> bool:
        """Send the newest preview, unless the server has it already; True where it was sent."""
        if step == self._drawn_preview and self._client.win_exists("preview", env=self._env):
            return False
        columns = math.ceil(math.sqrt(len(images)))
        height, width = images.shape[-2] * math.ceil(len(images) / columns), images.shape[-1] * columns
        scale = 400 / max(height, width)  # the window's longer side is 400 pixels, whatever the pictures' size
        self._client.images(
            images.numpy(),
            nrow=columns,
            win="preview",
            env=self._env,
            opts={
                "title": "preview",
                "caption": f"step {step}",
                "jpgquality": 90,
                "width": round(width * scale),
                "height": round(height * scale) + 20,  # and the caption
            },
        )
        self._drawn_preview = step
        return True


def _visdom_client(server: str, port: int, env: str) -> Any:
    """Visdom's client, made to raise OSError soon and quietly where its server does not answer."""
    import visdom

    logging.getLogger("visdom").setLevel(logging.CRITICAL)
    host = urlparse(server if "//" in server else f"//{server}").hostname

    class Client(visdom.Visdom):  # type: ignore[misc]  # untyped
        def _handle_post(self, url: str, data: Any = None) -> Any:
            # Visdom's own has no time-outs, and takes a refusal (403, 404) for a success.
            if host in ("localhost", "127.0.0.1", "::1"):
                self.session.trust_env = False  # a proxy for the internet can't reach this machine's own server
            response = self.session.post(url, data=data or {}, timeout=TIMEOUT)
            response.raise_for_status()
            return response.text

    return Client(server=server, port=port, env=env, raise_exceptions=True, use_incoming_socket=False)
