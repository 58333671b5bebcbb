import hashlib
import threading
import time
from pathlib import Path

import pytest
import torch
from conftest import picture
from torch import Tensor, nn

from texturenet import config, perceptual
from texturenet.perceptual import ENCODERS, PREPROCESS, Encoder, load_encoder, models, random_encoder

TORCHVISION = {
    "vgg19": models.vgg19,
    "vgg16": models.vgg16,
    "resnet18": models.resnet18,
    "squeezenet1_1": models.squeezenet1_1,
}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No weights in torch's cache, and no way to the network."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(perceptual, "_unreachable", lambda _url: "no route to its host")


@pytest.fixture(scope="module")
def vgg16_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return models.vgg16(weights=None).state_dict()


def test_names_are_the_flags() -> None:
    assert ("auto", *ENCODERS) == config.PERCEPTUAL


@pytest.mark.parametrize(
    ("name", "layer", "depth"),
    [
        ("vgg19", "relu1_1", 2),
        ("vgg19", "conv3_1", 11),
        ("vgg19", "relu4_2", 23),
        ("vgg19", "relu5_1", 30),
        ("vgg16", "relu3_3", 16),
        ("vgg16", "relu5_3", 30),
        ("squeezenet1_1", "fire5", 8),
        ("squeezenet1_1", "fire9", 13),
    ],
)
def test_layers_are_torchvisions_own(name: str, layer: str, depth: int) -> None:
    """The named layer is torchvision's features[:depth], with our first layer padded by zeros as theirs."""
    torch.manual_seed(0)
    theirs = TORCHVISION[name](weights=None).eval()
    encoder = perceptual._assemble(name, theirs.state_dict(), "torchvision", "test")
    encoder.chain[encoder.layers[0]].padding_mode = "zeros"
    image = picture(96, 96)
    expected = theirs.features[:depth]((image - encoder.mean) / encoder.std)
    assert torch.allclose(encoder(image, [layer])[layer], expected, atol=1e-5)


