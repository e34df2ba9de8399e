"""``python -m clmkit train`` on the Hub's data: streamed, by two processes, and shared by the first."""

import json
import sys
from pathlib import Path

from clmkit.tracks import HUB_DATA
from tests.hub.course import serve_course
from tests.hub.server import StandInHub
from tests.kernels import run

WORDS = (
    "--track full --streaming --window 50 --test_size 0.1 --test_rows 20 --block_size 32 --max_steps 4 --save_steps 2"
)
WORDS += " --eval_strategy no --per_device_train_batch_size 2 --push_to_hub --learning_rate 1e-3 --output_dir"


def test_two_processes_stream_from_the_hub_and_the_first_one_shares(hub: StandInHub, tmp_path: Path) -> None:
    serve_course(hub)
    token = hub.add_token("ada")
    out = tmp_path / "tuned"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "clmkit"]
    done = run(*launcher, "train", *WORDS.split(), str(out), HF_TOKEN=token, OMP_NUM_THREADS="1", **hub.environment)
    record = json.loads((out / "run.json").read_text())
    assert record["data"]["source"].startswith(f"{HUB_DATA}, commit ")
    assert record["after"]["perplexity"] > 1
    commits = hub.commits("ada/tuned")
    assert commits[0] == "Share the tuned model with its card"
    assert len(commits) == len(set(commits)), "both processes shared"
    files = hub.files("ada/tuned")
    assert {"model.safetensors", "README.md", "losses.png"} <= set(files)
    assert not [name for name in files if name.startswith(("checkpoint", "held_out", "run.json"))]
    assert token not in done.stdout + done.stderr + (out / "run.json").read_text()
    assert done.stdout.count("Perplexity") == 1
    assert not list((hub.folder / "hf_home").rglob("*.arrow")), "the rows were stored"
    shards = list((hub.folder / "hf_home" / "hub").glob("datasets--*/snapshots/*/**/*.parquet"))
    assert shards == [], "the files were stored"
