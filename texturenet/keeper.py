"""What a run leaves on the disk: its latest checkpoint, and in RUN_DIR/NAME/checkpoints the ones before and the best.

CHECKPOINT_DIR/NAME.pt is always the latest, so whoever paints or resumes needs no other name. The others are links to
what was the latest once (copies where the file system has no links): they cost no second write.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from texturenet import checkpoint
from texturenet.config import to_plain
from texturenet.files import claimed as claim
from texturenet.files import unfinished
from texturenet.job import Job, fingerprint, texture_pixels
from texturenet.learner import Learner
from texturenet.monitor import notice


@contextlib.contextmanager
def claimed(job: Job) -> Iterator[None]:
    """The run's folder and its checkpoint are this process's: a second run is refused before it overwrites this one.

    Raises ValueError where another process has them.
    """
    going_on = f"a run called {job.name} is going on in"
    beside = job.path.with_name(f".{job.path.name}.lock")
    with (
        claim(job.run_dir / ".lock", f"{going_on} {job.run_dir}; give another --name"),
        claim(beside, f"{going_on} another --run_dir, and saves {job.path} too; give another --name"),
    ):
        yield


class Keeper:
    """Saves a learner. A disk that is full costs a line, and the save is owed until it succeeds.

    owed  whether the last save failed
    """

    def __init__(self, job: Job, learner: Learner) -> None:
        self._job, self._learner = job, learner
        self._folder = job.run_dir / "checkpoints"
        self._texture, self._photos = texture_pixels(job.texture), fingerprint(job.photos)
        self.owed = False
        if job.processes.rank == 0:
            for left in unfinished(job.path):  # by a run that was killed while it saved
                left.unlink(missing_ok=True)

    def save(self, losses: dict[str, float], required: bool = False) -> None:
        """Save the learner as it is, in the first process alone; weights that are not finite never.

        losses    as last logged
        required  whether OSError is raised where it can't be; what was saved before is then still there
        """
        job, learner = self._job, self._learner
        if job.processes.rank or not learner.finite():
            return
        state = learner.training()
        best = state["smoothed"] is not None and state["smoothed"] < learner.least
        if best:
            state["least"] = state["smoothed"]
        try:
            checkpoint.save(
                job.path,
                name=job.name,
                generator=learner.spec,
                weights=learner.generator.state_dict(),
                recipe=to_plain(job.recipe),
                perceptual={"name": job.encoder.name, "source": job.encoder.source},
                texture=self._texture,
                photos=self._photos,
                step=learner.steps,
                losses=losses,
                changes=job.changes,
                training=state,
                **({"started_from": job.started_from} if job.started_from else {}),
            )
        except OSError as error:
            if required:
                raise
            if not self.owed:
                notice(f"step {learner.steps}: {error}; training goes on, and saves as soon as it can")
            self.owed = True
            return
        if self.owed:
            notice(f"step {learner.steps}: saved {job.path} again")
        self.owed, learner.least = False, state["least"]
        if job.run.keep:
            try:
                self._keep(best)
            except OSError as error:  # NAME.pt itself is saved
                notice(f"step {learner.steps}: no earlier checkpoints in {self._folder}: {error.strerror or error}")

    def _keep(self, best: bool) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        _link(self._job.path, self._folder / f"{self._learner.steps:06d}.pt")
        if best:
            _link(self._job.path, self._folder / "best.pt")
        steps = [path for path in self._folder.glob("*.pt") if path.stem.isdecimal()]  # others are not ours
        kept = sorted(steps, key=lambda path: int(path.stem))
        # Later ones are of a run that was gone back on.
        until_now = [path for path in kept if int(path.stem) <= self._learner.steps]
        for path in set(kept) - set(until_now[-self._job.run.keep :]):
            path.unlink()


def _link(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.part")
    temporary.unlink(missing_ok=True)
    try:
        try:
            os.link(source, temporary)
        except OSError:  # two file systems, or one without links
            shutil.copyfile(source, temporary)
        temporary.replace(target)
    finally:
        with contextlib.suppress(OSError):  # renaming a link over another of the same file leaves both
            temporary.unlink()
