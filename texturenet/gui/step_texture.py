"""Step 2: which texture, which part of it, and how large its strokes."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable
from pathlib import Path

from nicegui import events, ui

from texturenet.gui import parts, texture, uploads
from texturenet.gui.studio import Studio


def build(studio: Studio, go_on: Callable[[], None]) -> Callable[[], None]:
    """Draw it; the result draws again what was chosen."""
    desk = studio.desk
    choices: dict[str, ui.element] = {}

    with ui.element("header").classes("intro"):
        ui.html("Which texture should it learn?", tag="h1")
        ui.html(
            "A painting, a fabric, stones: one picture, whose strokes and colours the photos will take on.", tag="p"
        )
    with ui.element("div").classes("columns"):
        with parts.card("Texture"):
            with ui.element("div").classes("gallery").props('role="group" aria-label="Textures that come along"'):
                for path in texture.gallery():
                    with (
                        ui.element("button")
                        .classes("tile")
                        .props(f'type="button" aria-label="{path.stem}"')
                        .on("click", lambda path=path: choose(path)) as tile
                    ):
                        ui.html(f'<img src="{uploads.data_url(uploads.open_picture(path, 160), 160)}" alt="">')
                        ui.label(path.stem)
                    choices[str(path)] = tile
            parts.drop_zone("texture", "Upload your own", "Drop a picture here, or choose one")
        with parts.card("Crop and stroke size"):
            nothing = ui.html("Choose a texture to see it here.", tag="p").classes("quiet")
            with ui.element("div").classes("stack") as shaping:
                crop_view = ui.html("", sanitize=False).classes("crop")
                share = parts.slider(
                    "Part of the picture", 0.2, 1, 0.05, desk.crop.share, lambda v: crop(share=v), "{:.0%}".format, True
                )
                with ui.element("div").classes("beside") as where:
                    across = parts.slider(
                        "Left to right", 0, 1, 0.02, desk.crop.across, lambda v: crop(across=v), "{:.0%}".format, True
                    )
                    down = parts.slider(
                        "Top to bottom", 0, 1, 0.02, desk.crop.down, lambda v: crop(down=v), "{:.0%}".format, True
                    )
                low, high = texture.STROKES
                parts.slider(
                    "Stroke size", low, high, 16, desk.style_size, lambda v: strokes(v), "{:g} px".format, True
                )
                scale_view = ui.html("").classes("scale")
                ui.html("A photo and the texture, at the scale at which they meet in training.", tag="p").classes(
                    "quiet"
                )
        with ui.element("div").classes("actions wide"):
            onward = parts.Button("Continue to the training", go_on, "primary")

    def draw() -> None:
        whole = studio.whole_texture()
        for path, tile in choices.items():
            tile.props(f'aria-pressed="{str(path == desk.texture).lower()}"')
        onward.set_enabled(whole is not None)
        nothing.set_visibility(whole is None)
        shaping.set_visibility(whole is not None)
        if whole is None:
            return
        where.set_visibility(desk.crop.share < 1)
        left, top, right, bottom = desk.crop.box(*whole.size)
        inset = [100 * part for part in (top / whole.height, 1 - right / whole.width)]
        inset += [100 * part for part in (1 - bottom / whole.height, left / whole.width)]
        frame = " ".join(f"{part:.2f}%" for part in inset)
        crop_view.content = (
            f'<img src="{uploads.data_url(whole, 480)}" alt="The texture {html.escape(Path(desk.texture).name)}">'
            f'<i style="inset: {frame}"></i>'
        )
        draw_scale()

    def draw_scale() -> None:
        part = studio.texture()
        if part is not None:
            both = texture.at_scale(part, desk.style_size, studio.example_photo())
            alt = f"A photo, and the texture with strokes of {desk.style_size} px"
            scale_view.content = f'<img src="{uploads.data_url(both, 2 * texture.CROP_SIZE)}" alt="{alt}">'

    def choose(path: Path) -> None:
        desk.crop = texture.Crop()
        for move, value in ((share, 1.0), (across, 0.5), (down, 0.5)):
            move(value)
        studio.choose_texture(path)
        draw()

    def crop(**change: float) -> None:
        desk.crop = dataclasses.replace(desk.crop, **change)
        desk.save()
        draw()

    def strokes(size: float) -> None:
        desk.style_size = int(size)
        desk.save()
        draw_scale()

    def arrived(event: events.GenericEventArguments) -> None:
        if event.args["kind"] == "texture":
            choose(Path(desk.texture))

    ui.on("uploaded", arrived)
    draw()
    return draw
