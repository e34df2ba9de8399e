"""How many requests each notebook makes on the full track: ``python -m tests.hub.count_requests``.

Cold is the first run, from an empty cache; warm the second. Models are shared. It takes about six minutes, most of them
training, and writes build/hub_requests.json.
"""

import json
import tempfile
from pathlib import Path

from tests.hub.course import serve_course
from tests.hub.notebooks import NOTEBOOKS, run_notebook
from tests.hub.server import StandInHub
from tests.kernels import ROOT


def count(hub: StandInHub, name: str, folder: Path, token: str) -> int:
    hub.requests.clear()
    run_notebook(name, hub, folder, HF_TOKEN=token, CLMKIT_SHARE="1")
    return len(hub.requests)


def main() -> None:
    counts = {}
    with tempfile.TemporaryDirectory() as folder, StandInHub(Path(folder) / "hub") as hub:
        serve_course(hub, rows=120)
        token = hub.add_token("ada")
        print("| notebook | requests, cold | requests, warm |\n| --- | --- | --- |")
        for path in sorted(NOTEBOOKS.glob("0[1-8]*.ipynb")):  # 9 asks for a model that the stand-in has not
            cold, warm = (count(hub, path.stem, Path(folder) / path.stem, token) for _ in range(2))
            counts[path.stem] = {"cold": cold, "warm": warm}
            print(f"| {path.stem} | {cold} | {warm} |", flush=True)
    target = ROOT / "build" / "hub_requests.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
