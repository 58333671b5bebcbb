"""Everything that `--viz` needs, in one command, then the visdom server itself:

python -m texturenet.visdom_server                    # install what is missing, serve http://localhost:8097
python -m texturenet.visdom_server --port 9000        # and train with --visdom_port 9000
python -m texturenet.visdom_server --install          # install only

Visdom 0.2.4 comes as source that newer setuptools cannot build, shows an empty page under newer tornado, and fetches
the scripts of its page from the internet at its first start. Here pip gets the constraints, and the scripts come from
where visdom looks for them or, where that is out of reach, from the same packages in the npm registry.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import logging
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from functools import cache
from http.client import HTTPException
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.request import Request, urlopen

VISDOM = "visdom==0.2.4"
TORNADO = "tornado<6.6"  # from 6.6 on, every page of visdom 0.2.4 is a 403
CONSTRAINTS = "setuptools<81\n"  # visdom's setup.py needs pkg_resources, gone since
ANSWER_WITHIN = 5.0  # seconds that a host of page files has to answer before npm is asked instead
NPM_WITHIN = 180.0  # seconds for one package


def missing_packages() -> list[str]:
    """What pip has to install so that visdom works here."""
    tornado = _installed("tornado")
    wanted = [] if _installed("visdom") else [VISDOM]
    if not tornado or tuple(int(part) for part in tornado.split(".")[:2]) >= (6, 6):
        wanted.append(TORNADO)
    return [VISDOM, TORNADO] if VISDOM in wanted else wanted


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def install_packages(packages: Sequence[str]) -> None:
    """Install with pip into the running interpreter's environment; OSError with pip's reason where that fails."""
    print(f"installing {' '.join(packages)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text(CONSTRAINTS, encoding="utf-8")
        env = dict(os.environ)
        # Only the environment reaches pip's isolated builds: the first name up to pip 25, the second one since.
        for name in ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"):
            # As an address, since pip takes a blank for the end of a path.
            env[name] = f"{env.get(name, '')} {constraints.as_uri()}".strip()
        command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *packages]
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()] or ["it said nothing"]
        errors = [line for line in lines if line.lower().startswith("error")] or lines
        raise OSError(f"pip could not install {' '.join(packages)}: {errors[-1]}")
    importlib.invalidate_caches()


# Addresses of visdom's list that do not read host/package@version/file -> the npm package, and the file in it.
NPM_PLACES = {
    r"plotly-([\d.]+)\.min\.js$": (r"plotly.js-dist-min@\1", "plotly.min.js"),
    r"d3\.v3\.min\.js$": ("d3@3.5.17", "d3.min.js"),
    r"d3-selection-multi\.v1\.js$": ("d3-selection-multi@1.0.1", "build/d3-selection-multi.js"),
    r"/mathjax/([\d.]+)/([^?]+)": (r"mathjax@\1", r"\2"),
    r"://[^/]+/([\w.-]+@[\d.]+)/([^?#]+)": (r"\1", r"\2"),
    r"://[^/]+/([\w.-]+@[\d.]+)$": (r"\1", "index.js"),
}


def npm_place(url: str) -> tuple[str, str]:
    """Where npm keeps the file at an address of visdom's list: `name@version`, and the path in that package."""
    for pattern, (package, member) in NPM_PLACES.items():
        if found := re.search(pattern, url):
            return found.expand(package), found.expand(member)
    raise OSError(f"no npm package is known for {url}")


class PageFiles:
    """The content of the addresses that visdom asks for: from their own hosts, and from npm once one has failed."""

    def __init__(self, scratch: Path) -> None:
        self._hosts_answer = True
        self._pack = cache(lambda package: _npm_pack(package, scratch))

    def fetch(self, url: str) -> bytes:
        if self._hosts_answer:
            request = Request(url.replace("http://", "https://"), headers={"User-Agent": "Mozilla/5.0"})
            try:
                with urlopen(request, timeout=ANSWER_WITHIN) as answer:
                    content: bytes = answer.read()
                    return content
            except (OSError, HTTPException):
                self._hosts_answer = False
        package, member = npm_place(url)
        with tarfile.open(self._pack(package)) as archive:
            for entry in archive:
                # npm's archives hold one folder, whose name is not always the same.
                if entry.isfile() and entry.name.partition("/")[2] == member:
                    found = archive.extractfile(entry)
                    assert found is not None  # it is a file
                    return found.read()
        raise OSError(f"no {member} in the npm package {package}")


