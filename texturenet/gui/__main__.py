#!/usr/bin/env python3
"""The web page: train a style on your photos and paint with it, in a browser.

python -m texturenet.gui                         http://127.0.0.1:8080, for this machine alone
python -m texturenet.gui --port 9000
TEXTURENET_TOKEN=secret python -m texturenet.gui --host 0.0.0.0      for others too, who need the password

Trainings run in processes of their own: Ctrl-C here, or a closed tab, does not end them.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import secrets
import socket
import sys

from texturenet import program

TOKEN = "TEXTURENET_TOKEN"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m texturenet.gui", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1", metavar="NAME", help="address to serve at (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, metavar="INT", help="(default: 8080)")
    return parser


def main(argv: list[str] | None = None) -> int:
    flags = parser().parse_args(argv)
    if importlib.util.find_spec("nicegui") is None:
        raise ValueError("the page needs NiceGUI, which is not installed: pip install 'nicegui>=3.18'")
    _require_free(flags.host, flags.port)
    from texturenet.gui import guard
    from texturenet.gui.page import serve

    token = None
    url = f"http://{f'[{flags.host}]' if ':' in flags.host else flags.host}:{flags.port}/"
    if not guard.is_local(flags.host):
        token = os.environ.get(TOKEN) or secrets.token_urlsafe(16)
        print(
            f"warning: {flags.host} can be reached from other machines, and the connection is not encrypted; whoever "
            f"has the password can read pictures on this one and use its processor",
            file=sys.stderr,
        )
        url += f"?token={token}" if not os.environ.get(TOKEN) else f"  (password: {TOKEN})"
    print(f"texturenet: {url}  (Ctrl-C ends the page, not a training)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):  # the server has shut down in good order by then
        serve(flags.host, flags.port, token)
    return 0


def _require_free(host: str, port: int) -> None:
    if not 0 < port < 2**16:
        raise ValueError(f"{port} is no port; give one from 1 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
    except OSError as error:
        raise OSError(f"can't serve at {host}, port {port}: {error.strerror}; give another --port or --host") from None


if __name__ == "__main__":
    sys.exit(program.run("python -m texturenet.gui", main))
