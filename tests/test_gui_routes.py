"""What the page fetches, asked for as a browser would, and as nobody should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import torch
from conftest import picture
from fastapi import FastAPI
from samples import png
from starlette.testclient import TestClient
from test_gui_gallery import RunsCode

from texturenet import images, styles
from texturenet.gui import routes
from texturenet.gui.easel import Settings
from texturenet.gui.studio import Studio


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path / "runs", tmp_path / "checkpoints")
    yield studio
    studio.close()


@pytest.fixture
def browser(studio: Studio) -> TestClient:
    app = FastAPI()
    routes.add(app, studio)
    return TestClient(app)


def send(browser: TestClient, kind: str, name: str, content: bytes) -> tuple[int, dict[str, str]]:
    answer = browser.post(f"/upload/{kind}", content=content, headers={"X-File-Name": quote(name)})
    return answer.status_code, answer.json()


@pytest.fixture
def photo(tmp_path: Path) -> bytes:
    images.save_image(picture(40, 64), tmp_path / "photo.png")
    return (tmp_path / "photo.png").read_bytes()


def test_a_photo_goes_in_and_a_painting_comes_out(browser: TestClient, studio: Studio, photo: bytes) -> None:
    assert send(browser, "photo", "my cat.png", photo) == (200, {"name": "my cat.png"})
    (key,) = studio.easel.photos
    assert browser.get(f"/paintings/{key}/file").status_code == 404  # not painted yet
    made = studio.easel.paint(key, Settings(styles.find("mosaic"), size=64))
    answer = browser.get(f"/paintings/{key}/file")
    assert answer.content == made.path.read_bytes()
    assert "filename*=utf-8''my%20cat-mosaic.png" in answer.headers["content-disposition"]
    for what in ("before", "after"):
        assert browser.get(f"/paintings/{key}/{what}").headers["content-type"] == "image/jpeg"
    assert browser.get(f"/paintings/{key}/path").status_code == 404


@pytest.mark.parametrize(
    ("kind", "name", "content", "why"),
    [
        ("photo", "note.jpg", b"a text", "note.jpg: not a picture"),
        ("photo", "../../note.jpg", b"", "note.jpg: is empty"),
        ("photo", "huge.png", png(20_000, 10_000, 8, 0, b""), "huge.png: 20000x10000 is over the limit of 120 million"),
        ("photo", "cut.png", png(30, 30, 8, 2, b"\0\0"), "cut.png: broken picture"),
        ("texture", "note.jpg", b"a text", "note.jpg: not a picture"),
        ("style", "note.pt", b"a text", "note.pt is not a checkpoint"),
    ],
)
def test_bad_uploads_are_a_sentence(
    browser: TestClient, studio: Studio, kind: str, name: str, content: bytes, why: str
) -> None:
    status, answer = send(browser, kind, name, content)
    assert status == 400
    assert answer["error"].startswith(why)
    assert str(studio.temporary) not in answer["error"]
    assert list(studio.temporary.iterdir()) == []
    assert studio.desk.texture == ""


def test_a_style_with_a_pickle(browser: TestClient, tmp_path: Path, studio: Studio) -> None:
    torch.save({"format": "texturenet", "weights": RunsCode()}, tmp_path / "evil.pt")
    status, answer = send(browser, "style", "evil.pt", (tmp_path / "evil.pt").read_bytes())
    assert status == 400
    assert "can run code" in answer["error"]
    assert not studio.checkpoint_dir.exists()


def test_a_texture_is_kept_for_the_next_server(browser: TestClient, studio: Studio, photo: bytes) -> None:
    assert send(browser, "texture", "weave.png", photo)[0] == 200
    later = Studio(studio.run_dir, studio.checkpoint_dir)
    whole = later.whole_texture()
    assert whole is not None
    assert whole.size == (64, 40)
    later.close()


def test_uploads_of_nothing(browser: TestClient) -> None:
    assert browser.post("/upload/photo", content=b"x").status_code == 400  # no name
    assert browser.post("/upload/virus", content=b"x", headers={"X-File-Name": "x"}).status_code == 404


def test_previews_and_no_other_file(browser: TestClient, studio: Studio, photo: bytes) -> None:
    folder = studio.run_dir / "checks" / "previews"
    folder.mkdir(parents=True)
    (folder / "000010.jpg").write_bytes(photo)
    (studio.run_dir / "secret.jpg").write_text("secret")
    (folder / "link.jpg").symlink_to(studio.run_dir.parent / "secret.jpg")
    (studio.run_dir.parent / "secret.jpg").write_text("secret")
    assert browser.get("/previews/checks/000010.jpg").content == photo
    for path in (
        "/previews/checks/..%2f..%2fsecret.jpg",
        "/previews/checks/%2e%2e%2f%2e%2e%2fsecret.jpg",
        "/previews/..%2fchecks/000010.jpg",
        "/previews/../../../../etc/passwd",
        "/previews/%2fetc/passwd",
        "/previews/checks/link.jpg",
        "/previews/checks/..%5c..%5csecret.jpg",
        "/paintings/..%2f..%2fetc/file",
    ):
        answer = browser.get(path)
        assert answer.status_code == 404, path
        assert "secret" not in answer.text


def test_the_reference_before_there_is_one(browser: TestClient) -> None:
    assert {browser.get(f"/reference/{what}").status_code for what in ("pass", "iterate", "x")} == {404}
