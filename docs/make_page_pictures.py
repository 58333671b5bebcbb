"""Make the README's pictures of the web page: `python docs/make_page_pictures.py`, some minutes. Needs Chromium.

They are of the page itself, in a folder of its own, after the 120 steps of its "Quick look" on the photos that ship.
What it paints is as in make_pictures.py.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import skimage.data
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
URL = "http://127.0.0.1:8085"
WIDTH, QUALITY = 1160, 82


def shot(page: Page, name: str) -> None:
    """docs/NAME.jpg: the page as a whole."""
    page.evaluate("scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(1000)  # until what moves has settled
    page.screenshot(path=ROOT / "docs" / f"{name}.jpg", type="jpeg", quality=QUALITY, full_page=True)


def train(page: Page) -> None:
    page.get_by_label("Folder with photos, or a COCO dataset").fill(str(ROOT / "data" / "sample"))
    page.get_by_role("button", name="Continue to the texture").click()
    page.get_by_label("Upload your own").set_input_files(ROOT / "data" / "textures" / "tesserae.jpg")
    expect(page.get_by_role("img", name="The texture tesserae.jpg")).to_be_visible()
    page.get_by_role("button", name="Continue to the training").click()
    expect(page.get_by_text("Measured on this machine")).to_be_visible()
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_role("img", name="after 96 steps")).to_be_visible()
    shot(page, "gui-train")
    expect(page.get_by_text("finished", exact=True)).to_be_visible()
    page.get_by_role("button", name="Paint with it").click()


def paint(page: Page, folder: Path) -> None:
    photos = [ROOT / "data" / "sample" / "train2017" / f"{number:012d}.jpg" for number in (5, 9)]
    for name in ("coffee", "astronaut", "chelsea"):
        photos.append(folder / f"{name}.png")
        Image.fromarray(getattr(skimage.data, name)()).save(photos[-1])
    page.get_by_label("Add photos").set_input_files(photos)
    page.get_by_role("button", name="mosaic", exact=True).click()
    page.get_by_role("button", name="Show chelsea.png").click()
    page.get_by_role("switch", name="Refine").click()
    expect(page.get_by_text("451 × 300 px, painted and refined in")).to_be_visible()
    shot(page, "gui-stylize")


def main() -> None:
    expect.set_options(timeout=600_000)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-m", "texturenet.gui", "--port", URL.rpartition(":")[2]]
        server = subprocess.Popen(words, cwd=folder, env=environment)
        try:
            while True:
                try:
                    urllib.request.urlopen(URL).read()
                    break
                except urllib.error.URLError:
                    time.sleep(0.2)
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": 800})
            page.set_default_timeout(600_000)
            page.goto(URL)
            train(page)
            paint(page, Path(folder))
            browser.close()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()


if __name__ == "__main__":
    main()
