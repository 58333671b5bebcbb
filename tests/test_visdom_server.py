"""The command that makes --viz work, and the real server behind the real client."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest
import torch

from texturenet import visdom_monitor, visdom_server
from texturenet.monitor import PreviewEvent, StepEvent
from texturenet.visdom_monitor import VisdomMonitor
from texturenet.visdom_server import PageFiles, install_packages, main, missing_packages, npm_place

needs_visdom = pytest.mark.skipif(find_spec("visdom") is None, reason="visdom is not installed")


# --- installing


@pytest.mark.parametrize(
    ("visdom", "tornado", "wanted"),
    [
        ("", "", ["visdom==0.2.4", "tornado<6.6"]),
        ("", "6.5.1", ["visdom==0.2.4", "tornado<6.6"]),
        ("0.2.4", "6.6", ["tornado<6.6"]),
        ("0.2.4", "6.5.10", []),
        ("0.2.4", "5.1", []),
    ],
)
def test_missing_packages(monkeypatch: pytest.MonkeyPatch, visdom: str, tornado: str, wanted: list[str]) -> None:
    monkeypatch.setattr(visdom_server, "_installed", {"visdom": visdom, "tornado": tornado}.get)
    assert missing_packages() == wanted


def test_failed_install_gives_pips_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(OSError, match=r"^pip could not install no-such-thing: ERROR: No matching distribution"):
        install_packages(["no-such-thing"])


def test_failed_install_ends_with_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(visdom_server, "missing_packages", lambda: ["no-such-thing"])
    assert main(["--install"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_pip_gets_the_constraints_under_both_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: dict[str, str] = {}

    def run(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        seen.update(env)
        return subprocess.CompletedProcess(command, 0, stdout="")

    blank = tmp_path / "a b"
    blank.mkdir()
    monkeypatch.setattr(visdom_server.tempfile, "tempdir", str(blank))
    monkeypatch.setattr(visdom_server.subprocess, "run", run)
    monkeypatch.setenv("PIP_CONSTRAINT", "mine.txt")
    install_packages(["x"])
    assert re.fullmatch(r"mine\.txt file://\S+/constraints\.txt", seen["PIP_CONSTRAINT"])
    assert re.fullmatch(r"file://\S+/constraints\.txt", seen["PIP_BUILD_CONSTRAINT"])


# --- the files of the page


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("bootstrap@3.3.7/dist/fonts/g.svg#name", ("bootstrap@3.3.7", "dist/fonts/g.svg")),
        ("classnames@2.2.5", ("classnames@2.2.5", "index.js")),
        ("plotly-2.11.1.min.js", ("plotly.js-dist-min@2.11.1", "plotly.min.js")),
        ("d3.v3.min.js", ("d3@3.5.17", "d3.min.js")),
        ("ajax/libs/mathjax/2.7.5/config/Safe.js?V=2.7.5", ("mathjax@2.7.5", "config/Safe.js")),
        ("mathjax/2.7.5/MathJax.js?config=A%2CB.js&#038;ver=4.1", ("mathjax@2.7.5", "MathJax.js")),
    ],
)
def test_npm_place(path: str, place: tuple[str, str]) -> None:
    assert npm_place(f"https://host.invalid/{path}") == place


def test_npm_is_asked_once_a_host_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def no_host(request: Any, **_: float) -> Any:
        asked.append(request.full_url)
        raise URLError("away")

    def pack(package: str, folder: Path) -> Path:
        asked.append(package)
        archive = folder / "p.tgz"
        with tarfile.open(archive, "w:gz") as tar:
            for name in ("a.js", "lib/b.js"):
                entry = tarfile.TarInfo(f"package/{name}")
                entry.size = len(name)
                tar.addfile(entry, io.BytesIO(name.encode()))
        return archive

    monkeypatch.setattr(visdom_server, "urlopen", no_host)
    monkeypatch.setattr(visdom_server, "_npm_pack", pack)
    files = PageFiles(tmp_path)
    assert files.fetch("http://host.invalid/p@1.0/a.js") == b"a.js"
    assert files.fetch("https://host.invalid/p@1.0/lib/b.js") == b"lib/b.js"
    assert asked == ["https://host.invalid/p@1.0/a.js", "p@1.0"]
    with pytest.raises(OSError, match=r"no c\.js in the npm package p@1\.0"):
        files.fetch("https://host.invalid/p@1.0/c.js")


def test_no_host_and_no_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_host(_request: Any, **_: float) -> Any:
        raise URLError("away")

    monkeypatch.setattr(visdom_server, "urlopen", no_host)
    monkeypatch.setattr(visdom_server.shutil, "which", lambda _name: None)
    with pytest.raises(OSError, match="npm is not installed"):
        PageFiles(tmp_path).fetch("https://host.invalid/p@1.0/a.js")


# --- the real server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_server(port: int, env_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "texturenet.visdom_server", "--port", str(port), "--env_path", str(env_path)]
    root = Path(__file__).parent.parent
    server = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True, env=os.environ | {"CI": "1"})
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if f"open http://localhost:{port}" in line:
                break
        else:
            pytest.fail(f"the server ended with {server.wait()}")
        yield server
    finally:
        server.kill()
        server.wait()


def window(port: int, env: str, win: str) -> dict[str, Any]:
    client = visdom_monitor._visdom_client("http://localhost", port, env)
    return json.loads(client.get_window_data(win, env=env)) if client.win_exists(win, env=env) else {}


def wait_for_steps(port: int, env: str, steps: list[int]) -> None:
    shown: object = None
    for _ in range(600):  # a redraw that took long is followed by a wait twenty times as long
        shown = window(port, env, "losses").get("content", {}).get("data", [{}])[0].get("x")
        if shown == steps:
            return
        time.sleep(0.1)
    pytest.fail(f"the page shows {shown}, not {steps}")


def event(step: int) -> StepEvent:
    return StepEvent(step, 9, {"total": 1 / step, "style": 2 / step, "style/relu1_1": 3 / step}, 10.0, 0.1, 1e-3)


@pytest.mark.visdom
@needs_visdom
def test_server_killed_and_started_again_shows_every_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(visdom_monitor, "DRAW_EVERY", 0.2)
    monkeypatch.setattr(visdom_monitor, "RETRY_EVERY", 0.2)
    port, env = free_port(), "texturenet_mosaic"
    screen = VisdomMonitor(port=port, env=env)  # before its server
    with running_server(port, tmp_path):
        screen.on_step(event(1))
        screen.on_step(event(2))
        screen.on_preview(PreviewEvent(2, torch.rand(2, 3, 16, 16), None))
        wait_for_steps(port, env, [1, 2])
    screen.on_step(event(3))
    time.sleep(0.5)
    empty = tmp_path / "empty"  # so that nothing comes from what the first one saved
    with running_server(port, empty):
        screen.on_step(event(4))
        wait_for_steps(port, env, [1, 2, 3, 4])
        screen.close()
        for win in ("losses", "layers", "relative"):
            assert window(port, env, win)["content"]["data"][0]["x"] == [1, 2, 3, 4]
        assert window(port, env, "preview")["content"]["caption"] == "step 2"
        assert (empty / f"{env}.json").exists()
    out, err = capsys.readouterr()
    assert err.splitlines()[0].startswith(f"visdom: no server at http://localhost:{port} – start one with")
    assert err.count("\n") == 2
    assert "Traceback" not in out + err


@pytest.mark.visdom
@needs_visdom
def test_page_is_whole_and_local(tmp_path: Path) -> None:
    port = free_port()
    with running_server(port, tmp_path):
        address = f"http://127.0.0.1:{port}"
        html = urlopen(address).read().decode()
        files = re.findall(r"(?:src|href)=['\"]?([^\s'\">]+)", re.sub(r"<!--.*?-->", "", html, flags=re.DOTALL))
        scripts = [file for file in files if "static/" in file]
        assert len(scripts) > 12
        for file in scripts:
            assert file.startswith("/static/"), f"{file} is not served from here"
            with urlopen(urljoin(address, file)) as answer:
                assert answer.status == 200
                assert len(answer.read()) > 100 or "user/style.css" in file, f"{file} is empty"  # the user's own


@pytest.mark.visdom
@needs_visdom
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no 127.0.0.2 to bind")
def test_only_this_machine_is_served(tmp_path: Path) -> None:
    port = free_port()
    with running_server(port, tmp_path), socket.socket() as other:
        other.bind(("127.0.0.2", port))  # would be taken if the server listened on every address


@pytest.mark.visdom
@needs_visdom
def test_taken_port_ends_with_2_and_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--port", str(port), "--env_path", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"visdom: port {port} is taken: --port N chooses another\n"
