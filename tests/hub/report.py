"""Measure what a learner sees, and how long it takes, under every fault of the table: ``python -m tests.hub.report``.

No wait is cut short. A part of the table: ``python -m tests.hub.report "get the data"``, a regular expression on names.
"""

import json
import logging
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.hub.clients import Kernel
from tests.hub.fault_table import BOTH, ROWS, Row
from tests.hub.play import Player, complaints, play
from tests.kernels import ROOT

FILE = ROOT / "build" / "hub_faults.json"
SHOWN = 110


def main() -> int:
    logging.disable()  # the Hub's server logs every connection that a fault cuts
    rows = [row for row in ROWS if re.search(sys.argv[1] if len(sys.argv) > 1 else "", row.name)]
    with ThreadPoolExecutor() as pool:
        played = list(pool.map(lambda kernel: [measure(row, kernel) for row in rows if kernel in row.kernels], BOTH))
    measured = [facts for facts_of_kernel in played for facts in facts_of_kernel]
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(measured, indent=1))
    print(table(rows, measured))
    print("\n".join(["", *counts(measured), f"All of it: {FILE.relative_to(ROOT).as_posix()}"]))
    return any(facts["complaints"] for facts in measured)


def measure(row: Row, kernel: Kernel) -> dict[str, Any]:
    """Play a row, and say what came of it."""
    facts: dict[str, Any] = {"step": row.step, "fault": row.fault, "kernel": kernel, "seen": "", "seconds": None}
    with tempfile.TemporaryDirectory() as folder:
        try:
            with play(row, kernel, Path(folder) / "hub") as player:
                facts |= _what_came(player)
        except AssertionError as error:
            facts |= {"kind": "not played", "complaints": [str(error)]}
    print(f"{kernel}: {row.name}: {'; '.join(facts['complaints']) or facts['kind']}", file=sys.stderr, flush=True)
    return facts


def _what_came(player: Player) -> dict[str, Any]:
    row, outcome = player.row, max(player.first, key=lambda outcome: outcome.seconds)
    kind = "one sentence" if row.raises or row.step in ("log in", "share while training") else "survived, and said so"
    return {
        "kind": "survived without a word" if row.survives else kind,
        "seen": outcome.seen,
        "seconds": round(outcome.seconds, 1),
        "complaints": complaints(player),
    }


def table(rows: list[Row], measured: list[dict[str, Any]]) -> str:
    lines = ["| step | fault | what a learner sees | " + " | ".join(f"s, {kernel}" for kernel in BOTH) + " |"]
    lines.append("| --- | --- | --- |" + " ---: |" * len(BOTH))
    for row in rows:
        of_row = {
            facts["kernel"]: facts for facts in measured if (facts["step"], facts["fault"]) == (row.step, row.fault)
        }
        seconds = [_seconds(of_row.get(kernel)) for kernel in BOTH]
        lines.append(f"| {row.step} | {row.fault} | {_short(next(iter(of_row.values())))} | {' | '.join(seconds)} |")
    return "\n".join(lines)


def _seconds(facts: dict[str, Any] | None) -> str:
    if facts is None or facts["seconds"] is None:
        return ""
    return f"{facts['seconds']:.1f}" + (" **not as it should be**" if facts["complaints"] else "")


def _short(facts: dict[str, Any]) -> str:
    """The line that tells of the fault, cut to what a table holds."""
    if facts["kind"] == "survived without a word":
        return "nothing: it works"
    lines = [line for line in facts["seen"].splitlines() if not line.startswith("Track ")]
    last = next((line for line in lines if re.search(r"^\w+Error: | failed: ", line)), lines[-1] if lines else "")
    last = re.sub(r"http://[a-z0-9.]+:\d+", "http://hub", last)
    return (last if len(last) <= SHOWN else last[: SHOWN - 1] + "…").replace("|", "\\|")


def counts(measured: list[dict[str, Any]]) -> list[str]:
    kinds = [facts["kind"] for facts in measured]
    lines = [f"{len(measured)} tried"]
    lines += [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]
    wrong = [facts for facts in measured if facts["complaints"]]
    lines.append(f"{len(wrong)} not as the table has it")
    for facts in wrong:
        lines += [f"- {facts['kernel']}, {facts['step']}: {facts['fault']}: {text}" for text in facts["complaints"]]
    return lines


if __name__ == "__main__":
    sys.exit(main())
