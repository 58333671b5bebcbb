import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import ROOT, picture

from texturenet import images, onnx_style
from texturenet.generators import make_noise
from texturenet.onnx_style import OnnxStyle, OnnxStyleError
from texturenet.stylizer import Stylizer


@pytest.fixture
def path(mosaic_onnx: tuple[Path, str]) -> Path:
    return mosaic_onnx[0]


@pytest.fixture
def changed(path: Path, tmp_path: Path) -> Callable[..., Path]:
    """The shipped style's file with other metadata; None takes an entry away."""

    def change(**properties: str | None) -> Path:
        model = onnx.load(path)
        kept = {item.key: item.value for item in model.metadata_props} | properties
        onnx.helper.set_model_props(model, {key: value for key, value in kept.items() if value is not None})
        target = tmp_path / "changed.onnx"
        onnx.save(model, target)
        return target

    return change


def foreign(*, external: str | None = None) -> onnx.ModelProto:
    """A network of one addition, whose constant may lie in another file."""
    constant = onnx.helper.make_tensor("one", onnx.TensorProto.FLOAT, [1], [1.0])
    if external:
        constant.ClearField("float_data")
        constant.data_location = onnx.TensorProto.EXTERNAL
        constant.external_data.add(key="location", value=external)
    sides = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "one"], ["y"])], "add", sides[:1], sides[1:], [constant]
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)


# --- painting ---------------------------------------------------------------------------------------------------------


def test_paints_where_torch_cannot_be_imported(path: Path, tmp_path: Path) -> None:
    photo = picture(61, 83)
    np.save(tmp_path / "photo.npy", photo.numpy())
    script = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from texturenet.onnx_style import OnnxStyle\n"
        f"style = OnnxStyle({str(path)!r})\n"
        f"photo = np.load({str(tmp_path / 'photo.npy')!r})\n"
        f"np.save({str(tmp_path / 'result.npy')!r}, style(photo, style.make_noise(1, 61, 83, seed=5)))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    wanted = Stylizer("mosaic")(photo, seed=5).numpy()
    assert np.abs(np.load(tmp_path / "result.npy") - wanted).max() < 1e-3


def test_the_stylizer_paints_the_same_with_either_file(path: Path) -> None:
    from_onnx, from_checkpoint = Stylizer(path), Stylizer("mosaic")
    assert (from_onnx.name, from_onnx.recipe) == (from_checkpoint.name, from_checkpoint.recipe)
    photo = picture(65, 90)
    for options in ({"seed": 3}, {"noise_factor": 0.25}):
        difference = from_onnx(photo, **options) - from_checkpoint(photo, **options)  # type: ignore[arg-type]
        assert difference.abs().max() < 1e-3


def test_the_noise_is_the_generator_s(path: Path) -> None:
    style, generator = OnnxStyle(path), Stylizer("mosaic").generator
    for height, width in ((16, 16), (64, 65), (200, 31)):
        wanted = make_noise(generator, 2, height, width, seed=7, noise_factor=0.3)
        got = style.make_noise(2, height, width, seed=7, noise_factor=0.3)
        assert all(np.array_equal(a, b.numpy()) for a, b in zip(got, wanted, strict=True))
    with pytest.raises(ValueError, match="15x40 px is too small"):
        style.noise_shapes(40, 15)


def test_a_file_from_before_noise_scales_has_noise_at_all(changed: Callable[..., Path]) -> None:
    assert [channels for channels, _, _ in OnnxStyle(changed(noise_scales=None)).noise_shapes(64, 64)] == [3] * 6