def _npm_pack(package: str, folder: Path) -> Path:
    """Download one npm package's archive."""
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("the hosts of visdom's page files do not answer, and npm is not installed")
    command = [npm, "pack", "--silent", "--ignore-scripts", package]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=NPM_WITHIN)
    except subprocess.TimeoutExpired:
        raise OSError(f"npm gave no answer about {package} for {NPM_WITHIN:.0f} s") from None
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise OSError(f"the hosts of visdom's page files do not answer, and npm has no {package}: {reason[-1]}")
    return folder / done.stdout.split()[-1]


def complete_page() -> None:
    """Get the files of visdom's page that are missing, and mark it built; OSError where they cannot be had."""
    from visdom.server import build

    with tempfile.TemporaryDirectory() as scratch:
        files = PageFiles(Path(scratch))
        # Visdom's own downloader knows each file's address and place, so it runs as it is, with other hands:
        # its own ones wait for ever for a host that is silent.
        hands = SimpleNamespace(
            BaseHandler=object,
            build_opener=lambda _handler: SimpleNamespace(open=lambda url: io.BytesIO(files.fetch(url))),
            install_opener=lambda _opener: None,
            Request=lambda url, headers: url,  # noqa: ARG005
        )
        get: Any = lambda url: SimpleNamespace(content=files.fetch(url))  # noqa: E731
        with mock.patch.object(build, "request", hands), mock.patch("requests.get", get):
            build.download_scripts()


def page_folder() -> Path:
    """Where visdom keeps the files of its page."""
    import visdom

    return Path(visdom.__file__).parent / "static"


def serve(port: int, env_path: Path) -> None:
    """Serve this machine alone until Ctrl-C; OSError where the port is taken."""
    from visdom.server.run_server import start_server

    def say(port: int) -> None:
        print(f"visdom: open http://localhost:{port} (Ctrl-C stops it)", flush=True)

    # Tornado would report the user's own style sheet as missing at every look at the page.
    logging.getLogger("tornado.general").setLevel(logging.CRITICAL)
    env_path.mkdir(parents=True, exist_ok=True)
    # base_url: the function's own default, "/", gives addresses that start with "//".
    start_server(port=port, base_url="", env_path=str(env_path), bind_local=True, print_func=say)


def main(argv: Sequence[str] | None = None) -> int:
    """Install, complete, serve; the exit code."""
    assert __doc__
    parser = argparse.ArgumentParser(
        prog="python -m texturenet.visdom_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8097, help="port on localhost (default %(default)s)")
    parser.add_argument(
        "--env_path",
        type=Path,
        default=Path.home() / ".visdom",
        help="folder where the server saves its curves (default %(default)s)",
    )
    parser.add_argument("--install", action="store_true", help="install only, start nothing")
    args = parser.parse_args(argv)
    if not 0 < args.port < 65536:
        parser.error(f"--port {args.port} is no port: take one from 1 to 65535")

    try:
        if packages := missing_packages():
            install_packages(packages)
        try:
            complete_page()
            complete = True
        except OSError as error:
            complete = False
            print(
                f"visdom: {error}; curves are recorded but the page stays blank until {page_folder()} holds the files "
                "that visdom/server/build.py lists: run this again with internet or npm, or put them there",
                file=sys.stderr,
            )
        if args.install:
            return 0 if complete else 2
        serve(args.port, args.env_path)
    except KeyboardInterrupt:
        print("visdom: stopped")
    except (OSError, ImportError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = f"port {args.port} is taken: --port N chooses another" if taken else str(error)
        print(f"visdom: {reason}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
