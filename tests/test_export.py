import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
import torch
from conftest import ROOT, picture

from texturenet import checkpoint, convert, export
from texturenet.generators import GENERATORS, make_noise
from texturenet.onnx_style import OnnxStyle

MOSAIC = ROOT / "checkpoints/mosaic.pt"


def save_style(path: Path, name: str = "pyramid", **options: object) -> Path:
    torch.manual_seed(0)
    checkpoint.save(
        path,
        name="checks",
        generator={"name": name, "options": options},
        weights=GENERATORS[name](**options).state_dict(),
        recipe={"noise_factor": 0.5},
        perceptual={"name": "lite", "source": "test"},
        step=1,
    )
    return path


def assert_same(path: Path, source: Path, *shape: int) -> None:
    generator = checkpoint.build_generator(checkpoint.load(source))
    noise = make_noise(generator, *shape, seed=1)
    batch, height, width = shape
    photo = picture(height, width, batch=batch) if generator.content else None
    with torch.no_grad():
        wanted = generator(photo, noise).numpy()
    got = OnnxStyle(path)(None if photo is None else photo.numpy(), [level.numpy() for level in noise])
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < 1e-3


def test_the_door_says_what_it_checked(mosaic_onnx: tuple[Path, str]) -> None:
    path, printed = mosaic_onnx
    assert "opset 18" in printed
    assert "onnxruntime against torch at 96x64, 65x83, 197x131: largest difference" in printed
    assert [file.name for file in path.parent.iterdir()] == [
        "mosaic.onnx"
    ]  # its weights are in it, and no scrap is left


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 97, 131), (1, 200, 77)])
def test_the_shipped_style_is_the_same_at_any_size(mosaic_onnx: tuple[Path, str], shape: tuple[int, ...]) -> None:
    assert_same(mosaic_onnx[0], MOSAIC, *shape)


def test_the_file_describes_itself(mosaic_onnx: tuple[Path, str]) -> None:
    model = onnx.load(mosaic_onnx[0])
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    properties = {item.key: item.value for item in model.metadata_props}
    assert (properties["format"], properties["version"], properties["name"]) == ("texturenet", "1", "mosaic")
    assert '"style_size": 256' in properties["recipe"]
    (output,) = model.graph.output
    dims = [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim]
    assert dims == ["batch", 3, "height", "width"]
    assert str(ROOT).encode() not in mosaic_onnx[0].read_bytes()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pyramid", {"content": False, "scales": 2, "width": 2, "padding": "circular", "normalization": "batch"}),
        ("pyramid", {"scales": 3, "width": 2, "noise_scales": 1}),
        ("pyramid", {"scales": 3, "width": 2}),
        ("pyramid", {"scales": 4, "width": 2, "upsampling": "bilinear"}),
        ("pyramid", {"content": False, "scales": 3, "width": 2, "padding": "circular", "upsampling": "bilinear"}),
        ("residual", {"width": 2, "blocks": 1, "noise_channels": 0, "slope": 0.0, "direct": True}),
        ("residual", {"width": 2, "blocks": 1, "upsampling": "bilinear"}),
    ],
)
def test_other_networks(name: str, options: dict[str, object], tmp_path: Path) -> None:
    source = save_style(tmp_path / "style.pt", name, **options)
    assert export.export(source, tmp_path / "style.onnx") < 1e-5
    assert_same(tmp_path / "style.onnx", source, 1, 37, 50)


def test_the_file_asks_for_no_noise_without_channels(tmp_path: Path) -> None:
    source = save_style(tmp_path / "style.pt", "pyramid", scales=3, width=2, noise_scales=1)
    export.export(source, tmp_path / "style.onnx")
    assert [item.name for item in onnx.load(tmp_path / "style.onnx").graph.input] == ["photo", "noise_2"]


def test_another_picture_than_torch_s_is_not_written(
    mosaic_onnx: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = checkpoint.load(MOSAIC)
    fields["weights"]["to_rgb.bias"] += 1
    other = tmp_path / "other.pt"
    checkpoint.save(other, **{name: value for name, value in fields.items() if name not in ("format", "version")})
    monkeypatch.setattr(export, "_to_onnx", lambda *_: mosaic_onnx[0].read_bytes())
    target = tmp_path / "style.onnx"
    target.write_text("the file of before")
    with pytest.raises(ValueError, match=r"style.onnx is not written: .* 0.\d off torch's, and 1e-03 is allowed"):
        export.export(other, target)
    fields["weights"]["to_rgb.bias"] *= torch.nan
    checkpoint.save(other, **{name: value for name, value in fields.items() if name not in ("format", "version")})
    with pytest.raises(ValueError, match=r"style.onnx is not written: .* nan off torch's"):
        export.export(other, target)
    assert target.read_text() == "the file of before"
    assert {path.name for path in tmp_path.iterdir()} == {"other.pt", "style.onnx"}


def test_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert export.main(["mosaic", "-o", str(tmp_path / "style.onnx")]) == 2
    assert capsys.readouterr().err == (
        "export: error: the export needs onnxscript, not installed: pip install onnx onnxscript onnxruntime\n"
    )


def test_what_cannot_be_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.pt").write_text("no checkpoint")
    for words, message in (
        (["nowhere.pt"], "no checkpoint at nowhere.pt"),
        ([str(tmp_path / "notes.pt")], "notes.pt is not a checkpoint"),
        (["mosaic", "-o", "style.pt"], "style.pt: an ONNX file is called .onnx"),
    ):
        assert export.main(words) == 2
        assert message in capsys.readouterr().err


def test_help_needs_no_torch() -> None:
    script = "import sys; sys.modules['torch'] = None; from texturenet import export; export.main(['--help'])"
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "CHECKPOINT" in ended.stdout


@pytest.mark.parametrize("room", [export, convert])
def test_ctrl_c_is_one_line(
    room: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "export", interrupted)
    monkeypatch.setattr(convert, "convert_file", interrupted)
    assert room.main([str(ROOT / "checkpoints/mosaic.pt"), "-o", str(tmp_path / "out.onnx")]) == 130
    assert capsys.readouterr().err == "stopped; nothing was written\n"
