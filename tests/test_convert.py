import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, picture
from torch import Tensor

from texturenet import checkpoint, convert
from texturenet.stylizer import Stylizer

# What pytorch/examples/fast_neural_style calls its convolutions, each with its norm: (name, norm, in, out, kernel).
LAYERS = [("conv1", "in1", 3, 32, 9), ("conv2", "in2", 32, 64, 3), ("conv3", "in3", 64, 128, 3)]
LAYERS += [(f"res{b}.conv{i}", f"res{b}.in{i}", 128, 128, 3) for b in range(1, 6) for i in (1, 2)]
LAYERS += [("deconv1", "in4", 128, 64, 3), ("deconv2", "in5", 64, 32, 3), ("deconv3", "", 32, 3, 9)]


def random_weights(seed: int = 0) -> dict[str, Tensor]:
    """Every weight, bias and scale different from its start, and pictures neither black nor white."""
    rng = torch.Generator().manual_seed(seed)
    weights = {}
    for name, norm, inputs, outputs, kernel in LAYERS:
        weights[f"{name}.conv2d.weight"] = (
            torch.randn((outputs, inputs, kernel, kernel), generator=rng) / (inputs * kernel**2) ** 0.5
        )
        weights[f"{name}.conv2d.bias"] = torch.randn(outputs, generator=rng)
        if norm:
            weights[f"{norm}.weight"] = torch.rand(outputs, generator=rng) + 0.5
            weights[f"{norm}.bias"] = torch.randn(outputs, generator=rng) / 4
    weights["deconv3.conv2d.weight"] *= 60
    weights["deconv3.conv2d.bias"] += 127
    return weights


