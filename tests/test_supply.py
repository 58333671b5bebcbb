"""Photos past a disk that is away and readers that are killed: the same batches as if nothing had been."""

import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from texturenet import data, supply
from texturenet.data import Photos
from texturenet.files import find_images


@pytest.fixture
def photos(photo_dir: Path) -> Photos:
    return Photos(find_images(photo_dir), 16)


def take(source: Iterator[Tensor], count: int) -> list[Tensor]:
    return list(itertools.islice(source, count))


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    assert len(one) == len(other)
    assert all(map(torch.equal, one, other))


def test_killed_reader_is_replaced_at_the_same_batch(photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
    expected = take(data.batches(photos, 2), 12)
    source = supply.batches(photos, 2, workers=1)
    batches = take(source, 2)
    for reader in multiprocessing.active_children():
        assert reader.pid is not None
        os.kill(reader.pid, signal.SIGKILL)
    time.sleep(0.2)  # torch would raise here, from a signal handler
    batches += take(source, 10)
    assert_same(batches, expected)
    (line,) = capsys.readouterr().err.splitlines()
    assert "a process that reads photos died" in line and "new ones go on at step" in line


def test_readers_are_not_replaced_for_ever(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []

    def dying(_photos: Photos, _size: int, step: int, *_rest: object) -> Iterator[Tensor]:
        starts.append(step)
        yield torch.zeros(1)
        raise data.ReaderDied("died")

    monkeypatch.setattr(data, "batches", dying)
    with pytest.raises(data.ReaderDied):
        take(supply.batches(photos, 2, start_step=5), 99)
    assert starts == list(range(5, 6 + supply.RESTARTS))


@pytest.mark.parametrize("workers", [0, 1])
def test_folder_that_is_away_for_a_while_changes_nothing(
    workers: int, photos: Photos, photo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = take(data.batches(photos, 2), 12)
    source = supply.batches(photos, 2, workers=workers)
    batches = take(source, 2)
    elsewhere = photo_dir.rename(photo_dir.with_name("elsewhere"))
    back = threading.Timer(0.5, elsewhere.rename, [photo_dir])
    back.start()
    batches += take(source, 10)
    back.join()
    assert_same(batches, expected)
    assert photos.unreadable == 0
    gone, came_back = capsys.readouterr().err.splitlines()
    assert "the photos are away, first " in gone and "waiting for them, 30 minutes at most" in gone
    assert "the photos are back after 1 s" in came_back


def test_folder_that_stays_away(photos: Photos, photo_dir: Path) -> None:
    photo_dir.rename(photo_dir.with_name("elsewhere"))
    with pytest.raises(data.PhotosAway, match=r"the photos are away.*waited for 0 minutes \(--patience\)"):
        next(supply.batches(photos, 2, patience=0))


def test_signal_ends_the_wait(photos: Photos, photo_dir: Path) -> None:
    photo_dir.rename(photo_dir.with_name("elsewhere"))
    assert take(supply.batches(photos, 2, stopping=lambda: True), 1) == []


def test_photo_that_is_away_for_a_moment_is_not_replaced(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = photos[3]
    read, failures = photos._crop, iter([OSError("stale file handle")])

    def flickering(path: Path, n: int) -> Tensor:
        for failure in failures:
            raise data.ImageError(str(failure))
        return read(path, n)

    monkeypatch.setattr(photos, "_crop", flickering)
    assert torch.equal(photos[3], expected)
    assert photos.unreadable == 0
