"""The Hub's cache on a file system without links, as on Windows without developer mode."""

from pathlib import Path

from clmkit.tracks import HUB_MODEL
from tests.hub.clients import Kernel, run_client
from tests.hub.course import serve_course
from tests.hub.server import StandInHub

# Not a name of the documented interface; the test of how many files are links notices if it no longer decides.
LOAD = f"""
import huggingface_hub.file_download as cache
cache.are_symlinks_supported = lambda cache_dir=None: False
from pathlib import Path
from clmkit.eli5 import load_eli5
from clmkit.hub.download import download_model
from clmkit.tracks import choose_track
rows = load_eli5(choose_track("full", rows=5))
folder = Path(download_model({HUB_MODEL!r}))
links = [path for path in Path(cache.constants.HF_HUB_CACHE).rglob("*") if path.is_symlink()]
print(len(rows), len(links), folder)
"""


def test_data_and_model_are_whole_without_links_and_stay(hub: StandInHub, kernel: Kernel) -> None:
    serve_course(hub)
    first = run_client(hub, kernel, LOAD)
    assert first.returncode == 0, first.stderr
    rows, links, folder = first.stdout.splitlines()[-1].split()
    assert (rows, links) == ("5", "0")
    there = {name: content for name, content in hub.files(HUB_MODEL).items() if name != ".gitattributes"}
    assert {path.name: path.read_bytes() for path in Path(folder).iterdir()} == there
    hub.stop()
    again = run_client(hub, kernel, LOAD)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
