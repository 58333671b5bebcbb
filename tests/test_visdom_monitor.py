"""The visdom page of a run: it keeps every point and costs the run nothing."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from texturenet import visdom_monitor
from texturenet.monitor import JsonlLog, PreviewEvent, StepEvent, read_log
from texturenet.visdom_monitor import VisdomMonitor


def event(step: int, **losses: float) -> StepEvent:
    named = {"total": 1 / step, "style": 0.8123, "content": 0.4411, "tv": 0.0, "style/relu1_1": 2 / step}
    return StepEvent(step, 2000, named | losses, images_per_second=12.34, data_wait=0.25, learning_rate=1e-3)


class Server:
    """Stands for a visdom server: what its windows hold now, and whether it answers."""

    def __init__(self) -> None:
        self.up = True
        self.windows: dict[str, dict[str, Any]] = {}
        self.saved: list[str] = []
        self.calls = 0

    def kill(self) -> None:
        self.up, self.windows = False, {}

    def client(self) -> Server:
        return self._answer()

    def _answer(self) -> Server:
        self.calls += 1
        if not self.up:
            raise ConnectionError
        return self

    def line(self, win: str, **window: Any) -> None:
        self._answer().windows[win] = window

    def images(self, images: torch.Tensor, win: str, **window: Any) -> None:
        self._answer().windows[win] = window | {"images": images}

    def win_exists(self, win: str, **_: Any) -> bool:
        return win in self._answer().windows

    def save(self, envs: list[str]) -> None:
        self._answer().saved = envs

    def steps(self) -> list[int]:
        return self.windows["losses"]["X"].tolist() if "losses" in self.windows else []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(visdom_monitor, "DRAW_EVERY", 0.01)
    monkeypatch.setattr(visdom_monitor, "RETRY_EVERY", 0.01)
    return Server()


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("waited 5 s for nothing")


def test_curves_and_preview_reach_their_windows(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    screen = VisdomMonitor(env="texturenet_mosaic", client_factory=server.client)
    for step in (1, 2, 4):
        screen.on_step(event(step, total=math.inf if step == 2 else 8 / step))
    screen.on_preview(PreviewEvent(4, torch.full((20, 3, 64, 1024), 1.5), None))
    screen.close()
    assert server.windows["losses"]["opts"]["legend"] == ["total", "style", "content", "tv"]
    assert server.windows["layers"]["opts"]["legend"] == ["style/relu1_1"]
    assert server.windows["relative"]["opts"]["legend"] == ["total", "style", "content", "style/relu1_1"]  # tv is 0
    assert server.steps() == [1, 2, 4]
    relative = server.windows["relative"]["Y"][:, 0].tolist()
    assert relative[0] == 1
    assert math.isnan(relative[1])
    assert relative[2] == 0.25
    preview = server.windows["preview"]
    assert preview["opts"]["caption"] == "step 4"
    assert preview["images"].shape == (16, 3, 32, 512)
    assert preview["images"].max() == 1
    assert server.saved == ["texturenet_mosaic"]
    assert capsys.readouterr().err == "visdom: curves at http://localhost:8097/env/texturenet_mosaic\n"


def test_server_that_was_lost_gets_every_point_again(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    screen = VisdomMonitor(env="e", log_path="log.jsonl", client_factory=server.client)
    screen.on_step(event(1))
    screen.on_preview(PreviewEvent(1, torch.zeros(1, 3, 8, 8), None))
    wait_for(lambda: server.steps() == [1] and "preview" in server.windows)
    server.kill()
    screen.on_step(event(2))
    calls = server.calls
    wait_for(lambda: server.calls > calls + 3)
    server.up = True
    wait_for(lambda: server.steps() == [1, 2] and "preview" in server.windows)
    server.windows = {}  # killed and started again between two redraws: nobody noticed
    screen.on_step(event(3))
    wait_for(lambda: server.steps() == [1, 2, 3] and "preview" in server.windows)
    screen.close()
    err = capsys.readouterr().err
    assert err.count("visdom: no server at http://localhost:8097 – start one with") == 1
    assert "curves are kept in log.jsonl" in err
    assert err.count("\n") == 2


def test_absent_server_delays_nothing(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.up = False
    before = set(threading.enumerate())
    start = time.monotonic()
    screen = VisdomMonitor(client_factory=server.client)
    for step in range(1, 1001):
        screen.on_step(event(step))
    screen.close()
    assert time.monotonic() - start < 2
    assert set(threading.enumerate()) == before
    assert capsys.readouterr().err.count("\n") == 1


def test_resumed_run_draws_its_log(server: Server, tmp_path: Path) -> None:
    log = JsonlLog(tmp_path / "log.jsonl")
    log.on_step(event(1, style=math.nan))
    log.on_preview(PreviewEvent(1, torch.zeros(1, 3, 4, 4), None))
    log.on_step(event(2))
    log.close()
    screen = VisdomMonitor(client_factory=server.client, history=read_log(log.path))
    screen.on_step(event(3))
    screen.close()
    assert server.steps() == [1, 2, 3]


def test_long_curves_are_thinned_evenly(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visdom_monitor, "MAX_POINTS", 100)
    screen = VisdomMonitor(client_factory=server.client)
    for step in range(1, 12346):
        screen.on_step(event(step))
    screen.close()
    steps = server.steps()
    assert len(steps) <= 101
    assert steps[0] == 1
    assert steps[-1] == 12345
    assert len({after - before for before, after in pairwise(steps[:-1])}) == 1


def test_fault_of_the_client_is_said_and_stops_nothing(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.line = None  # type: ignore[method-assign,assignment]
    screen = VisdomMonitor(client_factory=server.client)
    screen.on_step(event(1))
    screen.close()
    assert "visdom: TypeError: 'NoneType' object is not callable" in capsys.readouterr().err


def test_without_visdom_the_message_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visdom_monitor, "find_spec", lambda _name: None)
    with pytest.raises(ValueError, match=r"run `python -m texturenet.visdom_server --install`"):
        visdom_monitor.require()