def test_threads_may_share_a_style(path: Path) -> None:
    style = OnnxStyle(path)

    def paint(seed: int) -> np.ndarray:
        height = 32 + 16 * (seed % 3)
        return style(picture(height, 64, seed).numpy(), style.make_noise(1, height, 64, seed))

    alone = [paint(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(paint, range(8)))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_through_the_door(path: Path, tmp_path: Path) -> None:
    images.save_image(picture(40, 48), tmp_path / "photo.png")
    words = [sys.executable, str(ROOT / "stylize.py"), "--model", str(path), "photo.png", "--cpu"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    painted = images.load_image(tmp_path / "stylized/photo-mosaic.png")
    wanted = Stylizer("mosaic")(images.load_image(tmp_path / "photo.png"))
    assert (painted - wanted).abs().max() < 1 / 255


def test_another_device_is_announced(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Stylizer(path, "meta").device == torch.device("cpu")
    assert "mosaic.onnx runs on the CPU" in capsys.readouterr().err


def test_noise_that_does_not_fit(path: Path) -> None:
    style = OnnxStyle(path)
    photo = np.zeros((1, 3, 64, 64), np.float32)
    noise = style.make_noise(1, 64, 64, seed=0)
    with pytest.raises(OnnxStyleError, match=r"mosaic.onnx: its network failed: .*noise_5"):
        style(photo, noise[:-1])
    with pytest.raises(OnnxStyleError, match=r"mosaic.onnx: its network failed"):
        style(photo, [noise[0][..., :32, :], *noise[1:]])
    with pytest.raises(ValueError, match="was given none"):
        style(None, noise)


# --- files of strangers -----------------------------------------------------------------------------------------------


def test_what_a_file_is_instead(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "other.onnx"
    whole = path.read_bytes()
    for content, message in (
        (b"", "is no ONNX network, or a damaged one"),
        (b"not a network at all", "is no ONNX network, or a damaged one"),
        (whole[: len(whole) // 2], "is no ONNX network, or a damaged one"),
        (foreign().SerializeToString(), "is a network, but no style of texturenet"),
    ):
        target.write_bytes(content)
        with pytest.raises(OnnxStyleError, match=f"other.onnx {message}") as caught:
            OnnxStyle(target)
        assert "\n" not in str(caught.value)
    with pytest.raises(OnnxStyleError, match=r"no style at .*nowhere.onnx"):
        OnnxStyle(tmp_path / "nowhere.onnx")
    with pytest.raises(OnnxStyleError, match="Is a directory"):
        OnnxStyle(tmp_path)


@pytest.mark.parametrize("place", ["weights.bin", "../weights.bin", "{folder}/weights.bin"])
def test_weights_in_other_files_are_not_read(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for here in (tmp_path, folder):
        (here / "weights.bin").write_bytes(np.ones(1, np.float32).tobytes())
    Path("style.onnx").write_bytes(foreign(external=place.format(folder=folder)).SerializeToString())
    with pytest.raises(OnnxStyleError, match=r"style.onnx keeps its weights in other files, which are not read"):
        OnnxStyle("style.onnx")


def test_a_file_over_the_limit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_style, "MAX_BYTES", 2**16)
    with pytest.raises(OnnxStyleError, match=r"mosaic.onnx is over 0 MB, which no style is"):
        OnnxStyle(path)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"version": "99"}, "has format version 99; this texturenet reads 1"),
        ({"noise_levels": None}, "its metadata are damaged"),
        ({"noise_factor": "much"}, "its metadata are damaged"),
        ({"recipe": "{"}, "its metadata are damaged"),
        ({"recipe": "[]"}, "do not fit its network"),
        ({"noise_factor": "nan"}, "do not fit its network"),
        ({"noise_levels": "5"}, "do not fit its network"),
        ({"noise_levels": "1000000000"}, "do not fit its network"),
        ({"noise_scales": "7"}, "do not fit its network"),
        ({"noise_scales": "few"}, "its metadata are damaged"),
        ({"noise_channels": "1000000000"}, "do not fit its network"),
        ({"noise_multiple": "0"}, "do not fit its network"),
        ({"noise_multiple": "1000000000"}, "do not fit its network"),
    ],
)
def test_metadata_that_claim_something_else(
    changed: Callable[..., Path], properties: dict[str, str | None], message: str
) -> None:
    with pytest.raises(OnnxStyleError, match=f"changed.onnx.* {message}"):
        OnnxStyle(changed(**properties))


def test_a_name_that_leads_elsewhere(changed: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"calls its style '\.\./\.\./x', which is no name for a file"):
        Stylizer(changed(name="../../x"))


def test_without_onnxruntime(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(OnnxStyleError, match=r"runs on onnxruntime, which is not installed: pip install onnxruntime"):
        OnnxStyle(path)


def test_names_that_are_no_text(path: Path, tmp_path: Path) -> None:
    for name in (b"noise_0", b"noise_factor"):
        (tmp_path / "x.onnx").write_bytes(path.read_bytes().replace(name, b"\x80" + name[1:]))
        with pytest.raises(OnnxStyleError, match=r"x\.onnx: its names or metadata are damaged; export it again"):
            OnnxStyle(tmp_path / "x.onnx")


def test_a_recipe_that_is_nested_without_end(changed: Callable[..., Path]) -> None:
    with pytest.raises(OnnxStyleError, match="its metadata are damaged"):
        OnnxStyle(changed(recipe="[" * 100_000))
