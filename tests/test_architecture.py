"""The doors between rooms: imports go down only (see texturenet/__init__.py)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "texturenet"

# Room -> the rooms of ours that it may import. config and devices hold no algorithm: any room above may read them.
DOORS: dict[str, set[str]] = {
    "config": set(),
    "presets": {"config"},
    "devices": set(),
    "images": set(),
    "generators": set(),
    "perceptual": set(),
    "losses": set(),
    "metrics": set(),
    "monitor": set(),
    "visdom_server": set(),
    "visdom_monitor": {"monitor"},
    "data": {"images"},
    "checkpoint": {"generators"},
    "gatys": {"presets", "images", "perceptual", "losses"},
    "reference": {"config", "presets", "gatys", "images", "perceptual", "devices"},
    "stylizer": {"images", "generators", "checkpoint", "devices"},
    "reports": {"images"},
    "judging": {
        "config",
        "devices",
        "images",
        "perceptual",
        "losses",
        "checkpoint",
        "stylizer",
        "trainer",
        "reports",
    },
    "yardstick": {"gatys", "presets", "images", "losses", "devices", "reports", "judging"},
    "matched": {"images", "losses", "metrics", "devices", "reports", "judging", "yardstick"},
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
    "evaluate": {"config", "presets", "devices", "trainer", "matched", "grid", "ablation", "sweeps"},
    "job": {"config", "images", "data", "perceptual", "checkpoint"},
    "trainer": {
        "config",
        "devices",
        "images",
        "data",
        "generators",
        "perceptual",
        "losses",
        "checkpoint",
        "job",
        "monitor",
    },
}

# What only one room may import, so that the others work where it is missing or broken.
OWNERS = {
    "visdom": {"visdom_monitor", "visdom_server"},
    "torchvision": {"perceptual"},
    "pycocotools": {"data"},
    "PIL": {"images", "data"},
    "tqdm": {"monitor", "reference", "matched", "ablation", "sweeps"},
    "skimage": {"metrics"},
    "matplotlib": {"reference"},
}


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


ROOMS = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("room", ROOMS)
def test_doors(room: str) -> None:
    names = imports(PACKAGE / f"{room}.py")
    ours = {name.split(".")[1] for name in names if name.startswith("texturenet.")}
    assert ours <= DOORS[room], f"{room} opens a door upward: {sorted(ours - DOORS[room])}"
    for library, owners in OWNERS.items():
        if any(name.split(".")[0] == library for name in names):
            assert room in owners, f"{room} imports {library}, which belongs to {sorted(owners)}"


def test_every_room_is_on_the_map() -> None:
    text = (PACKAGE / "__init__.py").read_text()
    assert [room for room in ROOMS if f"\n{room} " not in text] == []


def test_no_door_up() -> None:
    """The table itself has no circle."""
    reached: set[str] = set()
    while ready := [room for room, doors in DOORS.items() if room not in reached and doors <= reached]:
        reached |= set(ready)
    assert reached == set(DOORS)


def test_help_needs_no_torch() -> None:
    """`--help` and a typing error answer at once."""
    for door in ("train.py", "stylize.py"):
        tree = ast.parse((PACKAGE.parent / door).read_text())
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
        modules |= {str(node.module) for node in top if isinstance(node, ast.ImportFrom)}
        assert {name for name in modules if name.startswith("texturenet")} <= {
            "texturenet.config",
            "texturenet.presets",
        }
        assert "torch" not in modules
    for room in ("config", "presets"):
        assert not any(name.split(".")[0] == "torch" for name in imports(PACKAGE / f"{room}.py"))
