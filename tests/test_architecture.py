"""The doors between rooms: imports go down only (see texturenet/__init__.py)."""

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "texturenet"

# Room -> the rooms of ours that it may import. config and devices hold no algorithm: any room above may read them.
DOORS: dict[str, set[str]] = {
    "program": set(),
    "config": set(),
    "presets": {"config"},
    "crops": {"config"},
    "devices": set(),
    "files": set(),
    "codec": {"files"},
    "pixels": set(),
    "images": {"files", "codec", "pixels"},
    "pictures": {"files", "codec", "pixels"},
    "noise": set(),
    "convolutions": set(),
    "generators": {"noise", "convolutions"},
    "torchfile": {"files"},
    "colors": set(),
    "winograd": set(),
    "perceptual": {"files", "torchfile", "colors", "winograd"},
    "losses": {"colors"},
    "metrics": set(),
    "artefacts": {"colors"},
    "curves": set(),
    "report_page": {"files", "curves"},
    "monitor": {"program", "config", "report_page"},
    "visdom_server": set(),
    "visdom_monitor": {"monitor"},
    "data": {"files", "images"},
    "checkpoint": {"config", "files", "torchfile", "generators"},
    "lbfgs": set(),
    "gatys": {"lbfgs", "devices", "presets", "images", "perceptual", "losses"},
    "reference": {
        "codec",
        "files",
        "folders",
        "config",
        "presets",
        "gatys",
        "images",
        "losses",
        "perceptual",
        "devices",
    },
    "look": {"config"},
    "blending": {"colors", "images"},
    "onnx_style": {"noise"},
    "rows": set(),
    "pages": set(),
    "tiles": {"generators", "pages", "rows", "norms"},
    "stylizer": {
        "config",
        "pages",
        "files",
        "images",
        "pixels",
        "generators",
        "rows",
        "tiles",
        "checkpoint",
        "devices",
        "blending",
        "styles",
        "onnx_style",
    },
    "export": {"program", "config", "checkpoint", "generators", "noise", "styles", "onnx_style"},
    "convert": {"program", "config", "files", "torchfile", "checkpoint"},
    "doctor": {"files", "config", "devices", "perceptual", "program", "visdom_server"},
    "reports": {"files", "images"},
    "styles": {"checkpoint", "reports"},
    "segments": set(),
    "norms": set(),
    "steady": {"norms"},
    "clips": {"files", "codec"},
    "joining": {"clips"},
    "ahead": set(),
    "video": {"files", "torchfile", "ahead", "clips", "joining", "steady"},
    "folders": {"program", "files", "codec", "video"},
    "painting": {
        "config",
        "codec",
        "files",
        "images",
        "pictures",
        "look",
        "blending",
        "segments",
        "stylizer",
        "styles",
        "reports",
        "folders",
        "video",
        "refining",
        "judging",
    },
    "refining": {"pages", "devices", "gatys", "losses", "perceptual", "presets"},
    "judging": {
        "gatys",
        "refining",
        "config",
        "devices",
        "files",
        "images",
        "perceptual",
        "losses",
        "checkpoint",
        "stylizer",
        "learner",
        "reports",
    },
    "yardstick": {"gatys", "presets", "images", "losses", "metrics", "devices", "reports", "judging"},
    "matched": {"checkpoint", "images", "losses", "metrics", "artefacts", "devices", "reports", "judging", "yardstick"},
    "synthesis": {"checkpoint", "images", "metrics", "devices", "reports", "judging", "yardstick"},
    "learning": {"checkpoint", "files", "images", "metrics", "reports", "judging", "yardstick"},
    "grid": {"presets"},
    "ablation": {
        "config",
        "devices",
        "images",
        "perceptual",
        "gatys",
        "presets",
        "metrics",
        "reports",
        "judging",
        "grid",
    },
    "sweeps": {
        "presets",
        "config",
        "images",
        "checkpoint",
        "job",
        "stylizer",
        "trainer",
        "monitor",
        "metrics",
        "reports",
        "judging",
    },
    "evaluate": {
        "program",
        "styles",
        "files",
        "config",
        "presets",
        "pages",
        "devices",
        "recovery",
        "matched",
        "synthesis",
        "learning",
        "grid",
        "ablation",
        "sweeps",
    },
    "objective": {"config", "crops", "generators", "losses"},
    "labelled": {"data", "files", "images"},
    "classifier": {"perceptual"},
    "adversarial": set(),
    "pretrainer": {
        "adversarial",
        "config",
        "devices",
        "torchfile",
        "labelled",
        "classifier",
        "monitor",
        "perceptual",
    },
    "pretrain": {
        "program",
        "pages",
        "config",
        "devices",
        "files",
        "images",
        "labelled",
        "classifier",
        "pretrainer",
        "monitor",
        "torchfile",
    },
    "processes": set(),
    "supply": {"crops", "data", "job", "monitor", "processes"},
    "job": {
        "files",
        "config",
        "crops",
        "devices",
        "images",
        "data",
        "perceptual",
        "presets",
        "checkpoint",
        "styles",
        "processes",
    },
    "muon": set(),
    "learner": {
        "config",
        "convolutions",
        "crops",
        "devices",
        "generators",
        "job",
        "losses",
        "monitor",
        "muon",
        "objective",
        "perceptual",
    },
    "auditions": {"checkpoint", "styles", "supply", "processes", "job", "learner", "monitor"},
    "keeper": {"config", "checkpoint", "files", "job", "learner", "monitor"},
    "recovery": {"learner", "monitor"},
    "trainer": {
        "auditions",
        "config",
        "crops",
        "images",
        "supply",
        "generators",
        "job",
        "learner",
        "keeper",
        "recovery",
        "monitor",
    },
    "gui.guard": set(),
    "gui.uploads": {"files", "codec", "pictures"},
    "gui.photos": {"files", "data", "gui.uploads"},
    "gui.texture": set(),
    "gui.desk": {"files", "gui.texture"},
    "gui.training": {"files", "styles"},
    "gui.pace": {"config", "presets", "styles", "auditions", "crops", "gui.training"},
    "gui.gallery": {"files", "images", "checkpoint", "styles", "stylizer", "gui.photos", "gui.uploads"},
    "gui.easel": {"files", "gatys", "judging", "pictures", "stylizer", "gui.uploads"},
    "gui.live_reference": {"images", "gatys", "judging", "presets", "gui.uploads"},
    "gui.studio": {
        "files",
        "monitor",
        "gui.desk",
        "gui.easel",
        "gui.gallery",
        "gui.live_reference",
        "gui.pace",
        "gui.photos",
        "gui.texture",
        "gui.training",
        "gui.uploads",
    },
    "gui.routes": {"gui.studio", "gui.uploads"},
    "gui.parts": set(),
    "gui.step_photos": {"gui.parts", "gui.photos", "gui.studio"},
    "gui.step_texture": {"gui.parts", "gui.studio", "gui.texture", "gui.uploads"},
    "gui.step_train": {"curves", "gui.pace", "gui.parts", "gui.routes", "gui.studio", "gui.training"},
    "gui.reference_tab": {"gui.gallery", "gui.parts", "gui.studio"},
    "gui.step_stylize": {
        "gui.easel",
        "gui.gallery",
        "gui.parts",
        "gui.reference_tab",
        "gui.routes",
        "gui.studio",
    },
    "gui.page": {
        "curves",
        "gui.guard",
        "gui.routes",
        "gui.step_photos",
        "gui.step_stylize",
        "gui.step_texture",
        "gui.step_train",
        "gui.studio",
        "gui.training",
    },
    "gui.__main__": {"program", "gui.guard", "gui.page"},
}

