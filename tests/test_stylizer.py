from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import picture

from texturenet import checkpoint, images, stylizer
from texturenet.checkpoint import CheckpointError
from texturenet.generators import Pyramid
from texturenet.stylizer import Stylizer, plan


def save_style(path: Path, seed: int = 0, **options: Any) -> Path:
    """An untrained style: what stylizer.py does with a network does not depend on what it learned."""
    options = {"content": True, "scales": 3, "width": 4} | options
    torch.manual_seed(seed)
    checkpoint.save(
        path,
        name="checks",
        generator={"name": "pyramid", "options": options},
        weights=Pyramid(**options).state_dict(),
        recipe={"noise_factor": 1.0},
        perceptual={"name": "lite", "source": "test"},
        step=1,
    )
    return path


@pytest.fixture
def style(tmp_path: Path) -> Stylizer:
    return Stylizer(save_style(tmp_path / "style.pt"))


def test_same_seed_same_picture(style: Stylizer) -> None:
    photo = picture(37, 51)
    assert style(photo).shape == photo.shape
    assert torch.equal(style(photo, seed=3), style(photo, seed=3))
    assert not torch.equal(style(photo, seed=3), style(photo, seed=4))


def test_noise_factor_has_an_effect(style: Stylizer) -> None:
    photo = picture(32, 32)
    plain, strong = style(photo, noise_factor=0.0), style(photo, noise_factor=2.0)
    assert torch.equal(style(photo, noise_factor=1.0), style(photo))
    assert (plain - strong).abs().mean() > 0.005
    assert torch.equal(plain, style(photo, seed=9, noise_factor=0.0))


def test_a_texture_of_any_size(tmp_path: Path) -> None:
    style = Stylizer(save_style(tmp_path / "style.pt", content=False, padding="circular"))
    assert not style.paints_photos
    assert style.synthesize(50, 70).shape == (1, 3, 50, 70)


def test_too_large_for_the_memory_says_what_fits(style: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stylizer, "free_memory", lambda _device: 10 * 2**20)
    with pytest.raises(ValueError, match=r"2000x1500 px takes about 1 GB .*; ask for a smaller result, --size \d+"):
        style(torch.zeros(1, 3, 1500, 2000))
    style(torch.zeros(1, 3, 64, 64))


def test_damaged_weights_give_no_picture(tmp_path: Path) -> None:
    path = save_style(tmp_path / "style.pt")
    fields = checkpoint.load(path)
    fields["weights"]["to_rgb.bias"][0] = float("nan")
    checkpoint.save(path, **{name: value for name, value in fields.items() if name not in ("format", "version")})
    with pytest.raises(ValueError, match="its weights are damaged"):
        Stylizer(path)(picture(32, 32))


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        Stylizer(tmp_path / "nowhere.pt")


# --- where results go -------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.jpg", "deep/b.PNG", "deep/er/c.gif"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images.to_pil(picture(16, 16)).save(path)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    return tmp_path / "in"


def targets(work: list[stylizer.Work]) -> list[str]:
    return [item.target.as_posix() for item in work]


def test_a_folder_keeps_its_tree(tree: Path) -> None:
    assert targets(plan([tree], Path("out"), "checks")) == [
        "out/a-checks.jpg",
        "out/deep/b-checks.PNG",
        "out/deep/er/c-checks.png",  # gif is no format for photos: png
    ]


def test_files_and_folders_together(tree: Path) -> None:
    work = plan([tree / "a.jpg", tree / "deep"], None, "checks")
    assert targets(work) == ["stylized/a-checks.jpg", "stylized/b-checks.PNG", "stylized/er/c-checks.png"]


def test_one_file(tree: Path) -> None:
    assert targets(plan([tree / "a.jpg"], Path("x/y.webp"), "checks")) == ["x/y.webp"]
    with pytest.raises(ValueError, match=r"-o y.png is one file, but there are 3 pictures"):
        plan([tree], Path("y.png"), "checks")


def test_results_of_an_earlier_run_are_not_painted_again(tree: Path) -> None:
    images.save_image(picture(16, 16), tree / "out" / "a-checks.jpg")
    assert "a-checks-checks" not in " ".join(targets(plan([tree], tree / "out", "checks")))


def test_a_source_is_never_replaced(tree: Path) -> None:
    with pytest.raises(ValueError, match="would replace the picture itself"):
        plan([tree / "a.jpg"], tree / "a.jpg", "checks")


def test_two_pictures_never_share_a_target(tree: Path) -> None:
    images.save_image(picture(16, 16), tree / "other" / "a.jpg")
    with pytest.raises(ValueError, match=r"in/a.jpg and .*other/a.jpg would both become stylized/a-checks.jpg"):
        plan([tree / "a.jpg", tree / "other" / "a.jpg"], None, "checks")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures in"):
        plan([tmp_path], None, "checks")
