"""The whole page in a real Chromium: from a wrong path to a downloaded painting."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, picture
from PIL import Image, ImageChops

from texturenet import Stylizer, images

CHROMIUM = shutil.which("chromium")
# Quiet, and calling nobody: a browser of its own accord looks for updates.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="no chromium: apt-get install chromium"),
]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # NiceGUI serves otherwise where it finds itself in a test.
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "texturenet.gui", "--port", str(port)]
    server = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(address).read()
            break
        except urllib.error.URLError:
            time.sleep(0.1)
    yield address
    server.send_signal(signal.SIGINT)
    _, said = server.communicate(timeout=60)
    assert b"Traceback" not in said, said.decode()


def test_from_a_wrong_path_to_a_painting(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from playwright.sync_api import Page, expect, sync_playwright

    expect.set_options(timeout=90_000)
    images.save_image(picture(96, 96, 3), tmp_path / "swirl.png")
    images.save_image(picture(80, 120, 4), tmp_path / "cat.png")
    (tmp_path / "note.jpg").write_text("a text, whatever its name says")
    asked: set[str] = set()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(accept_downloads=True)

        def tab() -> Page:
            page = context.new_page()
            page.set_default_timeout(90_000)
            page.on("request", lambda request: asked.add(request.url.split("/")[2] if "//" in request.url else ""))
            page.goto(url)
            return page

        page = tab()
        path = page.get_by_label("Folder with photos, or a COCO dataset")
        path.fill(str(tmp_path / "nowhere"))
        expect(page.get_by_text("no such folder: check the spelling")).to_be_visible()
        expect(page.get_by_role("button", name="Continue to the texture")).to_be_disabled()
        path.fill(str(ROOT / "data" / "sample"))
        expect(page.get_by_text("COCO dataset: 48 pictures, none skipped")).to_be_visible()
        expect(page.get_by_role("img", name="Photo 6")).to_be_visible()
        page.get_by_role("button", name="Continue to the texture").click()

        page.get_by_label("Upload your own").set_input_files(tmp_path / "note.jpg")
        expect(page.get_by_role("alert").first).to_contain_text("note.jpg: not a picture")
        page.get_by_label("Upload your own").set_input_files(tmp_path / "swirl.png")
        expect(page.get_by_role("img", name="The texture swirl.png")).to_be_visible()
        page.get_by_role("button", name="Continue to the training").click()

        page.get_by_text("Advanced options").click()
        for name, value in (("image size", "64"), ("iterations", "100"), ("batch size", "1")):
            page.get_by_label(name).fill(value)
        page.get_by_role("button", name="Start training").click()
        expect(page.get_by_text("photos a second", exact=True)).to_be_visible()
        page.get_by_role("button", name="Start training").click()
        expect(page.get_by_text("swirl is being trained already; stop it first")).to_be_visible()

        page.close()
        page = tab()  # opens where the training is
        expect(page.get_by_role("heading", name="swirl")).to_be_visible()
        page.get_by_role("button", name="Stop and save").click()
        expect(page.get_by_text("stopped", exact=True)).to_be_visible()
        page.get_by_role("button", name="Resume").click()
        expect(page.get_by_text("100 of 100")).to_be_visible()
        expect(page.get_by_text("finished", exact=True)).to_be_visible()
        expect(page.get_by_role("img", name="after 100 steps")).to_be_visible()
        expect(page.get_by_role("img", name="Loss curves")).to_be_visible()
        page.get_by_role("button", name="Paint with it").click()

        page.get_by_label("Add photos").set_input_files(tmp_path / "note.jpg")
        expect(page.get_by_text("note.jpg: not a picture").last).to_be_visible()
        page.get_by_label("Add photos").set_input_files(tmp_path / "cat.png")
        expect(page.get_by_text("120 × 80 px, painted in")).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        assert download.value.suggested_filename == "cat-swirl.png"
        download.value.save_as(tmp_path / "result.png")
        page.get_by_role("slider", name="Strength").focus()
        page.keyboard.press("ArrowLeft")
        expect(page.get_by_text("95%", exact=True)).to_be_visible()
        page.get_by_role("switch", name="Refine").click()
        expect(page.get_by_text("120 × 80 px, painted and refined in")).to_be_visible()
        page.get_by_role("tab", name="Reference").click()
        page.get_by_role("button", name="Start the reference").click()
        expect(page.get_by_text("One pass · 320 px · loss")).to_be_visible()
        expect(page.get_by_text("of 100 iterations")).to_be_visible()
        page.get_by_role("button", name="Stop").last.click()
        expect(page.get_by_role("button", name="Start the reference")).to_be_visible()
        assert "Traceback" not in page.content()
        browser.close()

    assert asked - {""} == {url.removeprefix("http://")}
    monkeypatch.undo()  # the page's program computes in what the chip is faster in
    style = Stylizer(tmp_path / "checkpoints" / "swirl.pt")
    expected = style(images.open_image(tmp_path / "cat.png"))
    # The page paints with one thread, this test with what the machine has: the sums round otherwise.
    apart = ImageChops.difference(Image.open(tmp_path / "result.png"), expected)
    assert max(high for _, high in apart.getextrema()) <= 1
