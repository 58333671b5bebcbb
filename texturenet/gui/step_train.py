"""Step 3: how far, and the training itself, which this page only watches."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nicegui import ui

from texturenet import curves
from texturenet.gui import pace, parts, routes
from texturenet.gui.studio import Studio
from texturenet.gui.training import ENDED, Status

STATES = {
    "running": "training",
    "paused": "paused",
    "stopping": "saving",
    "finished": "finished",
    "stopped": "stopped",
    "failed": "ended with an error",
    "lost": "broke off",
}


class TrainStep:
    """The third step; `opened` when its tab is looked at."""

    def __init__(self, studio: Studio, go_on: Callable[[], None]) -> None:
        self.studio, self._go_on = studio, go_on
        self.preset = "quick"
        self._options: dict[str, ui.input] = {}
        self._follows = True  # whether the newest preview is shown
        self._shown: tuple[Any, ...] = ()  # of what is drawn, so that nothing is drawn twice
        with ui.element("header").classes("intro"):
            ui.html("How far should it go?", tag="h1")
            ui.html("It trains on its own: this page may be closed, and finds it again.", tag="p")
        with ui.element("div").classes("columns"):
            self._build_order()
            self._build_watch()
        self.refresh()
        ui.timer(1.0, self.refresh)

    def _build_order(self) -> None:
        with parts.card("A new style") as self._order:
            self._presets: dict[str, tuple[ui.element, ui.label]] = {}
            with ui.element("div").classes("presets").props('role="group" aria-label="How far"'):
                for key, preset in pace.PRESETS.items():
                    with (
                        ui.element("button")
                        .classes("preset")
                        .props('type="button"')
                        .on("click", lambda key=key: self._choose(key)) as choice
                    ):
                        ui.html(html.escape(preset.title), tag="strong")
                        time = ui.label("").classes("time")
                        ui.html(html.escape(preset.promise), tag="span").classes("quiet")
                    self._presets[key] = (choice, time)
            self._speed = parts.Sentence()
            self._name = ui.input("Name of the style").props('outlined stack-label autocomplete="off"').classes("full")
            with ui.expansion("Advanced options").classes("full advanced"), ui.element("div").classes("options"):
                for name in pace.OPTIONS:
                    field = ui.input(name.replace("_", " ")).props("outlined dense")
                    field.props["hint"] = _hint(name)
                    field.on_value_change(self._draw_presets)
                    self._options[name] = field
            with ui.element("div").classes("actions"):
                self._start = parts.Button("Start training", self.start, "primary")
            self._missing = parts.Sentence()

    def _build_watch(self) -> None:
        with parts.card(classes="watch") as self._nothing:
            ui.html("<p>Curves and previews will stand here while it trains.</p>").classes("empty")
        with parts.card(classes="watch") as self._watch:
            with ui.element("div").classes("watch-head"):
                self._title = ui.html("", tag="h2")
                self._state = ui.label("").classes("chip").props('role="status"')
            self._bar = ui.linear_progress(0, show_value=False).props('rounded aria-label="Progress of the training"')
            self._numbers = ui.html("").classes("numbers")
            self._trouble = parts.Sentence()
            with ui.element("div").classes("actions start"):
                self._pause = parts.Button("Pause", self._do(self.studio.trainings.pause))
                self._go = parts.Button("Go on", self._do(self.studio.trainings.go_on), "primary")
                self._stop = parts.Button("Stop and save", self._do(self.studio.trainings.stop))
                self._at_once = parts.Button("Stop at once", self._do(self.studio.trainings.stop))
                self._resume = parts.Button("Resume", self.resume, "primary")
                self._paint = parts.Button("Paint with it", lambda: self._go_on(), "primary")
            self._curves = ui.html("", sanitize=False).classes("full")
            self._sheet = ui.html("").classes("sheet")
            with ui.element("div").classes("full") as self._history:
                self._when = parts.Range("Which preview to show", 0, 1, 1, 1, self._look_back)
                self._at = ui.label("").classes("quiet")

    # --- what is done -------------------------------------------------------------------------------------------------

    @property
    def typed(self) -> dict[str, str]:
        return {name: str(field.value or "") for name, field in self._options.items()}

    async def opened(self) -> None:
        """Say what is missing, and measure the machine once."""
        self._check()
        self._draw_presets()
        if self._missing_text() or self.studio.speed is not None:
            return
        self._speed.say("Measuring how fast this machine is …")
        await asyncio.to_thread(self.studio.measure)
        self._draw_presets()

    @staticmethod
    def _do(action: Callable[[], None]) -> Callable[[], Any]:
        async def done() -> None:
            await asyncio.to_thread(action)

        return parts.told(done)

    async def start(self) -> None:
        await self._begin(lambda: self.studio.start_training(str(self._name.value or ""), self.preset, self.typed))

    async def resume(self) -> None:
        status = self.studio.trainings.status()
        if status is not None:
            await self._begin(lambda: self.studio.trainings.resume(status.name))

    async def _begin(self, begin: Callable[[], Any]) -> None:
        async def begun() -> None:
            await asyncio.to_thread(begin)

        await parts.told(begun)()
        self.refresh()

    def _choose(self, key: str) -> None:
        self.preset = key
        self._draw_presets()

    def _look_back(self, value: float) -> None:
        """An older preview that is looked at stays in view."""
        self._follows = value >= self._when.props["max"]
        self._draw_sheet()

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _missing_text(self) -> str:
        desk = self.studio.desk
        missing = [name for name, value in (("photos", desk.data_dir), ("a texture", desk.texture)) if not value]
        return f"Choose {' and '.join(missing)} first." if missing else ""

    def _check(self) -> None:
        text = self._missing_text()
        self._missing.say(text)
        self._start.set_enabled(not text)
        if self.studio.desk.texture:
            self._name.props["placeholder"] = Path(self.studio.desk.texture).stem
            self._name.update()

    def _draw_presets(self) -> None:
        speed = self.studio.speed
        for key, (choice, time) in self._presets.items():
            choice.props(f'aria-pressed="{str(key == self.preset).lower()}"')
            try:
                flags = pace.flags_of(key, self.typed, self.studio.desk.style_size)
            except ValueError:
                flags = None
            time.set_text("" if speed is None or flags is None else f"about {pace.in_words(speed.seconds(flags))}")
        self._speed.say("The time is told in the first seconds of training." if speed is None else speed.sentence)

    def refresh(self) -> None:
        """Draw what is new on the disk."""
        status = self.studio.trainings.status()
        self._check()
        self._watch.set_visibility(status is not None)
        self._nothing.set_visibility(status is None)
        if status is None:
            return
        rows = self.studio.rows(status.name)
        shown = (status, len(rows), rows[-1]["step"] if rows else 0)
        if shown == self._shown:
            return
        self._shown = shown
        self._draw(status, rows)

    def _draw(self, status: Status, rows: Sequence[dict[str, Any]]) -> None:
        steps = [row for row in rows if row["event"] == "step"]
        last = steps[-1] if steps else None
        self._title.content = html.escape(status.name)
        self._state.set_text(STATES[status.state])
        self._state.classes(status.state, remove=" ".join(STATES))
        self._trouble.say(status.trouble, "trouble")
        ended = status.state in ENDED
        if status.state == "running" and self.studio.speed is None:
            self.studio.learn_speed(status.name)
            self._draw_presets()
        for control, visible in (
            (self._pause, status.state == "running"),
            (self._go, status.state == "paused"),
            (self._stop, status.state in ("running", "paused")),
            (self._at_once, status.state == "stopping"),
            (self._resume, status.state in ("stopped", "lost", "failed")),
            (self._paint, last is not None and ended),
        ):
            control.set_visibility(visible)
        self._bar.set_value(last["step"] / last["iterations"] if last else 0)
        self._numbers.content = _numbers(status, steps)
        total = last["iterations"] if last else 1
        self._curves.content = curves.figure(curves.of_rows(steps), total)
        previews = self.studio.previews(status.name)
        self._history.set_visibility(len(previews) > 1)
        self._sheet.set_visibility(bool(previews))
        if previews:
            self._when.set_most(max(1, len(previews) - 1))
            if self._follows:
                self._when.set_value(len(previews) - 1)
            self._draw_sheet()

    def _draw_sheet(self) -> None:
        status = self.studio.trainings.status()
        previews = self.studio.previews(status.name) if status is not None else []
        if status is None or not previews:
            return
        step, file = previews[min(int(self._when.value), len(previews) - 1)]
        alt = f"Photos, and what the network makes of them after {step} steps"
        source = f'<img src="{routes.preview_url(status.name, file)}" alt="{alt}">'
        if self._sheet.content != source:
            self._sheet.content = source
        self._at.set_text(f"after {step:,} steps")


def _hint(name: str) -> str:
    default = pace.DEFAULTS[name]
    words = pace.option_help(name).split(":")[0].split(";")[0]
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{words} ({shown})" if name not in ("iterations", "batch_size") else words


def _numbers(status: Status, steps: Sequence[dict[str, Any]]) -> str:
    """Step, speed and time left as a row of figures."""
    if not steps:
        waiting = "Loading the networks and looking through the photos …"
        return f'<p class="quiet">{waiting}</p>' if status.state == "running" else ""
    last = steps[-1]
    found = [("step", f"{last['step']:,} of {last['iterations']:,}")]
    speed, left = pace.recent_speed(steps), last.get("seconds_left")  # not in logs of before
    if speed is not None:
        found.append(("photos a second", f"{speed:.2g}"))
    if left is not None and status.state in ("running", "paused"):
        found.append(("left", pace.in_words(left)))
    return "".join(f"<div><b>{value}</b><span>{name}</span></div>" for name, value in found)
