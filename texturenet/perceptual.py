"""Perceptual networks: frozen ImageNet classifiers whose named layers measure how alike two pictures look.

An `Encoder` takes images as everything here does, (B, 3, H, W) RGB in [0, 1]; normalisation happens inside.
Layer names are the papers' (``relu4_2``, before the activation ``conv4_2``; resnet18 ``layer2``), and Keras' spelling
(``block4_conv2``, which includes the activation) is understood as an alias. Three layers belong to no network:
``rgb_8`` is the picture itself averaged over cells of 8x8 px, ``luma_8`` its luma, and ``blur_8`` the picture through
windows that fall off from their middle, 8 px wide at half their height and one every 4 px; and so with any number. As
content layers they keep the photo's light and shade where strokes are free (Li et al. 2017, arXiv 1707.01253, compare
pictures that are averaged so, after a Laplacian). Cells that meet at edges are a grid that a generator finds: it laid
its strokes so that each cell came out even, in rows. Through windows that overlap there is none to be found.

Departure from the papers: the first convolution pads by replication instead of zeros. A black frame around every
picture is a texture of its own, which the style loss would otherwise ask the generator to paint (the same choice as
crowsonkb/style-transfer-pytorch, and the cure for DmitryUlyanov/texture_nets#33).

Weights are looked for in this order: a file of the user's, torch's cache, torchvision's download with its hash check.
`lite` is our own small network and ships inside the package, so that nothing needs a download to start. Files may be
torchvision's (keys ``features.0.weight``), Gatys' ``vgg_conv.pth`` (``conv1_1.weight``; BGR, 0-255, mean
subtracted), jcjohnson's conversion of the Caffe networks (torchvision's keys, Caffe's preprocessing) or one in
lite's own form.
"""

from __future__ import annotations

import re
import threading
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _define_missing_torchvision_operators() -> torch.library.Library | None:
    """Make torchvision importable beside a torch that its C++ part is not linked against.

    PyPI's torchvision is built for CUDA; next to a CPU build of torch its library does not load, and the import dies
    on the missing schema of two operators that this project never calls. With the schemas defined, the rest works.
    """
    if torch.cuda.is_available():
        return None
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    else:
        return None
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor dets_scales, Tensor scores, Tensor scores_scales, float iou_threshold) -> Tensor",
    ):
        library.define(schema)  # type: ignore[no-untyped-call]
    return library


_torchvision_operators = _define_missing_torchvision_operators()

from torchvision import models  # noqa: E402  the operators above have to stand first

from texturenet import files, torchfile  # noqa: E402
from texturenet.colors import luma  # noqa: E402
from texturenet.winograd import FrozenConvolution, PaddingMode  # noqa: E402

# Mean and standard deviation per RGB channel, of images in [0, 1].
PREPROCESS = {
    "torchvision": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # Caffe's networks read BGR in 0..255 minus the mean; their first layer is turned to RGB when it is loaded.
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)),
}
POOLING = ("max", "avg")
LITE_FILE = Path(__file__).with_name("lite.pt")

# Files that their SHA-256 tells apart where the keys can't (both have torchvision's keys).
_CAFFE_SHA256_PREFIXES = ("d01eb7cb", "00b39a1b")  # vgg19, vgg16 of jcjohnson/pytorch-vgg
PROBE_SECONDS = 4.0


