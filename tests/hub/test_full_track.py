"""The full track as in Colab, with the real clients, from an empty cache to a shared model.

Each notebook runs alone in an empty folder, on what Google has installed and the notebook's own install line adds; the
token is a secret of Colab's. What the notebooks do besides is the quick track's, in ``tests/colab``.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pytest

from clmkit.tracks import HUB_DATA, HUB_MODEL, MODEL_NAME
from tests.colab.machine import make_machine, run_in_colab
from tests.hub.cards import check_metadata, read_metadata
from tests.hub.clients import Kernel, run_client
from tests.hub.course import serve_course
from tests.hub.notebooks import printed
from tests.hub.server import StandInHub
from tools.course import HEADLESS

pytestmark = pytest.mark.timeout(1200)  # a slow machine, with another file of tests beside
SHARED = f"ada/{MODEL_NAME}"
WEIGHTS = "model.safetensors"
FIRST = ["01_login", "02_load_eli5"]
TRAINING = {"06a_train_pytorch": MODEL_NAME, "06b_train_keras": f"tf_keras/{MODEL_NAME}"}
TRAINING |= {"06c_train_keras_hub": f"keras_hub/{MODEL_NAME}"}
INFERENCE = {"07a_infer_pytorch": "06a_train_pytorch", "07b_infer_keras": "06b_train_keras"}
# The same track in the other frameworks: before a release. What they do on Google's versions, tests/colab sees.
LONG = {"06b_train_keras", "06c_train_keras_hub", "07b_infer_keras"}

LOAD = """
import sys
from transformers import AutoTokenizer, pipeline, {model_class}
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = {model_class}.from_pretrained(sys.argv[1])
generator = pipeline("text-generation", model=model, tokenizer=tokenizer)
print(generator("The sky", max_new_tokens=5, do_sample=False)[0]["generated_text"])
"""


class Run(NamedTuple):
    """A notebook that was run: how it looked in the end, where it worked, and what the Hub then had."""

    notebook: nbformat.NotebookNode
    folder: Path
    shared: dict[str, bytes]


class Learner:
    """A learner with an account, who runs notebooks one by one, each on a new machine and with an empty cache."""

    def __init__(self, hub: StandInHub, folder: Path, wheel: Path) -> None:
        self.hub, self.folder, self.wheel = hub, folder, wheel
        self.token = hub.add_token("ada")
        self._runs: dict[str, Run] = {}

    def run(self, name: str) -> Run:
        """Run a notebook on the full track, sharing what it trains, unless it was run before."""
        if name not in self._runs:
            folder = self.folder / name
            machine = make_machine(folder / "machine")
            chosen = self.hub.environment | HEADLESS | {"CLMKIT_TRACK": "full", "CLMKIT_SHARE": "1"}
            secret = {"COLAB_SECRET_HF_TOKEN": self.token}
            notebook = run_in_colab(name, folder, machine, self.wheel, **chosen | secret)
            there = ("model", SHARED) in self.hub.repositories
            self._runs[name] = Run(notebook, folder / "work", self.hub.files(SHARED) if there else {})
        return self._runs[name]


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Learner]:
    folder = tmp_path_factory.mktemp("full_track")
    with StandInHub(folder / "hub") as hub:
        serve_course(hub, rows=60)
        yield Learner(hub, folder, wheel)


def marked(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in names]


@pytest.mark.parametrize("name", FIRST)
def test_a_notebook_runs_on_the_full_track(learner: Learner, name: str) -> None:
    text = printed(learner.run(name).notebook)
    assert f"Track full: {HUB_MODEL} on 5,000 rows of {HUB_DATA}" in text
    shown = "Logged in as ada. Sharing works." if name == "01_login" else f"60 rows from the Hub repository {HUB_DATA}"
    assert shown in text


@pytest.mark.parametrize("name", marked(TRAINING))
def test_a_training_notebook_shares_a_complete_model(learner: Learner, name: str) -> None:
    run = learner.run(name)
    needed = {"config.json", "generation_config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"}
    assert needed | {"README.md", "losses.png"} <= set(run.shared)
    assert not [path for path in run.shared if "checkpoint" in path or "optimizer" in path or "training_args" in path]
    saved = run.folder / "full" / TRAINING[name]
    assert run.shared[WEIGHTS] == (saved / WEIGHTS).read_bytes()
    assert f"{learner.hub.url}/{SHARED}" in printed(run.notebook)
    assert "failed" not in printed(run.notebook)


@pytest.mark.parametrize("name", marked(TRAINING))
def test_the_card_says_what_it_takes_to_train_the_model_again(learner: Learner, name: str) -> None:
    card = learner.run(name).shared["README.md"].decode()
    metadata = read_metadata(card)
    assert check_metadata(card) == []
    assert (metadata["base_model"], metadata["datasets"]) == (HUB_MODEL, [HUB_DATA])
    facts = dict(line.strip("| ").split(" | ", 1) for line in card.splitlines() if line.startswith("| "))
    revisions = {repo: hub_sha(learner.hub, repo, kind) for repo, kind in ((HUB_MODEL, "model"), (HUB_DATA, "dataset"))}
    assert facts["base model"] == f"{HUB_MODEL}, commit {revisions[HUB_MODEL]}"
    assert facts["data"] == f"the Hub repository {HUB_DATA}, commit {revisions[HUB_DATA]}, the first 60 rows"
    assert facts["split"].endswith("seed 42")
    assert facts["block size"] == "128 tokens"
    assert facts["learning rate"] == "2e-05"
    before, after = (float(facts[f"perplexity {when}"].split()[0]) for when in ("before", "after"))
    assert 1 < after < before
    result = metadata["model-index"][0]["results"][0]
    assert result["metrics"][0] == {"type": "perplexity", "value": after}


@pytest.mark.parametrize("name", marked(INFERENCE))
def test_an_inference_notebook_loads_the_shared_model_into_an_empty_cache(learner: Learner, name: str) -> None:
    learner.run(INFERENCE[name])
    learner.hub.requests.clear()
    text = printed(learner.run(name).notebook)
    assert f"Using the tuned model {SHARED} on the Hub, commit {hub_sha(learner.hub, SHARED, 'model')}" in text
    assert "training it now" not in text
    assert learner.hub.asked(f"^/cdn/{SHARED}/.*/{WEIGHTS}", "GET")


@pytest.mark.parametrize(
    ("kernel", "model_class"), [("main", "AutoModelForCausalLM"), ("keras", "TFAutoModelForCausalLM")]
)
def test_a_shared_model_loads_by_its_name(learner: Learner, kernel: Kernel, model_class: str) -> None:
    learner.run("06a_train_pytorch")
    cache = str(learner.folder / f"cache_of_{kernel}")
    settings = {"TF_USE_LEGACY_KERAS": "1", "HF_HOME": cache}
    client = run_client(learner.hub, kernel, LOAD.format(model_class=model_class), SHARED, **settings)
    assert client.returncode == 0, client.stderr
    assert client.stdout.startswith("The sky")


def test_no_token_is_left_anywhere(learner: Learner) -> None:
    for name in ("01_login", "06a_train_pytorch"):
        assert learner.token not in nbformat.writes(learner.run(name).notebook)
    # The Hub itself keeps its tokens in memory, so any file that holds one was written by a client.
    files = [path for path in learner.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 50
    assert [path for path in files if learner.token.encode() in path.read_bytes()] == []
    assert not (learner.hub.folder / "home" / ".gitconfig").exists()


def hub_sha(hub: StandInHub, repo_id: str, repo_type: str) -> str:
    """The commit that a repository is at."""
    repository = hub.repositories["dataset" if repo_type == "dataset" else "model", repo_id]
    return repository.resolve("main") or ""
