#!/usr/bin/env python3
"""Train with faults injected at random, and without; the weights must be the same to the bit.

python tests/soak.py                      5,000 steps, about ten minutes on two slow cores
python tests/soak.py --steps 500 --seed 3

While train.py runs, again and again at random moments: the process is killed with SIGKILL (mostly) or stopped with
SIGTERM and started again with `--resume auto`; the process that reads photos is killed; the folder of photos is away
for a second; the visdom server goes down and comes back. Two of the photos are broken, in both runs and from the
start: which photo takes a broken one's place is a function of the disk, so a photo that broke in one run alone would
make two different runs, each of them right.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLAGS = shlex.split(
    "--data_dir photos --texture texture.png --batch_size 2 --image_size 32 --style_size 32 --scales 3 --width 4 "
    "--perceptual lite --style_layers relu1_1 relu2_1 --style_weights 5 6 --content_layers relu2_1 --log_every 5 "
    "--preview_every 100 --save_every 20 --precision fp32 --workers 1 --cpu"
)


def draw(folder: Path, rng: random.Random) -> None:
    """Twelve photos and a texture of coloured circles; the headers of two photos promise more than their files hold."""
    from PIL import Image, ImageDraw

    def picture(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (64, 48), tuple(rng.choices(range(256), k=3)))
        canvas = ImageDraw.Draw(image)
        for _ in range(9):
            x, y, radius = rng.randrange(64), rng.randrange(48), rng.randrange(4, 20)
            canvas.ellipse((x - radius, y - radius, x + radius, y + radius), tuple(rng.choices(range(256), k=3)))
        image.save(path)

    for number in range(12):
        picture(folder / "photos" / f"{number:02d}.png")
    picture(folder / "texture.png")
    for number in (3, 8):
        path = folder / "photos" / f"{number:02d}.png"
        path.write_bytes(path.read_bytes()[:200])


class Faults:
    """A run of train.py, and what is done to it."""

    def __init__(self, folder: Path, steps: int, kill_every: int, seed: int, port: int | None) -> None:
        self.folder, self.steps, self.rng, self.port = folder, steps, random.Random(seed), port
        self.every = {"kill": kill_every, "other": kill_every * 3 // 4}  # steps, on average
        self.counts: collections.Counter[str] = collections.Counter()
        self.visdom: subprocess.Popen[bytes] | None = None
        self.lost = 0  # steps that were taken twice

    def start(self, name: str) -> subprocess.Popen[bytes]:
        words = [*FLAGS, "--iterations", str(self.steps), "--name", name, "--resume", "auto"]
        if name == "disturbed" and self.port:
            words += ["--viz", "--visdom_port", str(self.port)]
        with (self.folder / f"{name}.txt").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, str(ROOT / "train.py"), *words],
                cwd=self.folder,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdout=said,
                stderr=said,
            )

    def step(self) -> int:
        """That the log of the disturbed run has reached."""
        try:
            lines = (self.folder / "runs/disturbed/log.jsonl").read_bytes().splitlines()
            return int(json.loads(lines[-1])["step"])
        except (OSError, ValueError, IndexError):
            return 0

    def disturbed(self) -> None:
        """Run to the end, however often it takes."""
        due = {kind: self.rng.randrange(mean // 2, mean * 3 // 2) for kind, mean in self.every.items()}
        run = self.start("disturbed")
        try:
            while (code := run.poll()) is None or code:
                if code is not None:
                    raise SystemExit(f"train.py ended with {code} by itself; see {self.folder / 'disturbed.txt'}")
                step = self.step()
                for kind in [kind for kind in due if step >= due[kind]]:
                    run = self.kill(run) if kind == "kill" else self.disturb(run)
                    due[kind] = step + self.rng.randrange(self.every[kind] // 2, self.every[kind] * 3 // 2)
                time.sleep(0.02)
        finally:
            run.kill()
            if self.visdom:
                self.visdom.kill()

    def kill(self, run: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        number = self.rng.choices([signal.SIGKILL, signal.SIGTERM], [5, 1])[0]
        time.sleep(self.rng.random() * 0.3)  # not always just after a line of the log
        run.send_signal(number)
        code = run.wait()
        if code == 0:  # the end came first
            return run
        assert code == (-signal.SIGKILL if number == signal.SIGKILL else 128 + signal.SIGTERM), code
        self.counts[number.name] += 1
        before = self.step()
        run = self.start("disturbed")
        while run.poll() is None and self.step() == before:  # until the log is cut back to the checkpoint, or goes on
            time.sleep(0.02)
        self.lost += max(before - self.step(), 0)
        return run

    def disturb(self, run: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        fault = self.rng.choice(["reader killed", "photos away", "visdom down or up"])
        if fault == "reader killed":
            readers = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
            if not readers:
                return run
            os.kill(int(readers[0]), signal.SIGKILL)
        elif fault == "photos away":
            elsewhere = (self.folder / "photos").rename(self.folder / "elsewhere")
            time.sleep(1)
            elsewhere.rename(self.folder / "photos")
        elif self.port is None:
            return run
        elif self.visdom is None:
            words = ["-m", "texturenet.visdom_server", "--port", str(self.port), "--env_path", str(self.folder / "viz")]
            self.visdom = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        else:
            self.visdom.kill()
            self.visdom.wait()
            self.visdom = None
        self.counts[fault] += 1
        return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000, metavar="INT", help="of each run (default: 5000)")
    parser.add_argument("--kill_every", type=int, default=200, metavar="INT", help="steps, on average (default: 200)")
    parser.add_argument("--seed", type=int, default=0, metavar="INT", help="of the faults (default: 0)")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    import torch

    from texturenet import checkpoint

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1] if find_spec("visdom") else None
    with tempfile.TemporaryDirectory() as name:
        folder, start = Path(name), time.monotonic()
        draw(folder, random.Random(0))
        faults = Faults(folder, args.steps, args.kill_every, args.seed, port)
        if code := faults.start("undisturbed").wait():
            print((folder / "undisturbed.txt").read_text())
            return code
        halfway = time.monotonic()
        try:
            faults.disturbed()
        except BaseException:
            print((folder / "disturbed.txt").read_text()[-3000:])
            raise
        one, other = (checkpoint.load(folder / f"checkpoints/{run}.pt") for run in ("undisturbed", "disturbed"))
        difference = max(
            float((one["weights"][key].double() - other["weights"][key].double()).abs().max()) for key in one["weights"]
        )
        same = all(torch.equal(one["weights"][key], other["weights"][key]) for key in one["weights"])
        said = (folder / "disturbed.txt").read_text()
        print(f"steps                        {one['step']} and {other['step']}")
        print(f"undisturbed, disturbed       {halfway - start:.0f} s, {time.monotonic() - halfway:.0f} s")
        for fault, count in sorted(faults.counts.items()):
            print(f"{fault:28} {count}")
        print(f"steps lost to kills          about {faults.lost}, to the log's 5")
        print(f"broken photos                2 of 12, named {said.count('unreadable photo')} times")
        print(f"waits for the photos         {said.count('the photos are back')}")
        print(f"readers replaced             {said.count('new ones go on')}")
        print(f"visdom missed, found         {said.count('visdom: no server')}, {said.count('visdom: curves at')}")
        print(f"weights                      {'identical' if same else f'differ by {difference:.3g} at most'}")
        return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
