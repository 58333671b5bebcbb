"""docs/reliability.md promises a test for every fault."""

import re

from conftest import ROOT

ROWS = [
    row
    for row in (ROOT / "docs" / "reliability.md").read_text().split("## Faults")[1].split("\n## ")[0].splitlines()
    if row.startswith("| ") and not row.startswith("| fault |")
]


def test_every_fault_has_its_test() -> None:
    assert len(ROWS) > 20
    for row in ROWS:
        fault, how, outcome, named = (cell.strip() for cell in row.strip("|").split("|"))
        assert fault and how and outcome
        found = re.fullmatch(r"`(test_\w+\.py)::(test_\w+)`", named)
        assert found, row
        assert f"\ndef {found[2]}(" in (ROOT / "tests" / found[1]).read_text(), row
