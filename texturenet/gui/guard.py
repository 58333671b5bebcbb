"""Who may use the page. An ASGI layer around all of it, its WebSocket too.

On the machine itself no password is asked for, but a page of somebody else's, open in the same browser, must not reach
this one: the Host header has to be this machine (DNS rebinding) and an Origin has to be the page itself. From other
machines a token is needed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

COOKIE = "texturenet"
WRONG_TOKEN_PAUSE = 1.0  # seconds, so that guessing is slow

_LOGIN = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>texturenet</title>
<style>:root {{ color-scheme: light dark }} body {{ font: 16px/1.5 system-ui, sans-serif; display: grid;
place-items: center; min-height: 90vh }} form {{ display: grid; gap: 12px; width: 280px }}
input, button {{ font: inherit; padding: 10px; border-radius: 8px; border: 1px solid #8888 }}</style>
<form method="post" action="/"><h1>texturenet</h1><label for="token">{said}</label>
<input id="token" name="token" type="password" autocomplete="current-password" autofocus required>
<button>Open the page</button></form></html>"""


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server at that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """Wraps an ASGI application.

    token  that has to be known; None: whoever is on this machine may come in, by its own names
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], token: str | None) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        host = headers.get("host", "")
        origin = headers.get("origin")
        if (self.token is None and not _names_this_machine(host)) or (origin and urlsplit(origin).netloc != host):
            await _refuse(scope, send, 403, "This page answers only to its own address.")
        elif self.token is None or self._knows(headers.get("cookie", "")):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await _refuse(scope, send, 403, "")
        else:
            await self._log_in(scope, receive, send)

    def _knows(self, cookies: str) -> bool:
        # Not http.cookies', which gives up at the first cookie of another program that it finds odd.
        ours = dict(cookie.strip().partition("=")[::2] for cookie in cookies.split(";")).get(COOKIE, "")
        return hmac.compare_digest(ours.encode(), self._pass.encode())

    def _right(self, offered: str) -> bool:
        return hmac.compare_digest(offered.encode(), (self.token or "").encode())

    @property
    def _pass(self) -> str:
        """What a browser that knows the token keeps in its place: letters that any cookie may have."""
        return hashlib.sha256((self.token or "").encode()).hexdigest()

    async def _log_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The token out of the printed link or the form -> a cookie; else the form."""
        if scope["method"] == "POST" and scope["path"] == "/":
            fields = parse_qs((await _body(receive)).decode("latin-1"))
        else:
            fields = parse_qs(scope["query_string"].decode("latin-1"))
        offered = fields.get("token", [""])[0]
        if self._right(offered):
            cookie = f"{COOKIE}={self._pass}; HttpOnly; SameSite=Strict; Path=/"
            await _answer(send, 303, b"", [(b"location", b"/"), (b"set-cookie", cookie.encode())])
            return
        if offered:
            await asyncio.sleep(WRONG_TOKEN_PAUSE)
        said = "That was not it. Password:" if offered else "Password, as printed where the server was started:"
        await _answer(send, 401, _LOGIN.format(said=said).encode(), [(b"content-type", b"text/html; charset=utf-8")])


def _names_this_machine(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname
    return name is not None and is_local(name)


async def _body(receive: Receive, most: int = 4096) -> bytes:
    body = b""
    while len(body) <= most:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body[:most]


async def _refuse(scope: Scope, send: Send, status: int, text: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
    else:
        await _answer(send, status, text.encode(), [(b"content-type", b"text/plain; charset=utf-8")])


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
