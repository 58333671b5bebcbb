"""Step 1: which photos."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from texturenet.gui import parts, photos
from texturenet.gui.studio import Studio


def build(studio: Studio, go_on: Callable[[], None]) -> None:
    """Draw it; `go_on` leads to the next step."""
    desk = studio.desk
    latest = parts.Latest(0.35)

    with ui.element("header").classes("intro"):
        ui.html("Which photos should it learn on?", tag="h1")
        ui.html("A style learns from any photos, a few dozen to many thousands. They stay where they are.", tag="p")
    with parts.card():
        with ui.element("div").classes("beside"):
            path = (
                ui.input("Folder with photos, or a COCO dataset", value=desk.data_dir)
                .props('outlined autocomplete="off" spellcheck="false"')
                .classes("fill")
            )
            sample = parts.Button("Use the sample scenes", lambda: path.set_value(str(photos.SAMPLE)))
            sample.set_visibility(photos.SAMPLE.is_dir())
        sentence = parts.Sentence()
        why = parts.Sentence()
        strip = ui.html("").classes("thumbs")
        with ui.element("div").classes("actions"):
            onward = parts.Button("Continue to the texture", go_on, "primary")

    def show(finding: photos.Finding | None) -> None:
        studio.finding = finding
        good = finding is not None and not finding.trouble
        onward.set_enabled(good)
        if finding is None:
            sentence.say("")
        else:
            sentence.say(finding.sentence, "good" if good else "trouble")
        why.say(f"For example: {finding.why_skipped}" if finding is not None and finding.why_skipped else "")
        strip.content = parts.thumbnails(list(finding.thumbnails), "Photo") if finding is not None else ""

    async def check() -> None:
        text = str(path.value or "")
        onward.set_enabled(False)
        if not text.strip():
            desk.data_dir = ""
            show(None)
            return
        sentence.say("Looking …")
        newest, finding = await latest(lambda: photos.look(text))
        if newest:
            show(finding)
            desk.data_dir = "" if finding.trouble else str(finding.folder.resolve())
            desk.save()

    path.on_value_change(check)
    onward.set_enabled(False)
    if desk.data_dir:
        ui.timer(0.1, check, once=True)
    else:
        show(None)
