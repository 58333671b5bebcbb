"""A past run as one HTML file: its curves and previews, to look at without any server or network.

`python -m texturenet.monitor runs/NAME` writes it. Everything is inside the file, so it can be moved and sent.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from texturenet import curves
from texturenet.files import write_whole

MOST_PREVIEWS = 40  # spread over the run; each is a sheet of about 50 kB

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name} · texturenet</title><style>
:root {{ color-scheme: light dark; --paper: #f7f7f5; --card: #fff; --ink: #1d1f24; --quiet: #646a73; --line: #e3e4e0;
  --c0: #3b50c8; --c1: #c2571a; --c2: #14866d; --c3: #8b3fa8; --c4: #97740e; }}
@media (prefers-color-scheme: dark) {{ :root {{ --paper: #14161a; --card: #1c1f25; --ink: #eceef1; --quiet: #9aa1ac;
  --line: #2d3139; --c0: #93a5ff; --c1: #f3a26b; --c2: #5fd0b3; --c3: #d79aec; --c4: #e0c266; }} }}
body {{ margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }}
main {{ max-width: 920px; margin: 0 auto; padding: 40px 20px 64px; }}
h1 {{ font-size: 28px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.01em; }}
h2 {{ font-size: 17px; margin: 0 0 16px; }} .quiet {{ color: var(--quiet); }}
section {{ background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 22px;
  margin-top: 20px; }}
img {{ width: 100%; display: block; border-radius: 8px; }} input {{ width: 100%; accent-color: var(--c0); }}
label {{ display: flex; gap: 14px; align-items: center; margin-top: 14px; white-space: nowrap; }}
{css}</style></head><body><main>
<h1>{name}</h1><p class="quiet">{facts}</p>
<section><h2>Losses</h2>{curves}</section>
<section><h2>Style, layer by layer</h2>{layers}</section>
{previews}
</main></body></html>
"""

_PREVIEWS = """<section><h2>Previews</h2><img id="sheet" alt="{alt}" src="{last}">
<label><span id="at">step {step}</span><input id="when" type="range" min="0" max="{most}" value="{most}"
 aria-label="Which preview to show, from the first to the last"></label>
<script>
const sheets = {sheets}, when = document.getElementById("when");
when.oninput = () => {{ const [step, source] = sheets[when.value];
  document.getElementById("sheet").src = source; document.getElementById("at").textContent = "step " + step; }};
</script></section>"""


def write(run_dir: Path, rows: Sequence[dict[str, Any]], target: Path | None = None) -> Path:
    """Write the report of a run; returns where it is, RUN_DIR/report.html unless `target` says otherwise.

    rows  of the run's log, as `monitor.read_log` gives them
    Raises ValueError for a run that reported nothing, OSError where the file can't be written.
    """
    steps = [row for row in rows if row.get("event") == "step" and {"step", "iterations", "losses"} <= row.keys()]
    if not steps:
        raise ValueError(f"{run_dir}: holds no log of a run; name a folder such as runs/mosaic")
    target = target or run_dir / "report.html"
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"-o {target}: the report is a web page; end its name in .html")
    layers = [term for term in steps[-1]["losses"] if term.startswith("style/")][:5]
    last_step = max(steps[-1]["iterations"], steps[-1]["step"], 1)
    page = _PAGE.format(
        name=html.escape(run_dir.resolve().name),
        facts=_facts(steps),
        css=curves.CSS,
        curves=curves.figure(curves.of_rows(steps), last_step),
        layers=curves.figure(curves.of_rows(steps, layers), last_step),
        previews=_previews(run_dir, rows),
    )
    write_whole(target, page.encode())
    return target


def _facts(steps: Sequence[dict[str, Any]]) -> str:
    last = steps[-1]
    speeds = [row["images_per_second"] for row in steps if row.get("images_per_second")]
    done = f"{last['step']:,} of {last['iterations']:,} steps"
    if not speeds:
        return done
    mean = len(speeds) / sum(1 / speed for speed in speeds)
    return f"{done}, {mean:.3g} photos a second"


def _previews(run_dir: Path, rows: Sequence[dict[str, Any]]) -> str:
    # Of the path in the log only the name counts: the folder may have been moved, and a log is only text.
    found = [(row["step"], run_dir / "previews" / Path(row["path"]).name) for row in rows if row.get("path")]
    found = [(step, path) for step, path in found if path.is_file()]
    if not found:
        return '<section><h2>Previews</h2><p class="quiet">This run kept none.</p></section>'
    stride = -(-len(found) // MOST_PREVIEWS)
    sheets = [(step, _data_url(path)) for step, path in [*found[:-1:stride], found[-1]]]
    step, last = sheets[-1]
    alt = "Photos that were not trained on, above what the network makes of them"
    return _PREVIEWS.format(alt=alt, last=last, step=step, most=len(sheets) - 1, sheets=json.dumps(sheets))


def _data_url(path: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"