def test_resnet_layers_are_torchvisions_own() -> None:
    torch.manual_seed(0)
    theirs = models.resnet18(weights=None).eval()
    encoder = perceptual._assemble("resnet18", theirs.state_dict(), "torchvision", "test")
    theirs.conv1.padding_mode, theirs.conv1._reversed_padding_repeated_twice = "replicate", [3, 3, 3, 3]
    image = picture(96, 96)
    x = theirs.bn1(theirs.conv1((image - encoder.mean) / encoder.std))
    features = encoder(image, ["conv1", "layer1", "layer2"])
    assert torch.allclose(features["conv1"], x, atol=1e-6)
    x = theirs.layer1(theirs.maxpool(theirs.relu(x)))
    assert torch.allclose(features["layer1"], x, atol=1e-5)
    assert torch.allclose(features["layer2"], theirs.layer2(x), atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_frozen_and_its_default_layers_exist(name: str) -> None:
    encoder = random_encoder(name).train()
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    image = picture(64, 64).requires_grad_()
    features = encoder(image, encoder.style_layers)
    assert tuple(features) == encoder.style_layers
    sum(value.sum() for value in features.values()).backward()  # type: ignore[union-attr]
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert set(encoder.content_layers) <= set(encoder.layers)
    assert len(encoder.style_layers) == len(config.Recipe().style_weights)


def test_nothing_is_computed_beyond_the_last_named_layer() -> None:
    encoder = random_encoder("lite")
    reached: list[str] = []
    for name, layer in encoder.chain.items():
        layer.register_forward_hook(lambda *_, name=name: reached.append(name))
    encoder(picture(32, 32), ["relu2_1", "relu1_1"])
    assert [name for name in reached if "relu" not in name] == ["conv1_1", "conv1_2", "pool1", "conv2_1"]


def test_features_are_those_of_the_layers_one_by_one() -> None:
    """A ReLU works in place where it may: neither another layer's features nor the caller's picture change."""
    encoder = random_encoder("lite")
    image = picture(32, 32)
    before, x, expected = image.clone(), (image - encoder.mean) / encoder.std, {}
    for name, layer in encoder.chain.items():
        x = expected[name] = layer(x)
    features = encoder(image, expected)
    assert all(torch.equal(features[name], value) for name, value in expected.items())
    fewer = encoder(image, ["conv1_1", "relu1_2", "relu2_1"])
    assert all(torch.equal(value, expected[name]) for name, value in fewer.items())
    assert torch.equal(image, before)


def test_pooling_is_a_choice() -> None:
    assert isinstance(load_encoder("lite").chain["pool1"], nn.AvgPool2d)
    assert isinstance(load_encoder("lite", pooling="max").chain["pool1"], nn.MaxPool2d)
    with pytest.raises(ValueError, match="choose from max, avg"):
        load_encoder("lite", pooling="median")


@pytest.mark.parametrize("alias", ["block4_conv2", "relu4_2"])
def test_kerass_spelling(alias: str) -> None:
    """Keras' convolutions include their activation."""
    assert random_encoder("lite").resolve([alias]) == ["relu4_2"]


def test_unknown_layer_lists_the_choices() -> None:
    with pytest.raises(ValueError, match=r"unknown layer 'relu9_9' of lite; choose from conv1_1, relu1_1, .*relu5_1"):
        random_encoder("lite")(picture(32, 32), ["relu9_9"])


def test_lite_has_mean_activation_one() -> None:
    """Gatys' normalisation, which its README promises; on smooth pictures it is below that of photos."""
    features = load_encoder("lite")(picture(128, 128), ["relu1_1", "relu3_1", "relu5_1"])
    assert all(0.2 < value.mean() < 3 for value in features.values())


@pytest.mark.parametrize(
    ("name", "layer", "least"), [("lite", "relu5_1", 16), ("vgg19", "relu2_1", 2), ("resnet18", "layer4", 32)]
)
def test_too_small_a_picture(name: str, layer: str, least: int) -> None:
    encoder = random_encoder(name)
    encoder(picture(least, least), [layer])
    with pytest.raises(ValueError, match=rf"too small for {layer} of {name}: it takes at least {least}x{least}"):
        encoder(picture(least - 1, 64), [layer])


def test_luma_and_rgb_are_layers_of_every_network():
    encoder = load_encoder("lite")
    picture = torch.zeros(1, 3, 20, 37)
    picture[:, 1, :8, 8:16] = 1.0  # one cell, green
    features = encoder(picture, ["luma_8", "relu1_1"])
    assert set(features) == {"luma_8", "relu1_1"} and features["luma_8"].shape == (1, 1, 2, 4)
    assert features["luma_8"].flatten().tolist() == pytest.approx([0, 0.7152, 0, 0, 0, 0, 0, 0])
    assert torch.equal(encoder(picture, ["luma_8"])["luma_8"], features["luma_8"])
    rgb = encoder(picture, ["rgb_8", "luma_8"])["rgb_8"]
    assert rgb.shape == (1, 3, 2, 4) and rgb.flatten(2).sum(2).tolist() == [[0, 1, 0]]
    assert encoder(picture, ["luma_5"])["luma_5"].shape == (1, 1, 4, 7)
    with pytest.raises(ValueError, match=r"too small for luma_16 of lite: it takes at least 32x32"):
        encoder(picture, ["relu5_1", "luma_16"])
    with pytest.raises(ValueError, match=r"unknown layer 'luma_0' of lite; .*or blur_8, rgb_8 or luma_8 \(averaged"):
        encoder.resolve(["luma_0"])


def test_blur_has_no_grid():
    """A stripe within a cell is seen twice as well as one across two; windows see both alike."""
    encoder = load_encoder("lite")
    within, across = torch.zeros(1, 3, 32, 37), torch.zeros(1, 3, 32, 37)
    within[..., 12:16] = across[..., 14:18] = 1.0

    def seen(picture: Tensor, layer: str) -> float:
        return encoder(picture, [layer])[layer].square().sum().item()

    assert encoder(within, ["blur_8"])["blur_8"].shape == (1, 3, 6, 7)
    assert encoder(within, ["blur_8"])["blur_8"][0, 0, 3].tolist() == [0, 0.25, 0.5, 0.25, 0, 0, 0]
    assert seen(within, "rgb_8") / seen(across, "rgb_8") == pytest.approx(2)
    assert seen(within, "blur_8") / seen(across, "blur_8") == pytest.approx(1.2)
    for layer in ("blur_7", "blur_0", "blur_08"):
        with pytest.raises(ValueError, match=f"unknown layer '{layer}' of lite"):
            encoder.resolve([layer])
    with pytest.raises(ValueError, match="too small for blur_16 of lite: it takes at least 32x32"):
        encoder(torch.zeros(1, 3, 31, 40), ["blur_16"])


def test_luma_is_blind_to_colour_and_to_strokes_within_a_cell():
    picture = torch.full((1, 3, 32, 32), 0.5)
    striped = picture.clone()
    striped[..., ::2] += 0.3
    striped[..., 1::2] -= 0.3
    coloured = picture + torch.tensor([0.1, -0.1 * 0.2126 / 0.7152, 0.0]).view(1, 3, 1, 1)
    encoder = load_encoder("lite")
    grey, *others = (encoder(each, ["luma_8"])["luma_8"] for each in (picture, striped, coloured))
    assert all(torch.allclose(grey, other, atol=1e-6) for other in others)


# --- weights ---------------------------------------------------------------------------------------------------------


def as_papers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's keys -> conv1_1.weight ..."""
    names = [name for name in ENCODERS["vgg16"].build("max") if name.startswith("conv")]
    weights = [key for key in state if key.startswith("features") and key.endswith("weight")]
    return {
        f"{name}.{part}": state[key.replace("weight", part)]
        for name, key in zip(names, weights, strict=True)
        for part in ("weight", "bias")
    }


def as_caffe(state: dict[str, Tensor], first: str) -> dict[str, Tensor]:
    """The same network for Caffe's input: BGR in 0..255 minus Caffe's mean."""
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in PREPROCESS["torchvision"])
    caffe_mean = torch.tensor(PREPROCESS["caffe"][0]).view(1, 3, 1, 1)
    weight, bias = state[f"{first}.weight"], state[f"{first}.bias"]
    shifted = bias + ((caffe_mean - mean) / std * weight).sum(dim=(1, 2, 3))
    return state | {f"{first}.weight": (weight / std / 255).flip(1), f"{first}.bias": shifted}


