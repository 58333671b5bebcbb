"""The page as a whole: its head, the four steps, light and dark; and the server under it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from nicegui import app, ui

from texturenet import curves
from texturenet.gui import guard, routes, step_photos, step_texture
from texturenet.gui.step_stylize import StylizeStep
from texturenet.gui.step_train import TrainStep
from texturenet.gui.studio import Studio
from texturenet.gui.training import ENDED

STEPS = ("Photos", "Texture", "Train", "Stylize")
STYLE = Path(__file__).with_name("style.css")
SCRIPT = Path(__file__).with_name("page.js")
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#3b50c8"/>'
    '<path d="M6 6h9v7l-9 4zM17 6h9v5l-9 6zM6 19l8-3 3 10H6zM19 18l7-5v13h-6z" fill="#fff"/></svg>'
)


def serve(host: str, port: int, token: str | None, studio: Studio | None = None) -> None:
    """Serve the page until Ctrl-C. `token`: see guard.py."""
    studio = studio or Studio()
    routes.add(app, studio)
    app.add_middleware(guard.Guard, token=token)
    app.on_page_exception(_sorry)
    ui.page("/", title="texturenet", favicon=ICON)(lambda: _page(studio))
    app.on_connect(_once(studio.warm_up))
    app.on_shutdown(studio.close)
    logging.getLogger("nicegui").setLevel(logging.ERROR)
    ui.run(
        host=host,
        port=port,
        reload=False,
        show=False,
        dark=None,
        show_welcome_message=False,
        reconnect_timeout=20,
        binding_refresh_interval=None,
    )


def _once(work: Callable[[], None]) -> Callable[[], None]:
    """`work` in a thread at the first call alone."""
    started = threading.Event()

    def begin() -> None:
        if not started.is_set():
            started.set()
            threading.Thread(target=work, daemon=True).start()

    return begin


def _sorry() -> None:
    ui.label("The page could not be drawn. Load it again; what it was is told where the server was started.")


async def _page(studio: Studio) -> None:
    ui.add_css(STYLE.read_text(encoding="utf-8") + curves.CSS)
    ui.add_head_html(f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>")
    ui.colors(primary="#3b50c8")
    dark = ui.dark_mode(studio.desk.dark)

    with ui.element("header").classes("top"):
        ui.html(f"{ICON}<span>texturenet</span>").classes("brand")
        with ui.tabs().classes("steps").props('no-caps inline-label aria-label="Steps"') as tabs:
            for number, name in enumerate(STEPS, 1):
                with ui.tab(name, label=""):
                    ui.html(f"<i>{number}</i><span>{name}</span>").classes("step")
        with ui.element("button").classes("theme").props('type="button" aria-label="Light or dark"') as theme:
            ui.icon("contrast")

    def go_to(name: str) -> None:
        tabs.set_value(name)

    with ui.tab_panels(tabs, value=STEPS[0]).props("keep-alive").classes("full bare pages") as panels:
        with ui.tab_panel("Photos"):
            step_photos.build(studio, lambda: go_to("Texture"))
        with ui.tab_panel("Texture"):
            draw_texture = step_texture.build(studio, lambda: go_to("Train"))
        with ui.tab_panel("Train"):
            train = TrainStep(studio, lambda: go_to("Stylize"))
        with ui.tab_panel("Stylize"):
            stylize = StylizeStep(studio)

    async def looked_at(name: str) -> None:
        if name == "Texture":
            draw_texture()
        elif name == "Train":
            await train.opened()
        elif name == "Stylize":
            status = studio.trainings.status()
            await stylize.opened(status.name if status is not None and not stylize.settings else "")

    panels.on_value_change(lambda event: looked_at(event.value))

    async def turn() -> None:
        is_dark = await ui.run_javascript("document.body.classList.contains('body--dark')", timeout=5)
        dark.set_value(not is_dark)
        studio.desk.dark = not is_dark
        await asyncio.to_thread(studio.desk.save)

    theme.on("click", turn)
    status = studio.trainings.status()
    if status is not None and status.state not in ENDED:
        go_to("Train")
