"""Several processes are one run. Started by torchrun itself, through train.py, with gloo on the CPU."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from texturenet import checkpoint, processes
from texturenet.monitor import read_log
from texturenet.processes import Processes

FLAGS = shlex.split(
    "--data_dir photos --texture checks.png --batch_size 4 --image_size 32 --style_size 32 --scales 3 --width 4 "
    "--workers 0 --perceptual lite --preview_every 0 --log_every 1 --precision fp32 --cpu"
)
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def command(count: int, *words: object, restarts: int = 0) -> list[str]:
    """train.py in so many processes."""
    torchrun = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--rdzv_backend=c10d",
        "--rdzv_endpoint=localhost:0", f"--nproc_per_node={count}",
        f"--max-restarts={restarts}", "--monitor-interval=0.1",
    ]  # fmt: skip
    return [*(torchrun if count > 1 else [sys.executable]), str(ROOT / "train.py"), *FLAGS, *map(str, words)]


def run(cwd: Path, count: int, *words: object) -> str:
    ended = subprocess.run(
        command(count, *words), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def workshop(photo_dir: Path, texture_path: Path, tmp_path: Path) -> Path:
    assert photo_dir.parent == texture_path.parent == tmp_path
    return tmp_path


def test_processes_that_differ_are_told(workshop: Path) -> None:
    """As where one of two machines lacks a photo."""
    launcher = command(2)[: -len(FLAGS) - 1]
    script = workshop / "own.sh"
    script.write_text(
        f"cp -r photos photos$RANK; test $RANK = 0 || rm $(ls -d photos1/* | head -1)\n"
        f"exec {sys.executable} {ROOT / 'train.py'} {' '.join(FLAGS).replace('photos', 'photos$RANK')} --iterations 2\n"
    )
    ended = subprocess.run(
        [*launcher, "--no_python", "sh", str(script)],
        cwd=workshop, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode != 0 and "do not have the same flags, texture, photos" in ended.stderr
    assert not list(workshop.glob("checkpoints/*.pt"))


def test_two_processes_are_one(workshop: Path) -> None:
    for count in (1, 2):
        said = run(workshop, count, "--iterations", 4, "--save_every", 1, "--keep", 9, "--name", count)
    assert said.count("perceptual network") == 1
    assert "device: cpu (1 threads), 2 processes" in said
    one, two = (read_log(workshop / f"runs/{count}/log.jsonl") for count in (1, 2))
    assert [row["step"] for row in two] == [1, 2, 3, 4]
    assert two[0]["losses"] == pytest.approx(one[0]["losses"], rel=1e-5)
    assert [row["losses"]["total"] for row in two] == pytest.approx([row["losses"]["total"] for row in one], rel=1e-3)
    # Adam divides a gradient by its own size, so rounding alone moves a weight whose gradient is near zero: what can
    # be compared are the gradients. After one step Adam's first moment is a tenth of them.
    states = [
        checkpoint.load(workshop / f"runs/{count}/checkpoints/000001.pt")["training"]["optimizer"]["state"]
        for count in (1, 2)
    ]
    for weight in states[0]:
        first, second = (state[weight]["exp_avg"] for state in states)
        assert torch.allclose(first, second, rtol=1e-4, atol=1e-4 * float(first.abs().max()) + 1e-8)


def test_nothing_of_the_others_is_left_afterwards() -> None:
    """A thread of gloo's that outlives the group can end the process with SIGABRT while the interpreter shuts down."""
    script = """if True:
        from pathlib import Path
        import torch
        from texturenet import processes
        names = lambda: {(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}
        with processes.joined(torch.device("cpu"), 60):
            weight = torch.ones(1, requires_grad=True)
            weight.backward()
            torch.optim.Adam([weight]).step()
            assert any("gloo" in name for name in names())
        left = [name for name in names() if "gloo" in name]
        assert not left, left
    """
    place = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=ENVIRONMENT | place, timeout=60, check=True)


@pytest.mark.slow
def test_killed_process_is_started_again_and_the_run_finishes(workshop: Path) -> None:
    words = ("--iterations", 60, "--save_every", 5)
    run(workshop, 2, *words, "--name", "whole")
    path = workshop / "checkpoints/broken.pt"
    torchrun = subprocess.Popen(
        command(2, *words, "--name", "broken", restarts=1),
        cwd=workshop, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        while not path.exists():
            assert torchrun.poll() is None
            time.sleep(0.02)
        children = Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        said, _ = torchrun.communicate(timeout=120)
    finally:
        torchrun.kill()
    assert torchrun.returncode == 0
    assert "started again by torchrun (1): going on from checkpoints/broken.pt" in said
    whole, broken = (checkpoint.load(workshop / f"checkpoints/{name}.pt") for name in ("whole", "broken"))
    assert broken["step"] == 60
    assert all(torch.equal(whole["weights"][name], broken["weights"][name]) for name in whole["weights"])


def test_shares_are_the_batch() -> None:
    batch = list(range(12))
    assert [item for rank in range(3) for item in batch[Processes(rank, 3).share(12)]] == batch
    with pytest.raises(ValueError, match="batch_size 7 can't be shared out among 3 processes; give 6 or another"):
        Processes(0, 3).share(7)


def test_alone_there_is_nobody_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with processes.joined(torch.device("cpu"), 1) as crew:
        value = torch.ones(3)
        crew.average([value])
        assert (crew.rank, crew.size, crew.restarts) == (0, 1, None)
        assert torch.equal(value, torch.ones(3))
        assert crew.any(True) and not crew.any(False)


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="process 3 of this machine has no GPU, there are 2: --nproc_per_node=2"):
        processes.own_device(torch.device("cuda"))
    assert processes.own_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert processes.own_device(torch.device("cuda")) == torch.device("cuda", 3)


def test_mps_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="processes on mps can't talk to each other"):
        processes.joined(torch.device("mps"), 1).__enter__()


def test_each_piece_of_work_is_one_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    work = list(range(7))
    assert processes.own_share(work) == work
    monkeypatch.setenv("WORLD_SIZE", "3")
    shares: list[list[int]] = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(list(processes.own_share(work)))
    assert sorted(piece for share in shares for piece in share) == work
    assert {len(share) for share in shares} == {2, 3}