def transformer_net(weights: dict[str, Tensor], image: Tensor) -> Tensor:
    """Johnson's network as pytorch/examples has it: (B, 3, H, W) in 0..255 -> the same, not clamped."""

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight, bias = weights[f"{name}.conv2d.weight"], weights[f"{name}.conv2d.bias"]
        return F.conv2d(F.pad(x, [weight.shape[-1] // 2] * 4, mode="reflect"), weight, bias, stride)

    def norm(name: str, x: Tensor) -> Tensor:
        return F.instance_norm(x, weight=weights[f"{name}.weight"], bias=weights[f"{name}.bias"])

    def enlarged(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="nearest")

    x = F.relu(norm("in1", conv("conv1", image)))
    x = F.relu(norm("in2", conv("conv2", x, stride=2)))
    x = F.relu(norm("in3", conv("conv3", x, stride=2)))
    for block in (f"res{number}" for number in range(1, 6)):
        inner = F.relu(norm(f"{block}.in1", conv(f"{block}.conv1", x)))
        x = x + norm(f"{block}.in2", conv(f"{block}.conv2", inner))
    x = F.relu(norm("in4", conv("deconv1", enlarged(x))))
    x = F.relu(norm("in5", conv("deconv2", enlarged(x))))
    return conv("deconv3", x)


def with_statistics(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As torch before 0.4 saved them."""
    norms = [(norm, outputs) for _, norm, _, outputs, _ in LAYERS if norm]
    means = {f"{norm}.running_mean": torch.randn(outputs) for norm, outputs in norms}
    return weights | means | {f"{norm}.running_var": torch.rand(outputs) + 1 for norm, outputs in norms}


@pytest.fixture
def candy(tmp_path: Path) -> Path:
    path = tmp_path / "candy.pth"
    torch.save(random_weights(), path)
    return path


@pytest.mark.parametrize("size", [(48, 64), (92, 36)])
def test_the_same_picture(candy: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    target = tmp_path / "out" / "candy.pt"
    assert convert.main([str(candy), "-o", str(target)]) == 0
    photo = picture(*size)
    with torch.no_grad():
        theirs = transformer_net(random_weights(), 255 * photo) / 255
    assert 0.1 < ((theirs > 0) & (theirs < 1)).float().mean() < 1  # the test would see most of a difference
    style = Stylizer(target)
    assert (style(photo) - theirs.clamp(0, 1)).abs().max() < 1e-4
    assert torch.equal(style(photo, seed=1, noise_factor=2.0), style(photo))  # it knows no noise


def test_another_size_is_kept(candy: Path, tmp_path: Path) -> None:
    convert.convert_file(candy, tmp_path / "candy.pt")
    assert Stylizer(tmp_path / "candy.pt")(picture(37, 51)).shape == (1, 3, 37, 51)


def test_biases_before_a_norm_do_nothing() -> None:
    """Why they may be left out."""
    photo, weights = 255 * picture(32, 32), random_weights()
    others = weights | {
        name: value + 5 for name, value in weights.items() if name.endswith("conv2d.bias") and "deconv3" not in name
    }
    with torch.no_grad():
        assert torch.allclose(transformer_net(weights, photo), transformer_net(others, photo), atol=0.01)  # of 255


def test_old_files(candy: Path, tmp_path: Path) -> None:
    """The released ones: with statistics of the norms, and in the format of torch before 1.6."""
    torch.save(with_statistics(random_weights()), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert (tmp_path / "old.pth").read_bytes()[:2] != b"PK"
    for source in (candy, tmp_path / "old.pth"):
        convert.convert_file(source, source.with_suffix(".pt"))
    new, old = (checkpoint.load(tmp_path / name)["weights"] for name in ("candy.pt", "old.pt"))
    assert new.keys() == old.keys()
    assert all(torch.equal(new[name], old[name]) for name in new)


def test_the_checkpoint_says_where_it_is_from(candy: Path, tmp_path: Path) -> None:
    convert.convert_file(candy, tmp_path / "sweet.pt")
    fields = checkpoint.load(tmp_path / "sweet.pt")
    assert (fields["name"], fields["step"]) == ("sweet", 0)
    assert fields["converted_from"]["file"] == "candy.pth"
    assert "learning_rate" not in fields["recipe"]  # unknown


class RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("code-was-run",)


def test_what_is_no_transformer_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = random_weights()
    shorter = {name: value for name, value in weights.items() if "res5" not in name}
    for content, message in (
        (shorter, r"another network than TransformerNet .*: 'res5.conv1.conv2d.weight'"),
        (weights | {"extra.weight": torch.ones(1)}, "another network than TransformerNet .*: 'extra.weight'"),
        (weights | {"in1.weight": torch.ones(5)}, "another network than TransformerNet"),
        ({0: torch.ones(1)}, "is not a plain dict of network weights"),
        ([1, 2], "is not a plain dict of network weights"),
        ({"model": RunsCode()}, "is not a file of network weights"),
    ):
        torch.save(content, "x.pth")
        with pytest.raises(ValueError, match=message) as caught:
            convert.convert_file(Path("x.pth"), Path("x.pt"))
        assert "\n" not in str(caught.value)
    Path("x.pth").write_text("no weights")
    with pytest.raises(ValueError, match=r"x.pth is not a file of network weights"):
        convert.convert_file(Path("x.pth"), Path("x.pt"))
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


def test_errors_at_the_door(candy: Path, tmp_path: Path) -> None:
    def door(*words: object) -> str:
        command = [sys.executable, "-m", "texturenet.convert", *map(str, words)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ended.returncode == 2
        return ended.stderr

    assert door(tmp_path / "nowhere.pth", "-o", tmp_path / "x.pt").startswith("convert: error: no weights at ")
    before = candy.read_bytes()
    assert "would replace the weights themselves" in door(candy, "-o", candy)
    assert candy.read_bytes() == before
    (tmp_path / "mine.pt").write_text("a style")
    assert "mine.pt exists; give another -o, or take it away" in door(candy, "-o", tmp_path / "mine.pt")
    assert "x.onnx: a checkpoint is called .pt" in door(candy, "-o", tmp_path / "x.onnx")
    assert "a style can't be called '.x'; give another -o" in door(candy, "-o", tmp_path / ".x.pt")
