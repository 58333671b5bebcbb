import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from texturenet import doctor
from texturenet.doctor import Finding


def levels(findings: object) -> dict[str, str]:
    return {finding.what: finding.level for finding in findings}  # type: ignore[attr-defined]


def examined(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "texturenet.doctor", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | env,
    )


def test_the_list_as_a_user_gets_it(tmp_path: Path) -> None:
    ended = examined(
        "--checkpoint_dir", str(tmp_path / "c"), "--run_dir", str(tmp_path / "r"), TORCH_HOME=str(tmp_path)
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    lines = {line.split()[1]: line for line in ended.stdout.splitlines()}
    assert all(line.split()[0] in ("ok", "warn") for line in lines.values())
    assert lines["torch"].split()[2] == torch.__version__
    assert "intact" in lines["mosaic.pt"] and "intact" in lines["lite.pt"]
    assert lines["vgg19"].startswith("warn") and f"to {tmp_path}" in lines["vgg19"]
    assert {"python", "device", "memory", "visdom", "pillow-heif"} <= set(lines)
    assert list(tmp_path.iterdir()) == []  # it makes and downloads nothing


@pytest.mark.parametrize(
    ("content", "reason"),
    [("raise OSError('libc10.so: cannot open shared object file')", "libc10.so"), ("", "")],
    ids=["broken", "hollow"],
)
def test_a_broken_torch_is_a_line(content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(content)
    ended = examined(PYTHONPATH=str(tmp_path))
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr + ended.stdout
    failed = [line for line in ended.stdout.splitlines() if line.startswith("fail")]
    assert any(reason in line and "pip install -r requirements.txt" in line for line in failed)
    assert "ok    mosaic.pt" in ended.stdout  # the rest is examined all the same


def test_a_missing_and_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements.txt").write_text(
        "# a comment\n-r other.txt\nnumpy==1.0.0\nno-such-package==2.0\ntqdm>=4\n"
    )
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    found = {finding.what: finding for finding in doctor._packages()}
    assert (found["numpy"].level, found["no-such-package"].level) == ("warn", "fail")
    assert "tested with 1.0.0" in found["numpy"].found
    assert found["no-such-package"].mend == "pip install -r requirements.txt"


def test_shipped_files(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    assert levels(doctor._shipped(tmp_path)) == {"shipped files": "warn"}
    whole = "9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0"  # of "aaa"
    for name, content in (("a.pt", "aaa"), ("b.pt", "aab")):
        (tmp_path / "checkpoints" / name).write_text(content)
    (tmp_path / doctor.SUMS).write_text("".join(f"{whole}  {name}.pt\n" for name in ("a", "b", "../c")))
    found = {finding.what: finding for finding in doctor._shipped(tmp_path)}
    assert levels(found.values()) == {"a.pt": "ok", "b.pt": "fail", "c.pt": "fail"}
    assert found["b.pt"].mend == "git checkout checkpoints/b.pt"


def test_the_sums_are_of_what_ships() -> None:
    """When this fails: `make sums`."""
    assert {finding.level for finding in doctor._shipped(ROOT)} == {"ok"}
    listed = {line.split()[1] for line in (ROOT / doctor.SUMS).read_text().splitlines()}
    kept = (ROOT / ".gitignore").read_text().splitlines()
    folder = "!/checkpoints/"
    styles = {line.removeprefix(folder) for line in kept if line.startswith(folder) and line.endswith(".pt")}
    assert listed == styles | {"../texturenet/lite.pt"}


def test_a_damaged_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "vgg19-dcbb9e9d.pth").write_text("half of it")
    (tmp_path / "checkpoints" / "vgg16-397923af.pth").write_text("")
    found = {finding.what: finding for finding in doctor._perceptual()}
    assert levels(found.values()) == {"vgg19": "warn", "vgg16": "warn"}
    assert "is damaged" in found["vgg19"].found and "delete it" in found["vgg19"].mend


def test_a_full_disk_and_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = doctor.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage._replace(free=10 * 2**20))
    found = list(doctor._disk(tmp_path / "not" / "there", Path("/proc")))
    assert [finding.level for finding in found] == ["fail", "fail"]
    assert found[0].found == "0.0 GB free" and "can't be written" in found[1].found
    (tmp_path / "file").write_text("no folder")
    in_the_way, _ = doctor._disk(tmp_path / "file" / "deeper", tmp_path)
    assert (in_the_way.level, in_the_way.found) == ("fail", f"{tmp_path / 'file'} is a file")


def test_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2**30, 80 * 2**30))
    monkeypatch.setattr(torch._C, "_cuda_getDriverVersion", lambda: 12040, raising=False)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    device, memory = doctor._device()
    assert device.found == "cuda (a GPU), compute 9.0, bfloat16; torch for CUDA 12.8, driver for 12.4"
    assert (memory.level, memory.found) == ("warn", "1.0 GB free on cuda")


@pytest.mark.parametrize(
    ("built_for", "mend"), [(None, "install a CUDA build of torch"), ("12.8", "update its driver")]
)
def test_a_gpu_that_torch_does_not_find(built_for: str | None, mend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "nvidia-smi")
    device = next(iter(doctor._device()))
    assert device.level == "warn" and device.mend.startswith(mend)


@pytest.mark.visdom
def test_visdom_answers_or_not() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("localhost", 0), Page) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        (found,) = doctor._visdom(server.server_port)
        assert "answers at" in found.found
    with socket.socket() as other:  # a service that speaks no HTTP
        other.bind(("localhost", 0))
        other.listen()
        threading.Thread(target=lambda: other.accept()[0].sendall(b"220 mail\r\n"), daemon=True).start()
        (found,) = doctor._visdom(other.getsockname()[1])
        assert (found.level, found.mend) == ("ok", "python -m texturenet.visdom_server starts it")
    with socket.socket() as nobody:
        nobody.bind(("localhost", 0))  # taken, and nobody listens
        (found,) = doctor._visdom(nobody.getsockname()[1])
        assert (found.level, found.mend) == ("ok", "python -m texturenet.visdom_server starts it")


def test_a_check_that_dies_is_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def dies() -> object:
        raise ImportError("libcudart.so.12: cannot open\nand more")

    monkeypatch.setattr(doctor, "_device", dies)
    found = {finding.what: finding for finding in doctor.examine(tmp_path, tmp_path, 1)}
    assert found["device"] == Finding(
        "fail", "device", "can't be examined: libcudart.so.12: cannot open", "pip install -r requirements.txt"
    )
    assert "vgg19" in found


def test_a_folder_that_may_not_be_looked_into(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def denied(_folder: Path) -> Path:
        raise PermissionError(13, "Permission denied", "/root/a")

    monkeypatch.setattr(doctor.files, "nearest", denied)
    found = {finding.what: finding for finding in doctor.examine(tmp_path, tmp_path, 1)}
    assert found["disk"] == Finding("fail", "disk", "can't be examined: [Errno 13] Permission denied: '/root/a'")


def test_ctrl_c_is_no_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", stopped)
    assert doctor.main([]) == 130
    assert capsys.readouterr().err == "stopped\n"
