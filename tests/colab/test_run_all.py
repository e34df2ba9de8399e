"""Run all, in Colab: every committed notebook, alone, in an empty folder, on what Google has installed there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

from clmkit.hub.real_model import REAL_MODEL, real_model_folder, stands_in_for
from clmkit.kernels import KERAS_KERNEL
from tests.colab.machine import KEPT, make_machine, run_in_colab
from tests.hub.notebooks import printed, read_notebook
from tests.hub.server import StandInHub
from tests.isolation import CACHE_VARIABLES
from tests.kernels import ROOT, run
from tools.course import HEADLESS

pytestmark = pytest.mark.timeout(1200)  # a slow machine, with another file of tests beside
NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
FRESH = {"evaluate", "clmkit"}
# What the guide's TensorFlow classes need, as those notebooks say.
EXCHANGED = {"transformers", "tokenizers", "huggingface-hub"}
WIDGET = "application/vnd.jupyter.widget-view+json"
WITH_WIDGETS = {"04_tokenize", "05_chunk", "07a_infer_pytorch", "09_todays_models"}
# What versions of Google's print on stderr, and the notebook's prose says that they do.
EXPLAINED = {
    "07a_infer_pytorch": r"\[transformers\] (Passing `generation_config`|Both `max_new_tokens`|Ignoring clean_up_to)",
    "09_todays_models": r"\[transformers\] (Passing `generation_config`|Both `max_new_tokens`|Ignoring clean_up_to)",
    "07b_infer_keras": r"WARNING: All log messages before absl.*\nI0000 .*Compiled cluster using XLA",
}
ONE_PROCESS = "1 process: notebook_launcher starts no more in Colab without GPUs"
UNTRAINED = {"02_load_eli5", "03_flatten", "04_tokenize", "05_chunk", "08b_arithmetic"}
TRAINED = ("06a_train_pytorch", "06b_train_keras", "06c_train_keras_hub")
# What trains, or has to find a trained model, needs an eighth of the sample to show that it runs; all for a figure.
FEW = {**dict.fromkeys((*TRAINED, "07a_infer_pytorch", "07b_infer_keras"), 60), "09_todays_models": 40}
# A model seventy times as large takes minutes even so.
EACH = [pytest.param(name, marks=[pytest.mark.long] if name.startswith("09") else []) for name in NAMES]


class Ran(NamedTuple):
    """A notebook as it was executed, and the packages before and after."""

    notebook: nbformat.NotebookNode
    before: dict[str, str]
    after: dict[str, str]


class Colab:
    """Runs notebooks one by one, as a learner who watches does: each on a new machine, and none twice the same way."""

    def __init__(self, hub: StandInHub, folder: Path, wheel: Path) -> None:
        self.hub, self.folder, self.wheel = hub, folder, wheel
        self._ran: dict[tuple[str, int | None], Ran] = {}

    def run(self, name: str, rows: int | None) -> Ran:
        if (name, rows) not in self._ran:
            if name.startswith("09"):
                self._serve_real_model()
            folder = self.folder / f"{name}_{rows}"
            machine = make_machine(folder / "machine")
            before = machine.versions()
            notebook = run_in_colab(name, folder, machine, self.wheel, rows, **self.hub.environment)
            self._ran[name, rows] = Ran(notebook, before, machine.versions())
        return self._ran[name, rows]

    def _serve_real_model(self) -> None:
        if stands_in_for(REAL_MODEL) is None:
            pytest.skip("no real model: make real-model")
        self.hub.put(REAL_MODEL, {path.name: path for path in real_model_folder().iterdir()})


@pytest.fixture(scope="module")
def colab(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Colab]:
    folder = tmp_path_factory.mktemp("colab")
    with pytest.MonkeyPatch.context() as patch, StandInHub(folder / "hub") as hub:
        for variable in {*HEADLESS, *CACHE_VARIABLES}:
            patch.delenv(variable, raising=False)
        yield Colab(hub, folder, wheel)


@pytest.mark.parametrize("name", EACH)
def test_every_cell_runs_and_complains_of_nothing(colab: Colab, name: str) -> None:
    notebook = colab.run(name, FEW.get(name)).notebook
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert "Track quick: " in printed(notebook) or name == "08b_arithmetic"  # which has no track
    complaints = [output.text for output in outputs if output.get("name") == "stderr"]
    assert [text for text in complaints if not re.match(EXPLAINED.get(name, "nothing"), text)] == []
    assert not complaints or "in red" in " ".join(cell.source for cell in notebook.cells)
    for output in outputs:
        if "image/png" in output.get("data", {}):
            assert output.metadata["image/png"]["alt"]
    assert any(WIDGET in output.get("data", {}) for output in outputs) or name not in WITH_WIDGETS


@pytest.mark.parametrize("name", sorted(UNTRAINED))
def test_it_finds_what_the_committed_notebook_shows(colab: Colab, name: str) -> None:
    assert result(colab.run(name, None).notebook) == result(read_notebook(name))


@pytest.mark.long
@pytest.mark.parametrize("name", TRAINED)
def test_it_trains_as_well_as_the_committed_notebook(colab: Colab, name: str) -> None:
    found, stored = (result(notebook) for notebook in (colab.run(name, None).notebook, read_notebook(name)))
    after, committed = (float(re.search(r"([\d.]+) after", text)[1]) for text in (found, stored))
    assert after == pytest.approx(committed, rel=0.03)


@pytest.mark.parametrize("name", [param for param in EACH if param.values[0] not in UNTRAINED])
def test_it_finds_something_to_show(colab: Colab, name: str) -> None:
    notebook = colab.run(name, FEW.get(name)).notebook
    assert len(result(notebook)) > 20
    assert ONE_PROCESS in printed(notebook) or name != "08a_scale_out"


def result(notebook: nbformat.NotebookNode) -> str:
    """What the cell printed that ``make course`` shows in its table."""
    (cell,) = [cell for cell in notebook.cells if "result" in cell.metadata.get("tags", [])]
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.parametrize("name", EACH)
def test_what_google_has_installed_stays_as_it_was(colab: Colab, name: str) -> None:
    ran = colab.run(name, FEW.get(name))
    changed = {package for package, version in ran.after.items() if ran.before.get(package) != version}
    keras = read_notebook(name).metadata.kernelspec.name == KERAS_KERNEL
    assert changed == FRESH | (EXCHANGED if keras else set())
    assert set(KEPT) <= set(ran.before)


@pytest.mark.parametrize("kept", ["torch", "tensorflow"])
def test_the_machine_would_take_another_version_where_an_install_line_asks_for_it(tmp_path: Path, kept: str) -> None:
    machine = make_machine(tmp_path)
    asked = run(
        machine.python, "-m", "pip", "install", "--dry-run", "--no-deps", "--upgrade", kept, **machine.environment
    )
    version = machine.versions()[kept].split("+")[0]
    assert f"Would install {kept}-{version}.1" in asked.stdout, asked.stderr


# Those that ask most of the versions: widgets, pictures, files of every kind, chunks.
UNITS = ("explorers", "playground", "live", "plots", "files", "eli5", "texts", "chunking", "tokenization", "generation")


def test_unit_tests_pass_on_googles_versions(tmp_path: Path) -> None:
    machine = make_machine(tmp_path)
    added = run(machine.python, "-m", "pip", "install", "--no-deps", "evaluate", **machine.environment)
    assert added.returncode == 0, added.stderr
    files = [*(f"tests/unit/test_{unit}.py" for unit in UNITS), "tests/training/test_streams.py", "-m", "not long"]
    ended = run(machine.python, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", *files)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout
