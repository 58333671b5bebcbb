"""`python -m texturenet.gui` as a user types it."""

from __future__ import annotations

import importlib.util
import socket

import pytest

from texturenet.gui import __main__ as door
from texturenet.gui import page


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, str | None]]:
    calls: list[tuple[str, int, str | None]] = []
    monkeypatch.setattr(page, "serve", lambda *words: calls.append(words))
    monkeypatch.delenv(door.TOKEN, raising=False)
    return calls


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def test_for_this_machine_alone(served: list[tuple[str, int, str | None]], capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert door.main(["--port", str(port)]) == 0
    assert served == [("127.0.0.1", port, None)]
    said = capsys.readouterr()
    assert f"http://127.0.0.1:{port}/ " in said.out
    assert said.err == ""


def test_for_others_a_warning_and_a_token(
    served: list[tuple[str, int, str | None]], capsys: pytest.CaptureFixture[str]
) -> None:
    door.main(["--host", "0.0.0.0", "--port", str(free_port())])
    ((_, _, token),) = served
    said = capsys.readouterr()
    assert token is not None
    assert len(token) > 16
    assert f"?token={token}" in said.out
    assert said.err.startswith("warning: 0.0.0.0 can be reached from other machines")


def test_a_password_of_ones_own_is_not_printed(
    served: list[tuple[str, int, str | None]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(door.TOKEN, "my secret")
    door.main(["--host", "0.0.0.0", "--port", str(free_port())])
    assert served[0][2] == "my secret"
    assert "my secret" not in "".join(capsys.readouterr())


def test_without_nicegui_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match="pip install 'nicegui>=3"):
        door.main([])


def test_a_port_that_is_taken() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port}: Address already in use; give another --port"):
            door.main(["--port", str(port)])
    with pytest.raises(ValueError, match="99999 is no port"):
        door.main(["--port", "99999"])
