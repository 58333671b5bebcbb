"""One pass of the chosen style beside the iterative method on the same photo and texture, live."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from nicegui import ui

from texturenet.gui import parts
from texturenet.gui.studio import Studio

if TYPE_CHECKING:
    from texturenet.gui.gallery import Card

ITERATIONS = 100
SIZE = 320  # px, longer side: an iteration takes half a second on two cores


class ReferenceTab:
    """`photo` is the one in view; `choose` follows what is painted."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.photo: Path | None = None
        self._card: Card | None = None
        self._drawn: tuple[int, bool] | None = None
        with parts.card("One pass, and the slow way"):
            ui.html(
                "Gatys' method needs no training: it changes the pixels of one photo, step by step, until they have "
                "the texture. It is what a trained style is measured against, by the loss that it was trained with.",
                tag="p",
            ).classes("quiet")
            with ui.element("div").classes("pair"):
                with ui.element("figure"):
                    self._pass = ui.html('<div class="empty"></div>')
                    self._pass_said = ui.html("One pass", tag="figcaption")
                with ui.element("figure"):
                    self._slow = ui.html('<div class="empty"></div>')
                    self._slow_said = ui.html("Gatys", tag="figcaption")
            self._bar = ui.linear_progress(0, show_value=False).props('rounded aria-label="Iterations done"')
            self._sentence = parts.Sentence("Add a photo under Paint first.")
            with ui.element("div").classes("actions"):
                self._start = parts.Button("Start the reference", self.start, "primary")
                self._stop = parts.Button("Stop", lambda: studio.reference.stop())
        ui.timer(0.7, self._refresh)

    def choose(self, card: Card, photo: Path | None) -> None:
        """The style that both are of."""
        self._card, self.photo = card, photo

    async def start(self) -> None:
        """Begin, or begin again with what is chosen now."""
        card, photo = self._card, self.photo
        if card is None or photo is None:
            self._sentence.say("Add a photo under Paint first.", "trouble")
        elif card.texture is None:
            self._sentence.say(f"{card.name} does not hold the texture that it learned; choose another.", "trouble")
        else:
            self._drawn = None
            for figure in (self._pass, self._slow):
                figure.content = '<div class="empty"></div>'
            await asyncio.to_thread(self.studio.reference.start, photo, card.path, ITERATIONS, SIZE)
            self._sentence.say("")

    def _refresh(self) -> None:
        if "reference" not in vars(self.studio):  # nobody has asked for it yet
            self._stop.set_visibility(False)
            return
        progress = self.studio.reference.progress
        self._stop.set_visibility(not progress.done)
        self._start.set_visibility(progress.done)
        if progress.trouble:
            self._sentence.say(progress.trouble, "trouble")
        if progress.total is None or (progress.iteration, progress.done) == self._drawn:
            return
        self._drawn = (progress.iteration, progress.done)
        self._bar.set_value(progress.iteration / progress.iterations)
        if progress.pass_total is not None:
            address = f"/reference/pass?v={progress.pass_total}"
            self._pass.content = f'<img src="{address}" alt="The photo, painted in one pass">'
            self._pass_said.content = f"One pass · {SIZE} px · loss {progress.pass_total:.3g}"
        version = f"{progress.iteration}-{progress.seconds:.2f}"
        self._slow.content = f'<img src="/reference/iterate?v={version}" alt="The photo, by Gatys\' method">'
        self._slow_said.content = (
            f"Gatys · {SIZE} px · {progress.iteration} of {progress.iterations} iterations · "
            f"{progress.seconds:.0f} s · loss {progress.total:.3g}"
        )
