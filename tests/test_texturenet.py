"""The package as `import texturenet` gives it."""

import doctest
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import ROOT, picture

import texturenet


def test_the_example_of_its_documentation() -> None:
    outcome = doctest.testmod(texturenet)
    assert outcome.attempted >= 5
    assert outcome.failed == 0


def test_import_needs_no_torch() -> None:
    script = "import sys; sys.modules['torch'] = None; import texturenet; print(texturenet.__all__)"
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.stdout.strip() == "['Stylizer']", ended.stderr
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        texturenet.Trainer  # noqa: B018


def test_threads_may_share_a_stylizer() -> None:
    style = texturenet.Stylizer("mosaic")
    work = [(picture(32 + 16 * (seed % 3), 64, seed), seed) for seed in range(12)]
    alone = [style(photo, seed) for photo, seed in work]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda item: style(*item), work))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
