"""A past run as one HTML file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import picture

from texturenet import images, monitor, report_page


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "<checks>"
    rows = []
    for step in (1, 10, 20):
        losses = {"total": 4 / step, "style": 3 / step, "content": 1 / step, "style/relu1_1": 2 / step}
        rows.append({"event": "step", "step": step, "iterations": 20, "losses": losses, "images_per_second": 2.0})
        path = folder / "previews" / f"{step:06d}.jpg"
        images.save_image(picture(16, 24, step), path)
        rows.append({"event": "preview", "step": step, "path": f"moved/away/{path.name}"})
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def test_all_is_inside_the_file(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert monitor.main([str(run_dir)]) == 0
    target = Path(capsys.readouterr().out.strip())
    page = target.read_text()
    assert target == run_dir / "report.html"
    assert "20 of 20 steps, 2 photos a second" in page
    assert page.count("data:image/jpeg;base64,") == 4  # three to choose from, and the one that is shown
    assert "<b>0.2</b>" in page  # the total loss at the end
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "http" not in page
    assert "<checks>" not in page


def test_output(run_dir: Path, tmp_path: Path) -> None:
    monitor.main([str(run_dir), "-o", str(tmp_path / "deep" / "report.html")])
    assert (tmp_path / "deep" / "report.html").is_file()
    log = (run_dir / "log.jsonl").read_bytes()
    with pytest.raises(ValueError, match=r"log.jsonl: the report is a web page; end its name in .html"):
        monitor.main([str(run_dir), "-o", str(run_dir / "log.jsonl")])
    assert (run_dir / "log.jsonl").read_bytes() == log


def test_a_run_without_previews(run_dir: Path) -> None:
    rows = [row for row in monitor.read_log(run_dir / "log.jsonl") if row["event"] == "step"]
    assert "This run kept none" in report_page.write(run_dir, rows).read_text()


def test_a_log_names_no_file_outside_of_its_run(run_dir: Path) -> None:
    (run_dir / "secret").write_text("secret")
    rows = [*monitor.read_log(run_dir / "log.jsonl"), {"event": "preview", "step": 20, "path": "../secret"}]
    assert report_page.write(run_dir, rows).read_text().count("data:image") == 4


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no log of a run; name a folder such as runs/mosaic"):
        monitor.main([str(tmp_path)])
