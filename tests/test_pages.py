import platform
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import ROOT

from texturenet.pages import Pages, keep_heap


def test_what_was_given_back_comes_again_where_it_fits() -> None:
    pages = Pages(limit=1000)
    small, large = pages.take(100), pages.take(400)
    pages.give(small)
    pages.give(large)
    assert pages.take(250) is large
    assert pages.take(90) is small
    assert pages.take(90).size == 90
    pages.give(large)
    assert pages.take(200).size == 200  # half of a large one would be wasted


def test_no_more_is_kept_than_the_limit() -> None:
    pages = Pages(limit=250)
    first, second, third = (np.empty(100, np.uint8) for _ in range(3))
    for each in (first, second, third):
        pages.give(each)
    found = [pages.take(100) for _ in range(3)]
    assert any(each is second for each in found)
    assert any(each is third for each in found)
    assert not any(each is first for each in found)
    pages.give(np.empty(300, np.uint8))
    assert pages.take(300).size == 300
    pages.give(first)
    pages.clear()
    assert pages.take(100) is not first


def test_threads_never_share_an_array() -> None:
    pages, wrong = Pages(limit=10**6), []

    def work(number: int) -> None:
        for _ in range(300):
            mine = pages.take(1000)
            mine[:] = number
            if not (mine == number).all():
                wrong.append(number)
            pages.give(mine)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


STEPS = """
import resource, sys
from texturenet.pages import keep_heap
if sys.argv[1] == "keep":
    assert keep_heap(of_any_size=int(sys.argv[2]) > 32)
def step():
    maps = [b"x" * (int(sys.argv[2]) * 2**20 + i) for i in range(3)]
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
before = faults()
for _ in range(10):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library, which is not told anything")
@pytest.mark.parametrize("megabytes", [20, 40])
def test_a_step_takes_the_memory_of_the_step_before(megabytes: int) -> None:
    def faults(how: str) -> int:
        words = [sys.executable, "-c", STEPS, how, str(megabytes)]
        return int(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout)

    assert faults("keep") < 0.1 * faults("leave")


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    assert not keep_heap()
