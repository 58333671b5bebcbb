import os
import pickle
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, picture

from texturenet import checkpoint
from texturenet.checkpoint import CheckpointError
from texturenet.generators import Pyramid, make_noise

OPTIONS = {"content": True, "scales": 3, "width": 4}


def fields(seed: int = 0) -> dict[str, object]:
    torch.manual_seed(seed)
    return {
        "name": "checks",
        "generator": {"name": "pyramid", "options": OPTIONS},
        "weights": Pyramid(**OPTIONS).state_dict(),  # type: ignore[arg-type]
        "recipe": {"noise_factor": 1.0},
        "perceptual": {"name": "lite", "source": "test"},
        "step": 7,
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "deep" / "style.pt"
    checkpoint.save(target, **fields())
    return target


def test_round_trip(path: Path) -> None:
    before, after = fields(), checkpoint.load(path)
    assert (after["name"], after["step"], after["recipe"]) == ("checks", 7, {"noise_factor": 1.0})
    generator = checkpoint.build_generator(after)
    assert not generator.training
    reference = Pyramid(**OPTIONS).eval()  # type: ignore[arg-type]
    reference.load_state_dict(before["weights"])  # type: ignore[arg-type]
    noise = make_noise(reference, 1, 32, 32, 0)
    with torch.no_grad():
        assert torch.equal(generator(picture(32, 32), noise), reference(picture(32, 32), noise))
    assert [p.name for p in path.parent.iterdir()] == ["style.pt"]


def test_a_full_disk_keeps_the_old_file(path: Path) -> None:
    """A real refusal of the kernel: the process may not write files past a size."""
    old = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) // 2, before[1]))
    try:
        with pytest.raises(OSError, match=r"style.pt: could not be saved: File too large; .* was there is untouched"):
            checkpoint.save(path, **fields(seed=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == old
    assert [p.name for p in path.parent.iterdir()] == ["style.pt"]


def test_kill_in_the_middle_of_a_save_keeps_the_old_file(path: Path) -> None:
    old = path.read_bytes()
    script = (
        "import os, signal, sys, pathlib, torch\n"
        "sys.path.insert(0, 'tests')\n"
        "from texturenet import checkpoint\n"
        "from test_checkpoint import fields\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"  # all is written, nothing is renamed
        f"checkpoint.save(pathlib.Path({str(path)!r}), **fields(seed=1))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == old
    assert checkpoint.load(path)["step"] == 7


def test_an_output_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/style.pt: could not be saved: (File exists|Not a directory)"):
        checkpoint.save(tmp_path / "file" / "style.pt", **fields())


class RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("code-was-run",)


def other_program() -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.zeros(3)}


@pytest.mark.parametrize("kind", ["pickle", "zip"])
def test_code_in_a_pickle_is_not_run(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    if kind == "zip":
        torch.save({"format": "texturenet", "weights": RunsCode()}, path)
    else:
        path.write_bytes(pickle.dumps(RunsCode()))
    reason = "holds Python objects" if kind == "zip" else "is not a checkpoint"
    with pytest.raises(CheckpointError, match=f"evil.pt {reason}"):
        checkpoint.load(path)
    assert not (tmp_path / "code-was-run").exists()


def test_what_a_file_is_instead(path: Path, tmp_path: Path) -> None:
    def refused(content: object, message: str) -> None:
        target = tmp_path / "other.pt"
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            torch.save(content, target)
        with pytest.raises(CheckpointError, match=message):
            checkpoint.load(target)

    whole = path.read_bytes()
    refused(b"", "other.pt is not a checkpoint")
    refused(b"not a checkpoint at all", "other.pt is not a checkpoint")
    for share in (0.1, 0.5, 0.9, 0.999):
        refused(whole[: int(share * len(whole))], "other.pt is damaged or cut short")
    refused(other_program(), "of another program than texturenet")
    refused([1, 2], "of another program")
    refused({**fields(), "format": "texturenet", "version": 99}, "format version 99; this texturenet reads 1")
    refused({"format": "texturenet", "version": 1}, "lacks name, generator")
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nowhere.pt"):
        checkpoint.load(tmp_path / "nowhere.pt")
    with pytest.raises(CheckpointError, match="Is a directory"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    "generator",
    [{"name": "transformer", "options": {}}, {"name": "pyramid", "options": {"depth": 3}}, {"name": "pyramid"}, None],
)
def test_a_generator_that_does_not_fit(path: Path, generator: object) -> None:
    loaded = checkpoint.load(path) | {"generator": generator}
    with pytest.raises(CheckpointError, match="does not fit its own generator"):
        checkpoint.build_generator(loaded)


@pytest.mark.parametrize(
    "changed",
    [
        {"step": "7"},
        {"step": -1},
        {"weights": [1]},
        {"recipe": {}},
        {"recipe": {"noise_factor": float("nan")}},
        {"recipe": {"noise_factor": 10**400}},
        {"recipe": {"noise_factor": 1.0, "tv_weight": torch.zeros(1)}},
        {"generator": {"name": ("a", "b"), "options": {}}},
        {"perceptual": {"name": "lite"}},
        {"photos": {"count": "many"}},
        {"texture": torch.zeros(3, 4, 4)},
        {"texture": torch.zeros(4, dtype=torch.uint8)},
        {"training": 3},
    ],
    ids=str,
)
def test_a_field_that_holds_something_else(changed: dict[str, object], path: Path) -> None:
    checkpoint.save(path, **fields() | changed)
    with pytest.raises(CheckpointError, match=f"something else than expected as its {next(iter(changed))};"):
        checkpoint.load(path)


@pytest.mark.parametrize("version", [torch.zeros(2), "1", 10**500, None], ids=["tensor", "text", "long", "none"])
def test_a_version_that_is_none(version: object, path: Path) -> None:
    torch.save({**fields(), "format": "texturenet", "version": version}, path)
    with pytest.raises(CheckpointError, match="has no format version; it is damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize("name", ["../../x", "a/b", "/etc/x", "..", "", ".x", "a\\b", "a\nb", "x\x00", "x" * 200])
def test_a_name_that_leads_elsewhere(name: str, path: Path) -> None:
    """Results, and the checkpoints of a resumed run, are called after it."""
    checkpoint.save(path, **fields() | {"name": name})
    with pytest.raises(CheckpointError, match="which is no name for a file"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "options",
    [
        {"scales": 10**9},
        {"scales": 0},
        {"scales": 12, "width": 1024},  # of a plausible size each; together 10 GB
        {"width": 10**9},
        {"noise_channels": -3},
        {"noise_scales": -1},
        {"slope": "steep"},
        {"padding": ("zeros",)},
        {"upsampling": 2},
        {"content": [1]},
    ],
    ids=str,
)
def test_sizes_that_are_only_claimed(options: dict[str, object], path: Path) -> None:
    name = "residual" if "slope" in options else "pyramid"
    loaded = checkpoint.load(path) | {"generator": {"name": name, "options": OPTIONS | options}}
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="does not fit its own generator"):
        checkpoint.build_generator(loaded)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - taken < 100_000  # kB
