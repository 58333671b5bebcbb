"""Who may use the page, asked over HTTP and over a WebSocket."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from texturenet.gui import guard


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


def client(token: str | None, url: str = "http://127.0.0.1:8080") -> TestClient:
    app = Starlette(
        routes=[
            Route("/", lambda _: PlainTextResponse("inside"), methods=["GET", "POST"]),
            WebSocketRoute("/ws", talk),
        ]
    )
    app.add_middleware(guard.Guard, token=token)
    return TestClient(app, url)


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True)]
    + [("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("localhost.example.org", False)],
)
def test_is_local(host: str, local: bool) -> None:
    assert guard.is_local(host) is local


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"])
def test_this_machine_needs_no_token(host: str) -> None:
    assert client(None).get("/", headers={"host": host}).text == "inside"


@pytest.mark.parametrize("host", ["evil.example:8080", "10.0.0.1", ""])
def test_another_name_for_this_machine_is_refused(host: str) -> None:
    """DNS rebinding: a stranger's name that leads here."""
    assert client(None).get("/", headers={"host": host}).status_code == 403


def test_a_page_of_somebody_else_is_refused() -> None:
    origin = {"origin": "http://evil.example"}
    assert client(None).post("/", headers=origin).status_code == 403
    with pytest.raises(WebSocketDisconnect), client(None).websocket_connect("/ws", headers=origin):
        pass


def test_the_page_itself_may_talk() -> None:
    own = {"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:8080"}
    with client(None).websocket_connect("/ws", headers=own) as socket:
        assert socket.receive_text() == "hello"


def test_without_the_token_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "WRONG_TOKEN_PAUSE", 0)
    stranger = client("secret", "http://192.168.1.5:8080")
    for answer in (stranger.get("/"), stranger.get("/?token=guess"), stranger.post("/", data={"token": "guess"})):
        assert answer.status_code == 401
        assert "inside" not in answer.text
    with pytest.raises(WebSocketDisconnect), stranger.websocket_connect("ws://192.168.1.5:8080/ws"):
        pass


@pytest.mark.parametrize("how", ["link", "form"])
@pytest.mark.parametrize("token", ["secret", 'grüße; a "b"'])
def test_the_token_opens_all_once(how: str, token: str) -> None:
    friend = client(token, "http://192.168.1.5:8080")
    if how == "link":
        answer = friend.get("/", params={"token": token}, follow_redirects=False)
    else:
        answer = friend.post("/", data={"token": token}, follow_redirects=False)
    assert answer.status_code == 303
    assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
    assert "token" not in answer.headers["location"]
    assert token not in answer.headers["set-cookie"]
    assert friend.get("/").text == "inside"
    odd = f'session={{"id": 7}}; {guard.COOKIE}={friend.cookies[guard.COOKIE]}; a'  # another program of this host
    assert client(token, "http://192.168.1.5:8080").get("/", headers={"cookie": odd}).text == "inside"
    with friend.websocket_connect("ws://192.168.1.5:8080/ws") as socket:
        assert socket.receive_text() == "hello"
