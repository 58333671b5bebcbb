"""Step 4: photos, painted; and beside one of them the slow reference."""

from __future__ import annotations

import asyncio
import dataclasses
import html
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nicegui import ui

from texturenet.gui import parts, routes
from texturenet.gui.reference_tab import ReferenceTab
from texturenet.gui.studio import Studio

if TYPE_CHECKING:
    from texturenet.gui.easel import Settings
    from texturenet.gui.gallery import Card

SIZES = {512: "512 px", 1024: "1024 px", 2048: "2048 px", 0: "no limit"}
REFINE = 10  # iterations
COLOURS = {"": "the style's", "luma": "the photo's", "hist": "the photo's palette"}


class StylizeStep:
    """The fourth step; `opened` when its tab is looked at."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.settings: Settings | None = None  # None until a style is chosen
        self.current = ""  # key of the photo in view
        self._version, self._turn = 0, 0
        self._latest = parts.Latest(0.15)
        self._tiles: dict[Path, ui.element] = {}
        with ui.element("header").classes("intro"):
            ui.html("Paint your photos", tag="h1")
            ui.html("Photos stay on this machine. Nothing is sent anywhere.", tag="p")
        with ui.tabs().classes("subtabs").props('no-caps dense align="left"') as tabs:
            painting, reference = ui.tab("Paint"), ui.tab("Reference")
        with ui.tab_panels(tabs, value=painting).props("keep-alive").classes("full bare"):
            with ui.tab_panel(painting), ui.element("div").classes("columns paint"):
                self._build_photos()
                self._build_look()
            with ui.tab_panel(reference):
                self._reference = ReferenceTab(studio)
        ui.on("uploaded", self._arrived)

    def _build_photos(self) -> None:
        with parts.card(classes="viewer"):
            self._view = ui.html("", sanitize=False).classes("full")
            self._sentence = parts.Sentence()
            self._strip = ui.element("div").classes("strip")
            parts.drop_zone("photo", "Add photos", "Drop them here, or choose files", several=True)
            with ui.element("div").classes("actions"):
                self._download = ui.html("").classes("download")
                self._all = parts.Button("Download all as zip", self.download_all)

    def _build_look(self) -> None:
        with parts.card("Style"):
            self._gallery = ui.element("div").classes("gallery").props('role="group" aria-label="Styles"')
            self._broken = ui.element("div").classes("full")
            with ui.expansion("Recipe and quality of this style").classes("full advanced") as self._about:
                self._facts = ui.html("")
            with ui.expansion("Add a style file").classes("full advanced"):
                parts.drop_zone("style", "Upload a style", "A .pt file made by train.py", ".pt")
            ui.html("Look", tag="h2")
            self._slider("Strength", 0, 1, 0.05, 1, "strength", "{:.0%}")
            self._slider("Stroke size", 1, 4, 0.25, 1, "strokes", "{:g} ×")
            self._noise = self._slider("Noise", 0, 2, 0.1, 1, "noise_factor", "{:g}")
            with ui.element("div").classes("beside"):
                seed = ui.number("Seed", value=0, min=0, precision=0).props("outlined dense").classes("fill")
                seed.on_value_change(lambda event: self._change(seed=max(0, int(event.value or 0))))
                size = ui.select(SIZES, value=1024, label="Size at most").props("outlined dense").classes("fill")
                size.on_value_change(lambda event: self._change(size=event.value or None))
            colours = ui.select(COLOURS, value="", label="Colours").props("outlined dense").classes("full")
            colours.on_value_change(lambda event: self._change(preserve_color=event.value or None))
            refine = ui.switch("Refine").classes("full")
            refine.on_value_change(lambda event: self._change(refine=REFINE if event.value else 0))
            ui.html(
                f"{REFINE} iterations go on from the painting: slower, and nearer to the texture and to the photo.",
                tag="p",
            ).classes("quiet")

    def _slider(
        self, label: str, low: float, high: float, step: float, value: float, name: str, shown: str
    ) -> Callable[[float], None]:
        return parts.slider(label, low, high, step, value, lambda v: self._change(**{name: float(v)}), shown.format)

    # --- styles -------------------------------------------------------------------------------------------------------

    async def opened(self, wanted: str = "") -> None:
        """Show the styles and photos that there are; `wanted`: the style to choose, by name."""
        cards = await asyncio.to_thread(self.studio.gallery.cards)
        self._draw_styles(cards)
        self._draw_strip()
        usable = [card for card in cards if not card.trouble]
        chosen = next((card for card in usable if card.path.stem == wanted), None)
        if chosen is None and self.settings is not None:
            chosen = next((card for card in usable if card.path == self.settings.style), None)
        if chosen is not None or usable:
            await self._choose(chosen or usable[0])

    def _draw_styles(self, cards: list[Card]) -> None:
        self._gallery.clear()
        self._broken.clear()
        self._tiles = {}
        for card in cards:
            if card.trouble:
                with self._broken:
                    parts.Sentence().say(card.trouble, "trouble")
                continue
            with (
                self._gallery,
                ui.element("button")
                .classes("tile")
                .props('type="button"')
                .on("click", lambda card=card: self._choose(card)) as tile,
            ):
                tile.props["aria-label"] = card.name
                ui.html(f'<img src="{card.thumbnail}" alt="">')
                ui.label(card.name)
            self._tiles[card.path] = tile

    async def _choose(self, card: Card) -> None:
        from texturenet.gui.easel import Settings

        for path, tile in self._tiles.items():
            tile.props(f'aria-pressed="{str(path == card.path).lower()}"')
        rows = "".join(
            f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in card.facts.items()
        )
        self._facts.content = f"<dl>{rows}</dl>"
        if self.settings is None or self.settings.style != card.path:
            self._noise(card.noise_factor)
            self.settings = dataclasses.replace(
                self.settings or Settings(card.path), style=card.path, noise_factor=None
            )
        self._reference.choose(card, self._photo_path())
        await self.paint()

    async def _change(self, **change: Any) -> None:
        if self.settings is not None:
            self.settings = dataclasses.replace(self.settings, **change)
            await self.paint()

    # --- photos -------------------------------------------------------------------------------------------------------

    async def _arrived(self, event: Any) -> None:
        if event.args["kind"] == "style":
            await self.opened(Path(event.args["name"]).stem)
        elif event.args["kind"] == "photo":
            self.current = next(reversed(self.studio.easel.photos), "")
            self._draw_strip()
            await self.paint()

    def _photo_path(self) -> Path | None:
        photo = self.studio.easel.photos.get(self.current)
        return None if photo is None else photo.path

    def _draw_strip(self) -> None:
        photos = self.studio.easel.photos
        if self.current not in photos:
            self.current = next(iter(photos), "")
        self._strip.clear()
        with self._strip:
            for key, photo in list(photos.items()):  # an upload may come in meanwhile
                with ui.element("div").classes("thumb"):
                    with (
                        ui.element("button")
                        .props(f'type="button" aria-pressed="{str(key == self.current).lower()}"')
                        .on("click", lambda key=key: self._look_at(key)) as show
                    ):
                        show.props["aria-label"] = f"Show {photo.name}"
                        ui.html(f'<img src="{photo.thumbnail}" alt="">')
                    with (
                        ui.element("button")
                        .classes("remove")
                        .props('type="button"')
                        .on("click", lambda key=key: self._remove(key)) as remove
                    ):
                        remove.props["aria-label"] = f"Take {photo.name} away"
                        ui.html("×", tag="span")
        self._all.set_visibility(len(photos) > 1)
        if not photos:
            self._view.content = '<div class="empty"><p>Your photo and its painting will stand here.</p></div>'
            self._download.content = ""

    async def _look_at(self, key: str) -> None:
        self.current = key
        self._draw_strip()
        await self.paint()

    async def _remove(self, key: str) -> None:
        if key in self.studio.easel.photos:
            await asyncio.to_thread(self.studio.easel.remove, key)
        self._draw_strip()
        await self.paint()

    async def paint(self) -> None:
        """Paint the photo in view as the controls say, and show it."""
        self._turn += 1
        settings, key = self.settings, self.current
        photo = self.studio.easel.photos.get(key)
        if settings is None or photo is None:
            self._sentence.say("")
            return
        self._reference.photo = photo.path
        self._sentence.say("Painting …")
        try:
            quick = settings if self.studio.easel.at_hand(key, settings) else dataclasses.replace(settings, refine=0)
        except ValueError as error:
            self._sentence.say(str(error), "trouble")
            return
        if await self._painted(key, photo.name, quick) and quick != settings:
            await self._painted(key, photo.name, settings)

    async def _painted(self, key: str, photo: str, settings: Settings) -> bool:
        """Show a painting when it is there; whether nothing else was asked for in the meantime."""
        from texturenet.gui.easel import Stopped

        mine, page = self._turn, asyncio.get_running_loop()

        def wanted() -> bool:
            return mine == self._turn and not self._sentence.is_deleted  # as in a tab that was closed

        def tell(iteration: int) -> None:
            if wanted():
                self._sentence.say(f"Refining, {iteration} of {settings.refine} …")

        def go_on(iteration: int) -> bool:
            if settings.refine:
                page.call_soon_threadsafe(tell, iteration)
            return wanted()

        try:
            newest, made = await self._latest(lambda: self.studio.easel.paint(key, settings, go_on))
        except Stopped:
            return False
        except (ValueError, OSError) as error:
            self._sentence.say(str(error), "trouble")
            return False
        if not newest:
            return False
        self._version += 1
        before, after, file = (routes.painting_url(key, what, self._version) for what in ("before", "after", "file"))
        self._view.content = parts.before_after(before, after, photo, made.size)
        width, height = made.size
        how = "painted and refined" if settings.refine else "painted"
        self._sentence.say(f"{width} × {height} px, {how} in {made.seconds:.1f} s")
        name = html.escape(made.path.name)
        self._download.content = f'<a class="button primary" href="{file}" download="{name}">Download</a>'
        return True

    async def download_all(self) -> None:
        """All photos as a zip."""
        settings = self.settings
        if settings is None:
            return
        keys, page = list(self.studio.easel.photos), asyncio.get_running_loop()

        def progress(done: int) -> None:
            page.call_soon_threadsafe(self._sentence.say, f"{done} of {len(keys)} photos painted …")

        async def packed() -> None:
            self._sentence.say(f"Painting {len(keys)} photos …")
            path, troubles = await asyncio.to_thread(self.studio.easel.archive, keys, settings, progress)
            ui.download.file(path)
            done = f"{len(keys) - len(troubles)} paintings in {path.name}"
            if troubles:
                self._sentence.say(f"{done}; left out: {'; '.join(troubles)}", "trouble")
            else:
                self._sentence.say(done, "good")

        await parts.told(packed)()
