"""Pieces that several steps of the page are made of."""

from __future__ import annotations

import asyncio
import functools
import html
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nicegui import ui

Handler = Callable[..., Awaitable[None]]


@contextmanager
def card(title: str = "", classes: str = "") -> Iterator[ui.element]:
    """A framed group with a heading."""
    with ui.element("section").classes(f"card {classes}") as section:
        if title:
            ui.html(html.escape(title), tag="h2")
        yield section


class Sentence(ui.html):
    """A line that tells how something went; screen readers say it when it changes."""

    def __init__(self, text: str = "") -> None:
        super().__init__("", tag="p")
        self.classes("sentence").props('role="status"')
        self.say(text)

    def say(self, text: str, kind: str = "quiet") -> None:
        """kind: quiet, good or trouble."""
        self.content = html.escape(text)
        self.classes(kind, remove="quiet good trouble")
        self.set_visibility(bool(text))


def told(handler: Handler) -> Handler:
    """A handler whose ValueError or OSError is shown as its sentence."""

    @functools.wraps(handler)
    async def wrapped(*args: Any) -> None:
        try:
            await handler(*args)
        except (ValueError, OSError) as error:
            ui.notify(str(error), type="negative", multi_line=True, timeout=9000, close_button="OK")

    return wrapped


class Button(ui.element):
    """A plain button; kind: "" or primary."""

    def __init__(self, text: str, on_click: Callable[..., Any], kind: str = "") -> None:
        super().__init__("button")
        self.classes(f"button {kind}").props('type="button"').on("click", on_click)
        with self:
            ui.html(html.escape(text), tag="span")

    def set_enabled(self, enabled: bool) -> None:
        """Whether it can be pressed."""
        self.props(remove="disabled") if enabled else self.props("disabled")


class Range(ui.element):
    """The browser's own slider: Quasar's takes the focus in a part that has no label.

    on_input   called with the value while it moves
    on_change  called with the value when it is let go
    """

    def __init__(
        self,
        label: str,
        low: float,
        high: float,
        step: float,
        value: float,
        on_input: Callable[[float], Any] | None = None,
        on_change: Callable[[float], Any] | None = None,
    ) -> None:
        super().__init__("input")
        self.value = value
        self._handlers = {"input": on_input, "change": on_change}
        self.props["type"], self.props["aria-label"] = "range", label
        self.props["min"], self.props["max"], self.props["step"], self.props["value"] = low, high, step, value
        for kind in self._handlers:
            self.on(
                kind,
                lambda event, kind=kind: self._moved(kind, float(event.args)),
                # What NiceGUI holds of it in the browser has to follow, or the next drawing puts the slider back.
                js_handler="(event) => { element.props.value = event.target.value; emit(Number(event.target.value)); }",
                throttle=0.05 if kind == "input" else 0,
            )

    def _moved(self, kind: str, value: float) -> Any:
        with self.props.suspend_updates():  # the browser shows it already
            self.value = self.props["value"] = value
        handler = self._handlers[kind]
        return handler(value) if handler is not None else None

    def set_value(self, value: float) -> None:
        """Move it from here; no handler is called."""
        self.value = self.props["value"] = value

    def set_most(self, most: float) -> None:
        """Another upper end."""
        self.props["max"] = most


def slider(
    label: str,
    low: float,
    high: float,
    step: float,
    value: float,
    on_change: Callable[[float], Any],
    shown: Callable[[float], str] = "{:g}".format,
    live: bool = False,
) -> Callable[[float], None]:
    """A slider under its label and value; the result moves it.

    on_change  called when it is let go, or, if `live`, while it moves
    """
    with ui.element("div").classes("field"):
        with ui.element("div").classes("field-head"):
            ui.label(label)
            told_value = ui.label(shown(value)).classes("value")

        def moved(now: float) -> Any:
            told_value.set_text(shown(now))
            return on_change(now) if live else None

        made = Range(label, low, high, step, value, moved, None if live else on_change)

    def move(now: float) -> None:
        made.set_value(now)
        told_value.set_text(shown(now))

    return move


def drop_zone(kind: str, title: str, hint: str, accept: str = "image/*", several: bool = False) -> ui.html:
    """Where files are dropped or chosen; when one has arrived, the page gets the event "uploaded" with {kind, name}."""
    return ui.html(
        f'<label class="drop" data-kind="{kind}" ondragover="event.preventDefault(); this.classList.add(\'over\')" '
        f'ondragleave="this.classList.remove(\'over\')" ondrop="event.preventDefault(); '
        f"this.classList.remove('over'); texturenet.send(this, event.dataTransfer.files)\">"
        f'<input type="file" accept="{accept}" {"multiple" if several else ""} aria-label="{html.escape(title)}" '
        f"onchange=\"texturenet.send(this.closest('label'), this.files); this.value = ''\">"
        f"<strong>{html.escape(title)}</strong><span>{html.escape(hint)}</span>"
        f'<span class="said trouble" role="alert"></span></label>',
        sanitize=False,
    ).classes("full")


def before_after(before: str, after: str, name: str, size: tuple[int, int]) -> str:
    """HTML of two pictures of `size` (w, h) under a slider that a mouse, a finger and the arrow keys move."""
    name = html.escape(name)
    return (
        f'<div class="compare" style="--cut: 50%; --ratio: {size[0] / size[1]:.4f}">'
        f'<img src="{after}" alt="{name}, painted"><img class="before" src="{before}" alt="{name}"><i></i>'
        f'<input type="range" min="0" max="100" value="50" aria-label="Photo to the left, painting to the right" '
        f"oninput=\"this.parentNode.style.setProperty('--cut', this.value + '%')\"></div>"
    )


def thumbnails(sources: list[str], alt: str) -> str:
    """HTML of a row of pictures."""
    return "".join(f'<img src="{source}" alt="{html.escape(alt)} {i + 1}">' for i, source in enumerate(sources))


class Latest:
    """Of calls that come faster than they are done, the last alone is waited for: typing, dragging."""

    def __init__(self, pause: float) -> None:
        self._pause, self._count = pause, 0

    async def __call__(self, work: Callable[[], Any]) -> tuple[bool, Any]:
        """(whether no later call came, the result of `work`, done in a thread)."""
        self._count += 1
        mine = self._count
        await asyncio.sleep(self._pause)
        if mine != self._count:
            return False, None
        result = await asyncio.to_thread(work)
        return mine == self._count, result
