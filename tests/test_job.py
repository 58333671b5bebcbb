"""Going on with a run: what may change, what is refused, and where torchrun starts again."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import picture
from test_trainer import TINY, job

from texturenet import checkpoint, images, styles
from texturenet.config import Recipe, Run, from_plain
from texturenet.convert import OPTIONS
from texturenet.generators import Pyramid, Residual, make_noise
from texturenet.job import Job, fingerprint, prepare
from texturenet.judging import open_judged
from texturenet.learner import Learner
from texturenet.presets import TRAIN_PRESETS, preset
from texturenet.processes import Processes
from texturenet.trainer import train


@pytest.fixture
def trained(tmp_path: Path, texture_path: Path, photo_dir: Path) -> Path:
    return train(job(tmp_path, texture_path, photo_dir, {"iterations": 2}))


def resumed(tmp_path: Path, texture_path: Path, photo_dir: Path, say: list[str], **options: Any) -> Any:
    places = Run(name="s", checkpoint_dir=tmp_path / "checkpoints", run_dir=tmp_path / "runs", workers=0)
    given = options.pop("given", {"iterations": 4})
    cpu = torch.device("cpu")
    return prepare(given, places, texture_path, photo_dir, (), cpu, say=say.append, **options)


def test_changes_are_said_and_kept(trained: Path, tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    given = {"iterations": 4, "tv_weight": 3.0, "style_weights": (1.0,) * 5}
    with pytest.raises(ValueError, match=r"tv_weight \(1.0 before, 3.0 now\); .*--resume_with_changes"):
        resumed(tmp_path, texture_path, photo_dir, [], given=given, resume="last")
    said: list[str] = []
    prepared = resumed(tmp_path, texture_path, photo_dir, said, given=given, resume="last", with_changes=True)
    (line,) = [line for line in said if "another recipe" in line]
    assert line.startswith("from step 2 on with another recipe: style_weights ([3.0, 3.0, 4.0, 4.0, 3.0] before, ")
    train(prepared)
    after = checkpoint.load(trained)
    assert after["recipe"]["tv_weight"] == 3.0
    assert after["changes"] == [
        {"step": 2, "fields": {"style_weights": [[3.0, 3.0, 4.0, 4.0, 3.0], [1.0] * 5], "tv_weight": [1.0, 3.0]}}
    ]
    again = resumed(tmp_path, texture_path, photo_dir, [], given={"iterations": 5, "tv_weight": 3.0}, resume="last")
    assert again.changes == after["changes"]


@pytest.mark.usefixtures("trained")
def test_weights_that_would_not_fit(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    given = {"iterations": 4, "width": 8}
    with pytest.raises(ValueError, match=r"width \(4 before, 8 now\); what was saved fits no other width"):
        resumed(tmp_path, texture_path, photo_dir, [], given=given, resume="last", with_changes=True)
    given = {"iterations": 4, "optimizer": "adam"}  # whose state is of other weights
    with pytest.raises(ValueError, match=r"optimizer \(muon before, adam now\); what was saved fits no other"):
        resumed(tmp_path, texture_path, photo_dir, [], given=given, resume="last", with_changes=True)


def test_a_residual_network_of_before_goes_on_as_it_was(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    path = train(job(tmp_path, texture_path, photo_dir, {"iterations": 2, "generator": "residual", "scales": 6}))
    fields = checkpoint.load(path)
    assert fields["generator"]["options"].pop("upsampling") == "bilinear"
    checkpoint.save(path, **{name: fields[name] for name in fields if name not in ("format", "version")})
    prepared = resumed(tmp_path, texture_path, photo_dir, [], resume="last")
    assert prepared.recipe.upsampling == "nearest"


def test_the_same_command_goes_on(trained: Path, tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    """`auto`, layers by their default names and the rest of the first command are no changes."""
    given = TINY | {"iterations": 4, "perceptual": "auto"}
    assert resumed(tmp_path, texture_path, photo_dir, [], given=given, resume="last").start_step == 2
    assert checkpoint.load(trained)["recipe"]["perceptual"] == "lite"


def test_auto_begins_where_there_is_nothing_to_go_on_with(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    said: list[str] = []
    prepared = resumed(tmp_path, texture_path, photo_dir, said, given=TINY, resume="auto")
    assert prepared.start_step == 0 and prepared.name == "s"
    assert f"no checkpoint at {prepared.path} yet: a new run" in said
    train(prepared)
    assert resumed(tmp_path, texture_path, photo_dir, said, given={"iterations": 9}, resume="auto").start_step == 4
    finished = resumed(tmp_path, texture_path, photo_dir, said, given={}, resume="auto")  # started again after its end
    assert f"{prepared.path} has all its 4 steps" in said
    assert train(finished) == prepared.path
    with pytest.raises(ValueError, match="no checkpoint at"):
        prepare({}, Run(name="t"), texture_path, photo_dir, (), torch.device("cpu"), "last", lambda _: None)


def test_torchrun_starts_again_from_the_last_checkpoint(
    trained: Path, tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    said: list[str] = []
    first = Processes(0, 2, restarts=0)
    with pytest.raises(ValueError, match=r"s.pt exists; go on with it \(--resume\), or give another --name"):
        resumed(tmp_path, texture_path, photo_dir, said, given=TINY, processes=first)
    again = Processes(0, 2, restarts=1)
    given = TINY | {"iterations": 4}
    assert resumed(tmp_path, texture_path, photo_dir, said, given=given, processes=again).start_step == 2
    assert f"started again by torchrun (1): going on from {trained}" in said
    copy = tmp_path / "earlier.pt"
    fields = checkpoint.load(trained) | {"step": 1}
    checkpoint.save(copy, **{name: value for name, value in fields.items() if name not in ("format", "version")})
    assert resumed(tmp_path, texture_path, photo_dir, said, resume=copy, processes=first).start_step == 1
    assert resumed(tmp_path, texture_path, photo_dir, said, resume=copy, processes=again).start_step == 2


def another(
    tmp_path: Path, texture_path: Path, photo_dir: Path, said: list[str], name: str | None, **options: Any
) -> Job:
    places = Run(name=name, checkpoint_dir=tmp_path / "checkpoints", run_dir=tmp_path / "runs", workers=0)
    given, cpu = options.pop("given", TINY), torch.device("cpu")
    return prepare(given, places, texture_path, photo_dir, (), cpu, say=said.append, **options)


def test_what_an_earlier_run_kept_is_not_thrown_away(
    trained: Path, tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    """Its latest checkpoint may be lost; those before it are then the run."""
    trained.unlink()
    kept = tmp_path / "runs" / "s" / "checkpoints" / "000002.pt"
    for resume in (None, "auto"):
        with pytest.raises(ValueError, match=r"000002.pt exists; go on with it \(--resume .*000002.pt\), or give"):
            another(tmp_path, texture_path, photo_dir, [], "s", resume=resume)
    going_on = another(tmp_path, texture_path, photo_dir, [], None, resume=kept, given={"iterations": 4})
    assert (going_on.name, going_on.start_step) == ("s", 2)
    said: list[str] = []
    texture_path.rename(texture_path.with_name("s.png"))
    assert another(tmp_path, texture_path.with_name("s.png"), photo_dir, said, None).name == "s-2"
    assert f"{kept} exists and is kept: this run is called s-2" in "\n".join(said)


def test_a_name_with_resume_is_a_new_run(trained: Path, tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    before = trained.read_bytes()
    path = train(another(tmp_path, texture_path, photo_dir, [], "t", resume=trained, given={"iterations": 3}))
    assert path.name == "t.pt" and checkpoint.load(path)["step"] == 3
    assert trained.read_bytes() == before


@pytest.mark.usefixtures("trained")
def test_resuming_overwrites_no_other_run(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    other = train(job(tmp_path / "elsewhere", texture_path, photo_dir, {"iterations": 2, "seed": 5}))
    with pytest.raises(ValueError, match=r"s.pt exists; go on with it \(--resume\), or give another --name"):
        another(tmp_path, texture_path, photo_dir, [], None, resume=other, given={"iterations": 4})


def test_a_style_that_ships_is_not_taken_for_ones_own(
    trained: Path, tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    """As `--texture mosaic.jpg --resume` in a checkout."""
    checkpoint.record(trained, {}, 1.0, resumable=False)
    texture_path = texture_path.rename(texture_path.with_name("s.png"))
    first = another(tmp_path, texture_path, photo_dir, [], None)
    assert first.name == "s-2"
    said: list[str] = []
    auto = another(tmp_path, texture_path, photo_dir, said, None, resume="auto")
    assert (auto.name, auto.start_step) == ("s-2", 0)
    assert f"{trained} was made for stylizing alone: the run is called s-2" in said
    assert another(tmp_path, texture_path, photo_dir, [], None, processes=Processes(0, 2, restarts=0)).name == "s-2"
    train(first)
    again = another(tmp_path, texture_path, photo_dir, [], None, resume="last", given={"iterations": 9})
    assert (again.name, again.start_step) == ("s-2", 4)
    with pytest.raises(ValueError, match=r"s.pt was made for stylizing alone and can't be resumed"):
        another(tmp_path, texture_path, photo_dir, [], "s", resume="last")


def test_the_texture_at_another_size_is_the_same_one(
    trained: Path, tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    given = {"iterations": 4, "style_size": 24}
    prepared = resumed(tmp_path, texture_path, photo_dir, [], given=given, resume="last", with_changes=True)
    assert max(prepared.texture.shape[-2:]) == 24
    assert prepared.resumed["training"]["smoothed"] is None  # losses of another recipe
    train(prepared)
    assert max(checkpoint.load(trained)["texture"].shape[-2:]) == 24


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"noise_channels": 65}, "--noise_channels 65 is not between 0 and 64"),
        ({"width": 2000}, "--width 2000 is not between 1 and 1024"),
        ({"scales": 13}, "--scales 13 is not between 1 and 12"),
        ({"noise_factor": 1e6}, "--noise_factor is not below 1e"),
        ({"noise_factor": 0.0, "noise_range": (0.0, 2.0)}, "--noise_factor 0 with a noise_range: .* above 0"),
        ({"color_jitter": 9.0}, "--color_jitter 9: .* give 3 at most"),
        ({"learning_rate": 0.0}, "--learning_rate 0: give a step size above 0"),
        ({"slope": 2.0}, "--slope 2 is not between 0 and 1"),
        ({"diversity_weight": 1.0, "batch_size": 3, "start_from": "auto"}, "--diversity_weight .* is odd; give 4"),
    ],
)
def test_what_no_checkpoint_may_have_is_refused_before_a_run(
    given: dict[str, Any], message: str, tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        resumed(tmp_path, texture_path, photo_dir, [], given=TINY | given)


def test_a_texture_has_no_frames(texture_path: Path) -> None:
    given = TINY | {"stability_weight": 1.0, "start_from": "auto"}
    with pytest.raises(ValueError, match="--stability_weight is about the frames of a clip; a texture alone has none"):
        prepare(given, Run(name="s", workers=0), texture_path, None, (), torch.device("cpu"), say=lambda _: None)


def test_more_steps_may_have_small_crops_again(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    train(job(tmp_path, texture_path, photo_dir, {"iterations": 4, "image_size": 64, "grow_from": 32}))
    said: list[str] = []
    prepared = resumed(tmp_path, texture_path, photo_dir, said, given={"iterations": 10}, resume="last")
    assert "crops have 32 px, 64 before: grow_from is for three fifths of all steps" in said
    assert prepared.resumed["training"]["smoothed"] is None  # losses of other crops


def test_what_decides_a_gradient_is_the_same_in_all_processes(
    tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    one = job(tmp_path, texture_path, photo_dir, precision="fp32")
    weights = Learner(one).generator.state_dict()
    others = [
        job(tmp_path, texture_path, photo_dir, precision="bf16"),
        job(tmp_path, texture_path, photo_dir, {"seed": 1}, precision="fp32"),
        replace(one, start_weights=weights),
        replace(one, start_weights={name: weight + 1 for name, weight in weights.items()}),
    ]
    assert len({each.identity for each in (one, *others)}) == 5
    assert one.identity == job(tmp_path, texture_path, photo_dir, precision="fp32").identity


def test_photos_are_told_by_their_folders_too() -> None:
    one, other = [Path("p/a/1.jpg"), Path("p/b/2.jpg")], [Path("p/b/1.jpg"), Path("p/a/2.jpg")]
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint([Path("elsewhere") / path.relative_to("p") for path in one])
    assert fingerprint([Path(os.fsdecode(b"caf\xe9.jpg"))])["count"] == 1  # a name that is no UTF-8


def test_the_first_frame_of_a_texture_is_learned(tmp_path: Path, photo_dir: Path) -> None:
    still, other = (images.to_pil(picture(32, 32, seed)) for seed in (0, 1))
    still.save(tmp_path / "moving.png", save_all=True, append_images=[other])
    said: list[str] = []
    resumed(tmp_path, tmp_path / "moving.png", photo_dir, said, given=TINY)
    assert f"{tmp_path / 'moving.png'}: the first of its 2 frames is learned" in said


def test_categories_without_photos(tmp_path: Path, texture_path: Path) -> None:
    places = Run(name="s", checkpoint_dir=tmp_path / "checkpoints", run_dir=tmp_path / "runs")
    with pytest.raises(ValueError, match=r"categories \(dog\) choose among photos, and there are none"):
        prepare(TINY, places, texture_path, None, ("dog",), torch.device("cpu"))


def test_batch_that_cannot_be_shared_out(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    with pytest.raises(ValueError, match="batch_size 2 can't be shared out among 3 processes; give 3 or another"):
        resumed(tmp_path, texture_path, photo_dir, [], given=TINY, processes=Processes(0, 3))


def test_field_that_is_younger_than_the_file_takes_what_the_code_did() -> None:
    assert from_plain(Recipe, {"noise_factor": 0.5}).noise_range is None
    assert from_plain(Recipe, {}).diversity_weight == 0
    assert from_plain(Recipe, {}).optimizer == "adam" and Recipe().optimizer == "muon"
    assert from_plain(Recipe, {}).slope == 0.01 and Recipe().slope == 0.2


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", ".hidden", "x" * 101])
def test_name_that_is_none_for_a_file(name: str, tmp_path: Path, texture_path: Path) -> None:
    run = Run(name=name, checkpoint_dir=tmp_path / "checkpoints", run_dir=tmp_path / "runs")
    with pytest.raises(ValueError, match=r"a style can't be called '.*': give a --name without folders"):
        prepare({}, run, texture_path, None, (), torch.device("cpu"))
    assert not (tmp_path / "checkpoints").exists()


def test_a_run_begins_with_the_weights_of_another_style(
    trained: Path, tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    begun = {"start_from": str(trained), "perceptual": "lite", "image_size": 32, "batch_size": 2, "iterations": 2}
    prepared = resumed(tmp_path / "new", texture_path, photo_dir, said := [], given=begun)
    assert "begun with the weights of s after 2 steps" in said
    assert (prepared.recipe.width, prepared.recipe.scales, prepared.start_step) == (4, 3, 0)
    before = checkpoint.load(trained)
    assert all(torch.equal(Learner(prepared).generator.state_dict()[name], w) for name, w in before["weights"].items())
    steep = resumed(tmp_path / "new", texture_path, photo_dir, said := [], given=begun | {"slope": 0.5})
    assert "their slope was 0.2, and is 0.5 from here on" in said
    slopes = {
        layer.negative_slope for layer in Learner(steep).generator.modules() if isinstance(layer, torch.nn.LeakyReLU)
    }
    assert slopes == {0.5} and before["generator"]["options"]["slope"] == 0.2
    fields = checkpoint.load(train(prepared))
    assert fields["started_from"] == {
        "name": "s",
        "step": 2,
        "sha256": hashlib.sha256(trained.read_bytes()).hexdigest(),
    }
    trained.unlink()  # a resumed run has no use for it
    again = resumed(tmp_path / "new", texture_path, photo_dir, [], given=begun | {"iterations": 3}, resume="last")
    assert checkpoint.load(train(again))["started_from"]["step"] == 2


def test_a_start_that_does_not_fit(trained: Path, tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    def start(given: dict[str, Any]) -> None:
        resumed(tmp_path / "new", texture_path, photo_dir, [], given={"start_from": str(trained)} | given)

    with pytest.raises(ValueError, match=r"s.pt: its width is 4; leave --width out"):
        start({"width": 8})
    with pytest.raises(ValueError, match="no style of that name ships; choose from"):
        start({"start_from": "nowhere"})
    assert resumed(tmp_path / "new", texture_path, photo_dir, [], given={"start_from": "none"}).start_weights is None
    with pytest.raises(ValueError, match="was not trained on a texture alone, as this run will be"):
        prepare({"start_from": str(trained)}, Run(), texture_path, None, (), torch.device("cpu"), say=lambda _: None)
    fields = checkpoint.load(trained)
    fields["generator"] = {"name": "residual", "options": OPTIONS}
    fields["weights"] = Residual(**OPTIONS).state_dict()
    checkpoint.save(trained, **fields)
    with pytest.raises(ValueError, match=r"its network is none that train.py trains"):
        start({})


@pytest.mark.parametrize("name", TRAIN_PRESETS)
def test_each_preset_trains(tmp_path: Path, texture_path: Path, photo_dir: Path, name: str) -> None:
    small = {"perceptual": "lite", "iterations": 2, "image_size": 32, "style_size": 32, "grow_from": None}
    given = preset(name, TRAIN_PRESETS) | small
    path = train(resumed(tmp_path, texture_path, photo_dir, [], given=given))
    fields = checkpoint.load(path)
    begun = fields.get("started_from")
    assert (begun is not None and begun["name"] in [path.stem for path in styles.shipped()]) == (name == "laptop")
    recipe = from_plain(Recipe, fields["recipe"])
    assert (recipe.style_weights, recipe.noise_range) == (given["style_weights"], given.get("noise_range"))
    assert open_judged(path).stylizer.paints_photos


def test_a_start_with_noise_at_other_scales(trained: Path, tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    def begun(start: Path, name: str, **given: object) -> tuple[Job, Pyramid]:
        flags = TINY | {"start_from": str(start), "iterations": 1} | given
        prepared = resumed(tmp_path / name, texture_path, photo_dir, [], given=flags)
        generator = Learner(prepared).generator
        assert isinstance(generator, Pyramid)
        return prepared, generator

    noise = make_noise(Pyramid(scales=3), 1, 32, 32, seed=0)
    even = [torch.full_like(level, 0.5) for level in noise[:2]]
    before = checkpoint.build_generator(checkpoint.load(trained))
    begun_job, few = begun(trained, "few", noise_scales=1)
    with torch.no_grad():
        result = few(picture(32, 32), [level[:, :0] for level in even] + noise[2:])
        assert torch.allclose(result, before(picture(32, 32), even + noise[2:]), atol=1e-5)
    start = train(begun_job)
    assert begun(start, "same")[1].noise_scales == 1
    more_job, more = begun(start, "more", noise_scales=3)
    few = checkpoint.build_generator(checkpoint.load(start))
    with torch.no_grad():
        heard = more(picture(32, 32), noise)
        assert torch.allclose(heard, few(picture(32, 32), [level[:, :0] for level in even] + noise[2:]), atol=1e-5)
    assert more_job.recipe.noise_scales == 3


def test_what_is_about_photos_is_told_to_be_left_out_without(tmp_path: Path, texture_path: Path) -> None:
    said: list[str] = []
    given = TINY | {"content_weights": (1.0,), "color_jitter": 1.0}
    resumed(tmp_path, texture_path, None, said, given=given)
    assert "content_weights, color_jitter left out: a texture alone has no photos" in said


def test_noise_of_few_scales_is_for_pyramids_with_photos(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    said: list[str] = []

    def scales(photos: Path | None, **given: object) -> int | None:
        recipe: Recipe = resumed(tmp_path, texture_path, photos, said, given=TINY | {"noise_scales": 2} | given).recipe
        return recipe.noise_scales

    assert (scales(photo_dir), scales(None), scales(photo_dir, generator="residual")) == (2, None, None)
    assert sum(line.startswith("noise_scales 2 left out") for line in said) == 2
    with pytest.raises(ValueError, match="noise_scales 7: the pyramid has 3 scales; give fewer"):
        scales(photo_dir, noise_scales=7)


def test_on_lite_a_run_with_photos_has_the_loss_of_the_styles(
    tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    shipped = Recipe(**TRAIN_PRESETS["laptop"])

    def resolved(given: dict[str, Any], photos: Path | None = photo_dir) -> tuple[Recipe, list[str]]:
        said: list[str] = []
        given = given | {"perceptual": "lite", "image_size": 32, "style_size": 32}
        made: Recipe = resumed(tmp_path, texture_path, photos, said, given=given).recipe
        return made, [line for line in said if "on lite" in line]

    recipe, (line,) = resolved({"content_norm": "none"})
    assert recipe.style_weights == shipped.style_weights and recipe.content_layers == ("relu3_1", "blur_8")
    assert recipe.content_colors == "texture" and recipe.content_norm == "none"
    assert line.startswith("the loss on lite: style_weights 3 3 4 4 3 instead of 5 6 2 2 2; content_layers relu3_1")
    for given, photos in (({"loss_scale": "raw"}, photo_dir), ({}, None)):
        recipe, said = resolved(given, photos)
        assert recipe.style_weights == Recipe().style_weights and not said
    assert resolved(preset("laptop", TRAIN_PRESETS)) == (
        replace(shipped, image_size=32, style_size=32, width=8, padding="reflect", style_layers=recipe.style_layers),
        [],
    )