# What only one room may import, so that the others work where it is missing or broken.
OWNERS = {
    "visdom": {"visdom_monitor", "visdom_server"},
    "torchvision": {"perceptual"},
    "pycocotools": {"data", "segments"},
    "PIL": {"codec", "pixels", "images", "pictures", "data", "stylizer", "painting", "labelled"}
    | {"gui.uploads", "gui.texture", "gui.training", "gui.studio", "gui.gallery"},
    "tqdm": {"refining", "monitor", "reference", "matched", "synthesis", "learning", "ablation", "sweeps"}
    | {"auditions", "folders", "video"},
    "skimage": {"metrics", "artefacts"},
    "matplotlib": {"reference", "learning"},
    "onnx": {"export"},
    "onnxruntime": {"onnx_style"},
    "av": {"clips", "joining"},
    "pillow_heif": {"codec"},
    "fastapi": {"gui.routes"},
    "nicegui": {"gui.page", "gui.parts", "gui.reference_tab"}
    | {room for room in DOORS if room.startswith("gui.step_")},
}


def imported(nodes: Iterable[ast.AST]) -> set[str]:
    """Dotted names."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, anywhere in it."""
    return imported(ast.walk(ast.parse(path.read_text())))


# "data" is texturenet/data.py, "gui.page" is texturenet/gui/page.py.
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem != "__init__"
}
ROOMS = sorted(FILES)


def room_of(name: str) -> str:
    """The room that a dotted name of ours leads to; "gui" for that package itself."""
    parts = name.split(".")[1:]
    return ".".join(parts[:2]) if parts[0] == "gui" else parts[0]


@pytest.mark.parametrize("room", ROOMS)
def test_doors(room: str) -> None:
    names = imports(FILES[room])
    ours = {room_of(name) for name in names if name.startswith("texturenet.")} - {"gui"}
    assert ours <= DOORS[room], f"{room} opens a door upward: {sorted(ours - DOORS[room])}"
    for library, owners in OWNERS.items():
        if any(name.split(".")[0] == library for name in names):
            assert room in owners, f"{room} imports {library}, which belongs to {sorted(owners)}"


def test_one_room_pickles() -> None:
    """What files may hold is decided in one place."""
    text = {room: FILES[room].read_text() for room in ROOMS}
    assert [room for room in ROOMS if "torch.load(" in text[room]] == ["torchfile"]
    assert [room for room in ROOMS if "torch.save(" in text[room]] == ["torchfile"]
    assert [room for room in ROOMS if "allow_pickle" in text[room] or "pickle.load" in text[room]] == []


def test_every_room_is_on_the_map() -> None:
    text = {package: (PACKAGE / package / "__init__.py").read_text() for package in ("", "gui")}
    at = {room: room.rpartition(".") for room in ROOMS}
    assert [room for room, (package, _, name) in at.items() if f"\n{name} " not in text[package]] == []


def test_no_door_up() -> None:
    """The table itself has no circle."""
    reached: set[str] = set()
    while ready := [room for room, doors in DOORS.items() if room not in reached and doors <= reached]:
        reached |= set(ready)
    assert reached == set(DOORS)


def test_help_needs_no_torch() -> None:
    """`--help` and a typing error answer at once."""
    light = {"program", "config", "look", "presets"}
    for door in ("train.py", "stylize.py"):
        top = imported(ast.parse((PACKAGE.parent / door).read_text()).body)
        assert {room_of(name) for name in top if name.startswith("texturenet.")} <= light
        assert "torch" not in top
    for room in light:
        assert not any(name.split(".")[0] == "torch" for name in imports(PACKAGE / f"{room}.py"))