@pytest.mark.parametrize("form", ["torchvision", "jcjohnson", "gatys"])
def test_every_weight_format_gives_the_same_features(
    form: str, vgg16_state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, preprocess = tmp_path / f"{form}.pth", None
    state = {
        "torchvision": vgg16_state,
        "jcjohnson": as_caffe(vgg16_state, "features.0"),
        "gatys": as_caffe(as_papers(vgg16_state), "conv1_1"),
    }[form]
    torch.save({key: value for key, value in state.items() if not key.startswith("classifier.3")}, path)
    if form == "jcjohnson":  # told by the hash of the released file, or by the user
        preprocess = "caffe"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr(perceptual, "_CAFFE_SHA256_PREFIXES", (digest[:8],))
        assert load_encoder("vgg16", path).preprocess == "caffe"
    image = picture(64, 64)
    reference = perceptual._assemble("vgg16", vgg16_state, "torchvision", "test")
    layers = ["relu1_1", "relu3_1", "relu4_2"]
    expected, actual = reference(image, layers), load_encoder("vgg16", path, preprocess)(image, layers)
    for layer in layers:
        assert torch.allclose(actual[layer], expected[layer], rtol=1e-3, atol=1e-4), layer


def test_a_file_without_a_name_tells_its_network(vgg16_state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(vgg16_state, tmp_path / "weights.pth")
    encoder = load_encoder("auto", tmp_path / "weights.pth")
    assert encoder.name == "vgg16"
    assert "torchvision preprocessing assumed" in encoder.source


@pytest.mark.usefixtures("offline")
def test_auto_without_weights_takes_lite_and_says_why() -> None:
    encoder = load_encoder("auto")
    assert encoder.name == "lite"
    assert encoder.source == (
        "lite (ships with texturenet), since vgg19's weights are not on this machine and can't be downloaded "
        "(no route to its host)"
    )


@pytest.mark.usefixtures("offline")
def test_explicit_vgg19_without_weights_names_every_way_out() -> None:
    with pytest.raises(ValueError) as caught:
        load_encoder("vgg19")
    for way in ("https://", "checkpoints/vgg19-dcbb9e9d.pth", "--perceptual_weights", "--perceptual lite"):
        assert way in str(caught.value)


@pytest.mark.usefixtures("offline")
def test_torchs_cache_is_used(vgg16_state: dict[str, Tensor], tmp_path: Path) -> None:
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(vgg16_state, cache / "vgg16-397923af.pth")
    assert "torch's cache" in load_encoder("vgg16").source


def test_the_choice_takes_under_five_seconds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where the network neither answers nor refuses."""
    release = threading.Event()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(perceptual.urllib.request, "urlopen", lambda *_args, **_options: release.wait(30))
    start = time.perf_counter()
    encoder = load_encoder("auto")
    release.set()
    assert time.perf_counter() - start < 5
    assert "no answer in 4 s" in encoder.source


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>404</html>", "is not a file of network weights"),
        (None, "no perceptual weights at"),
        ({"step": 3}, "not a plain dict of network weights"),
        ({"a.weight": torch.zeros(1)}, "fits none of vgg19, vgg16"),
        ({1: torch.zeros(1)}, "not a plain dict of network weights"),
        ({"features.0.weight": torch.zeros(1), "features.x": torch.zeros(1)}, "fits none of vgg19, vgg16"),
        ({"conv1_1.weight": torch.zeros(1).expand(10**12)}, "claims the shape"),
    ],
)
def test_wrong_files(content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        load_encoder("auto", path)


def test_a_file_of_another_network(vgg16_state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(vgg16_state, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="does not hold the weights of vgg19"):
        load_encoder("vgg19", tmp_path / "w.pth")


def test_wrong_names() -> None:
    with pytest.raises(ValueError, match="choose from auto, vgg19"):
        load_encoder("vgg20")
    with pytest.raises(ValueError, match="choose from torchvision, caffe"):
        load_encoder("lite", preprocess="bgr")
    with pytest.raises(ValueError, match="is of a file of weights; name one with --perceptual_weights"):
        load_encoder("lite", preprocess="caffe")


def test_encoder_computes_in_the_type_of_its_weights() -> None:
    encoder: Encoder = load_encoder("lite")
    full = encoder(picture(64, 64), ["relu4_1"])["relu4_1"]
    encoder.chain.to(torch.bfloat16)
    half = encoder(picture(64, 64), ["relu4_1"])["relu4_1"]
    assert half.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(full.flatten(), half.float().flatten(), dim=0) > 0.999
