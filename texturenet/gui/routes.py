"""What the page fetches besides itself: pictures, downloads, uploads. No address holds a path.

An error is a sentence, as JSON for uploads; never a stack trace.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from urllib.parse import quote, unquote

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from texturenet.gui import uploads
from texturenet.gui.studio import Studio

_FRESH = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def add(app: FastAPI, studio: Studio) -> None:
    """Hang the routes into the server."""

    @app.get("/previews/{name}/{file}")
    def preview(name: str, file: str) -> Response:
        try:
            return FileResponse(uploads.inside(studio.run_dir, name, "previews", file), headers=_FRESH)
        except FileNotFoundError:
            raise HTTPException(404) from None

    @app.get("/paintings/{key}/{what}")
    def painting(key: str, what: str) -> Response:
        try:
            made = studio.easel.latest(key)
            if what == "file":
                return FileResponse(made.path, filename=made.path.name, headers=_FRESH)
            path = {"before": made.before, "after": made.view}[what]
        except KeyError:
            raise HTTPException(404) from None
        return FileResponse(path, media_type="image/jpeg", headers=_FRESH)

    @app.get("/reference/{what}")
    def reference(what: str) -> Response:
        picture = {"pass": studio.reference.one_pass, "iterate": studio.reference.picture}.get(what)
        if not picture:
            raise HTTPException(404)
        return Response(picture, media_type="image/jpeg", headers=_FRESH)

    @app.post("/upload/{kind}")
    async def upload(kind: str, request: Request) -> Response:
        takers = {"photo": _photo, "texture": _texture, "style": _style}
        if kind not in takers:
            raise HTTPException(404)
        try:
            # A page of somebody else's can't send this header without asking first, and nobody would answer.
            name = unquote(request.headers["x-file-name"])
            path = await uploads.receive(request.stream(), studio.temporary, name)
            await asyncio.to_thread(takers[kind], studio, path)
        except KeyError:
            return JSONResponse({"error": "an upload needs its file's name"}, 400)
        except (ValueError, OSError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"name": path.name})


def painting_url(key: str, what: str, version: int) -> str:
    """`version`: so that no browser shows an older one."""
    return f"/paintings/{key}/{what}?v={version}"


def preview_url(name: str, file: str) -> str:
    return f"/previews/{quote(name)}/{quote(file)}"


def _photo(studio: Studio, path: Path) -> None:
    studio.easel.add(path)


def _texture(studio: Studio, path: Path) -> None:
    try:
        uploads.open_picture(path)
        kept = studio.desk.uploads / path.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept)
        studio.choose_texture(kept)
    finally:
        uploads.discard(path)


def _style(studio: Studio, path: Path) -> None:
    try:
        studio.gallery.add(path)
    finally:
        uploads.discard(path)