class Encoder(nn.Module):
    """A frozen chain of named layers.

    name         key of `ENCODERS`
    source       where the weights came from, for the log and the checkpoint
    style_layers, content_layers    the defaults for this network
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, chain: dict[str, nn.Module], preprocess: str, source: str = "random weights") -> None:
        super().__init__()
        self.name, self.source, self.preprocess = name, source, preprocess
        self.chain = nn.ModuleDict(chain)
        mean, std = PREPROCESS[preprocess]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that can be asked for, first to last."""
        return tuple(self.chain)

    @property
    def style_layers(self) -> tuple[str, ...]:
        return ENCODERS[self.name].style_layers

    @property
    def content_layers(self) -> tuple[str, ...]:
        return ENCODERS[self.name].content_layers

    def train(self, mode: bool = True) -> Encoder:  # noqa: ARG002
        """Stays in evaluation mode: a frozen network has no other."""
        return super().train(False)

    def resolve(self, layers: Iterable[str]) -> list[str]:
        """The layers' own names, aliases replaced. Raises ValueError that lists the choices for an unknown one."""
        resolved = [_keras_alias(layer) for layer in layers]
        for layer in resolved:
            if layer not in self.chain and not _averaged_over(layer):
                raise ValueError(
                    f"unknown layer {layer!r} of {self.name}; choose from {', '.join(self.layers)}, or blur_8, rgb_8 "
                    "or luma_8 (averaged over 8x8 px; any number, an even one for blur)"
                )
        return resolved

    def forward(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features of the named layers, and nothing computed beyond the last of them.

        image    (B, 3, H, W) RGB in [0, 1]
        returns  {layer: (B, C, H', W')}, in the dtype of the network's weights; blur_8, rgb_8, luma_8 in the image's
        """
        wanted = set(self.resolve(layers))
        self._require_size(image, wanted)
        features = {name: _averaged(image, name, cell) for name in wanted if (cell := _averaged_over(name))}
        if len(features) == len(wanted):
            return features
        x = ((image - self.mean) / self.std).to(next(self.chain.parameters()).dtype)
        taken = True  # whether x is somebody else's
        for name, layer in self.chain.items():
            # In place where nobody else reads what the ReLU is given: one map less to be written.
            x = torch.relu_(x) if isinstance(layer, nn.ReLU) and not taken else layer(x)
            taken = name in wanted
            if taken:
                features[name] = x
                if len(features) == len(wanted):
                    break
        return features

    def _require_size(self, image: Tensor, wanted: set[str]) -> None:
        # Two cells of rgb_8 or windows of blur_8, since what is compared may be variances.
        smallest = {name: 2 * cell for name in wanted if (cell := _averaged_over(name))}
        stride = 1
        for name, layer in self.chain.items():
            if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d) or name in ("conv1", "layer2", "layer3", "layer4"):
                stride *= 2
            if name in wanted:  # squeezenet does not pad, and needs twice as much to keep one position
                smallest[name] = stride * 2 if self.name.startswith("squeezenet") else stride
        height, width = image.shape[-2:]
        largest = max(smallest, key=lambda name: smallest[name])
        if min(height, width) < smallest[largest]:
            raise ValueError(
                f"a picture of {width}x{height} px is too small for {largest} of {self.name}: "
                f"it takes at least {smallest[largest]}x{smallest[largest]}"
            )


def _averaged_over(layer: str) -> int:
    """Side in px of the cells of ``rgb_8`` or ``luma_8``, width of the windows of ``blur_8``; 0 for another layer."""
    match = re.fullmatch(r"(?:rgb|luma)_([1-9]\d*)|blur_((?:[1-9]\d*)?[02468])", layer)
    return int(match[1] or match[2]) if match else 0


def _averaged(image: Tensor, layer: str, cell: int) -> Tensor:
    if layer.startswith("blur"):  # weights of 1, 2, 1 over cells of half the width, along both axes
        halves = F.avg_pool2d(image, cell // 2)
        return F.avg_pool2d(F.avg_pool2d(halves, 2, 1), 2, 1)
    return F.avg_pool2d(luma(image) if layer.startswith("luma") else image, cell)


def _keras_alias(layer: str) -> str:
    if match := re.fullmatch(r"block(\d)_conv(\d)", layer):
        return f"relu{match[1]}_{match[2]}"
    if match := re.fullmatch(r"block(\d)_pool", layer):
        return f"pool{match[1]}"
    return layer


# --- the networks ----------------------------------------------------------------------------------------------------


def _pool(pooling: str, kernel: int = 2, ceil: bool = False) -> nn.Module:
    if pooling == "avg":
        return nn.AvgPool2d(kernel, 2, ceil_mode=ceil)
    return nn.MaxPool2d(kernel, 2, ceil_mode=ceil)


def _vgg(widths: tuple[int, ...], convs: tuple[int, ...], pooling: str) -> dict[str, nn.Module]:
    """VGG's chain under the papers' names: conv1_1 relu1_1 conv1_2 relu1_2 pool1 conv2_1 ..."""
    chain: dict[str, nn.Module] = {}
    channels = 3
    for block, (width, count) in enumerate(zip(widths, convs, strict=True), start=1):
        for index in range(1, count + 1):
            padding_mode: PaddingMode = "replicate" if (block, index) == (1, 1) else "zeros"
            chain[f"conv{block}_{index}"] = FrozenConvolution(channels, width, padding_mode)
            chain[f"relu{block}_{index}"] = nn.ReLU()
            channels = width
        if block < len(widths):
            chain[f"pool{block}"] = _pool(pooling)
    return chain


def _resnet18(pooling: str) -> dict[str, nn.Module]:
    """`conv1` is the stem's convolution with its batch norm, before the activation."""
    net = models.resnet18(weights=None)
    net.conv1.padding_mode, net.conv1._reversed_padding_repeated_twice = "replicate", [3, 3, 3, 3]
    stem = {"conv1": nn.Sequential(net.conv1, net.bn1), "relu1": nn.ReLU()}
    pool = {"pool1": net.maxpool if pooling == "max" else nn.AvgPool2d(3, 2, padding=1)}
    return stem | pool | {name: getattr(net, name) for name in ("layer1", "layer2", "layer3", "layer4")}


def _squeezenet(pooling: str) -> dict[str, nn.Module]:
    features = models.squeezenet1_1(weights=None).features
    names = ["conv1", "relu1", "pool1", "fire2", "fire3", "pool3", "fire4", "fire5", "pool5"]
    names += ["fire6", "fire7", "fire8", "fire9"]
    chain = dict(zip(names, features, strict=True))
    chain["relu1"] = nn.ReLU()  # torchvision's works in place and would overwrite conv1's features
    return chain | {name: _pool(pooling, 3, ceil=True) for name in names if name.startswith("pool")}


@dataclass(frozen=True)
class Architecture:
    """One entry of `ENCODERS`: how to build the chain, and what a user most likely wants of it."""

    build: Callable[[str], dict[str, nn.Module]]
    style_layers: tuple[str, ...]
    content_layers: tuple[str, ...]
    pooling: str
    weights: models.WeightsEnum | None  # torchvision's, None for a network that ships


_VGG_STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")  # Gatys et al. 2016, section 3
_VGG_CONTENT = ("relu4_2",)

ENCODERS: dict[str, Architecture] = {
    "vgg19": Architecture(
        lambda pooling: _vgg((64, 128, 256, 512, 512), (2, 2, 4, 4, 4), pooling),
        _VGG_STYLE,
        _VGG_CONTENT,
        "max",
        models.VGG19_Weights.IMAGENET1K_V1,
    ),
    "vgg16": Architecture(
        lambda pooling: _vgg((64, 128, 256, 512, 512), (2, 2, 3, 3, 3), pooling),
        _VGG_STYLE,
        _VGG_CONTENT,
        "max",
        models.VGG16_Weights.IMAGENET1K_V1,
    ),
    "resnet18": Architecture(
        _resnet18,
        ("conv1", "layer1", "layer2", "layer3", "layer4"),
        ("layer2",),
        "max",
        models.ResNet18_Weights.IMAGENET1K_V1,
    ),
    "squeezenet1_1": Architecture(
        _squeezenet,
        ("relu1", "fire3", "fire5", "fire7", "fire9"),
        ("fire5",),
        "max",
        models.SqueezeNet1_1_Weights.IMAGENET1K_V1,
    ),
    "lite": Architecture(
        lambda pooling: _vgg((32, 64, 128, 256, 256), (2, 2, 4, 4, 1), pooling),
        _VGG_STYLE,
        _VGG_CONTENT,
        "avg",
        None,
    ),
}


# --- their weights ---------------------------------------------------------------------------------------------------


def load_encoder(
    name: str = "auto",
    weights_path: Path | None = None,
    preprocess: str | None = None,
    pooling: str | None = None,
) -> Encoder:
    """A frozen encoder with its weights; `encoder.source` says where they came from, in one line.

    name          a key of `ENCODERS`, or "auto": vgg19 where its weights are at hand or can be downloaded, else lite
    weights_path  a file of the user's, in any of the formats above
    preprocess    a key of `PREPROCESS` for a file that does not tell; None: recognised, else torchvision's
    pooling       "max", "avg", or None for the network's own
    Raises ValueError, naming every way out, where the weights can't be had or don't fit.
    """
    if name != "auto" and name not in ENCODERS:
        raise ValueError(f"unknown perceptual network {name!r}; choose from auto, {', '.join(ENCODERS)}")
    if preprocess is not None and preprocess not in PREPROCESS:
        raise ValueError(f"unknown perceptual_preprocess {preprocess!r}; choose from {', '.join(PREPROCESS)}")
    if pooling is not None and pooling not in POOLING:
        raise ValueError(f"unknown pooling {pooling!r}; choose from {', '.join(POOLING)}")
    if preprocess is not None and weights_path is None:
        raise ValueError("perceptual_preprocess is of a file of weights; name one with --perceptual_weights")
    if weights_path is not None:
        state, found, source = _read_weights_file(weights_path, preprocess)
        name = _name_of_state(state) if name == "auto" else name
        return _assemble(name, state, found, source, pooling)
    if name == "lite":
        return _lite("lite (ships with texturenet)", pooling)
    try:
        wanted = "vgg19" if name == "auto" else name
        state, found, source = _torchvision_weights(wanted)
        return _assemble(wanted, state, found, source, pooling)
    except ValueError as error:
        if name != "auto":
            raise
        return _lite(f"lite (ships with texturenet), since {str(error).split(';')[0]}", pooling)


def weights_at_hand(name: str) -> bool:
    """Whether `load_encoder` of that name would download nothing."""
    return name == "lite" or _cached(name).is_file()


def random_encoder(name: str) -> Encoder:
    """The architecture with torch's random initialisation: for timing and for tests, not for pictures."""
    architecture = ENCODERS[name]
    return Encoder(name, architecture.build(architecture.pooling), "torchvision")


def _lite(source: str, pooling: str | None) -> Encoder:
    state, preprocess, _ = _read_weights_file(LITE_FILE, None)
    return _assemble("lite", state, preprocess, source, pooling)


def _unfilled(name: str, pooling: str | None = None) -> dict[str, nn.Module]:
    """The chain without memory for its weights: they are about to be loaded, and drawing them would cost seconds."""
    architecture = ENCODERS[name]
    with torch.device("meta"):
        return architecture.build(pooling or architecture.pooling)


def _assemble(name: str, state: dict[str, Tensor], preprocess: str, source: str, pooling: str | None = None) -> Encoder:
    encoder = Encoder(name, _unfilled(name, pooling), preprocess, source)
    own = encoder.chain.state_dict()
    state = {key: value.float() for key, value in _canonical_keys(name, state).items() if key in own}
    unfit = [key for key in own if key not in state or state[key].shape != own[key].shape]
    if unfit:
        raise ValueError(f"{source} does not hold the weights of {name}: {unfit[0]} is missing or of another shape")
    first = next(iter(own))
    if preprocess == "caffe":
        state[first] = state[first].flip(1)  # BGR -> RGB
    encoder.chain.load_state_dict(state, assign=True)
    return encoder


def _canonical_keys(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's and the papers' keys -> ours, which are the chain's."""
    if name == "resnet18":
        return {
            re.sub(r"^bn1\.", "conv1.1.", re.sub(r"^conv1\.(?=weight)", "conv1.0.", key)): value
            for key, value in state.items()
        }
    if "features.0.weight" not in state:
        return state
    chain = tuple(_unfilled(name))
    # torchvision numbers the same chain, except that VGG's last pooling and squeezenet's classifier follow after it.
    return {
        f"{chain[int(match[1])]}.{match[2]}": value
        for key, value in state.items()
        if (match := re.fullmatch(r"features\.(\d{1,3})\.(.+)", key)) and int(match[1]) < len(chain)
    }


def _name_of_state(state: dict[str, Tensor]) -> str:
    """Which network a file holds, by the widths and the number of its convolutions."""
    for name in ENCODERS:
        own = nn.ModuleDict(_unfilled(name)).state_dict()
        found = _canonical_keys(name, state)
        if all(key in found and found[key].shape == value.shape for key, value in own.items()):
            return name
    raise ValueError(f"the weights file fits none of {', '.join(ENCODERS)}; first key: {next(iter(state), 'none')!r}")


def _read_weights_file(path: Path, preprocess: str | None) -> tuple[dict[str, Tensor], str, str]:
    try:
        state = torchfile.read(path)
    except FileNotFoundError:
        raise ValueError(f"no perceptual weights at {path}; give a file, or --perceptual lite") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a file of network weights ({error}); --perceptual lite needs none") from None
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())
    ):
        raise ValueError(f"{path} is not a plain dict of network weights; --perceptual lite needs no file")
    if preprocess is not None:
        return state, preprocess, f"{path} ({preprocess} preprocessing)"
    if "conv1_1.weight" in state:
        # Gatys' vgg_conv.pth has these keys and Caffe's input; half the width is lite, which takes torchvision's.
        preprocess = "caffe" if state["conv1_1.weight"].shape[0] == 64 else "torchvision"
        return state, preprocess, f"{path} ({preprocess} preprocessing, told by its keys)"
    if files.sha256(path).startswith(_CAFFE_SHA256_PREFIXES):
        return state, "caffe", f"{path} (caffe preprocessing, told by its hash)"
    return state, "torchvision", f"{path} (torchvision preprocessing assumed; --perceptual_preprocess says otherwise)"


def _cached(name: str) -> Path:
    """Where torch keeps its weights."""
    weights = ENCODERS["vgg19" if name == "auto" else name].weights
    assert weights is not None
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name


def _torchvision_weights(name: str) -> tuple[dict[str, Tensor], str, str]:
    """From torch's cache, else downloaded by torchvision, which checks the hash."""
    weights, cached = ENCODERS[name].weights, _cached(name)
    assert weights is not None
    if cached.is_file():
        try:
            return _read_weights_file(cached, "torchvision")[0], "torchvision", f"{name} (torch's cache, {cached})"
        except ValueError as error:
            raise ValueError(f"{error}; delete it to download it again") from None
    ways_out = (
        f"fetch it by hand from {weights.url} and put it at {cached}, or name it with --perceptual_weights FILE, "
        "or use --perceptual lite, which ships with texturenet"
    )
    if reason := _unreachable(weights.url):
        raise ValueError(f"{name}'s weights are not on this machine and can't be downloaded ({reason}); {ways_out}")
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except Exception as error:  # network, disk and hash errors come in as many classes as there are libraries below
        raise ValueError(f"the download of {name}'s weights failed ({error}); {ways_out}") from None
    return state, "torchvision", f"{name} (torchvision, {weights.url})"


def _unreachable(url: str) -> str | None:
    """Why the address can't be reached, or None. Answers within `PROBE_SECONDS`, also where name look-up hangs."""
    outcome: list[str | None] = []

    def probe() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PROBE_SECONDS):
                outcome.append(None)
        except Exception as error:
            outcome.append(str(getattr(error, "reason", error)))

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return outcome[0] if outcome else f"no answer in {PROBE_SECONDS:.0f} s"
