"""This kernel itself: TensorFlow with Keras 2, no torch, and the modules of clmkit that both kernels share."""

import importlib
import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from datasets import DatasetDict
from transformers import AutoTokenizer, PreTrainedTokenizerBase, TFAutoModelForCausalLM

from clmkit import doctor
from clmkit.chunking import prepare_blocks
from clmkit.eli5 import load_eli5
from clmkit.evaluation import TokenAccuracy, perplexity
from clmkit.hub import login as hub
from clmkit.hub.download import download_model
from clmkit.kernels import KERNEL_NAMES, has_gpu, use_kernel
from clmkit.texts import join_answers, split_rows
from clmkit.tokenization import count_tokens
from clmkit.tracks import BUNDLED, Track, choose_track
from clmkit.training.tuned_models import precision_policy
from clmkit.widgets.plots import plot_lengths
from tools.course import run_course

SHARED = ("tracks", "files", "texts", "eli5", "tokenization", "chunking", "evaluation", "kernels", "saving", "doctor")
SHARED += ("hub.login", "hub.client", "hub.download", "hub.upload", "widgets.plots", "widgets.live")
SHARED += ("training.tuned_models", "training.model_card", "training.keras_callbacks", "training.tf_keras")


def python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh Python that has none of the kernel's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    return subprocess.run(
        [sys.executable, "-c", script], env=kept | environment, capture_output=True, text=True, check=False
    )


def test_this_is_the_keras_kernel() -> None:
    use_kernel("keras")
    assert tf.keras.Model.__module__.startswith("tf_keras")


def test_the_main_kernels_notebooks_are_refused_here() -> None:
    with pytest.raises(RuntimeError, match=r"Change Kernel > Python 3 \(ipykernel\)") as caught:
        use_kernel("main")
    assert KERNEL_NAMES["keras"] not in str(caught.value)


def test_tensorflow_started_with_keras_3_is_an_error_that_names_the_variable() -> None:
    too_early = "import tensorflow as tf; tf.keras.Model\n"
    ended = python(too_early + "from clmkit.kernels import use_kernel; use_kernel('keras')")
    assert ended.returncode == 1
    message = ended.stderr.splitlines()[-1]
    assert message.startswith("RuntimeError: TensorFlow was imported before TF_USE_LEGACY_KERAS=1 was set")
    assert "Restart the kernel" in message


def test_tensorflow_imported_early_but_with_the_variable_set_is_no_error() -> None:
    script = "import tensorflow as tf; tf.keras.Model; from clmkit.kernels import use_kernel; use_kernel('keras')"
    ended = python(script, TF_USE_LEGACY_KERAS="1")
    assert ended.returncode == 0, ended.stderr


def test_there_is_no_torch_and_the_shared_modules_import_without() -> None:
    assert importlib.util.find_spec("torch") is None
    for module in SHARED:
        importlib.import_module(f"clmkit.{module}")


class Evil:
    """What a pickle may hold: it calls a function when it is loaded, and no model is in it."""

    def __init__(self, written: Path) -> None:
        self.written = written

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.written,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "tf_model.h5"])
def test_a_pickle_in_place_of_weights_is_never_loaded(tmp_path: Path, name: str) -> None:
    folder, written = tmp_path / "model", tmp_path / "written"
    shutil.copytree(BUNDLED / "tiny_gpt2", folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / name).write_bytes(pickle.dumps(Evil(written)))
    with pytest.raises((ValueError, FileNotFoundError), match="safetensors"):
        download_model(str(folder))
    with pytest.raises((OSError, ImportError, ValueError)):
        TFAutoModelForCausalLM.from_pretrained(folder)
    assert not written.exists()
    pickle.loads((folder / name).read_bytes())
    assert written.exists(), "the pickle does what it should not, once it is loaded"


def test_the_steps_up_to_the_blocks_work(quick: Track, tokenizer: PreTrainedTokenizerBase) -> None:
    parts = prepare_blocks(quick, tokenizer, 64)
    assert {part: len(rows[0]["input_ids"]) for part, rows in parts.items()} == {"train": 64, "test": 64}
    assert count_tokens(parts["train"]) == 64 * len(parts["train"])
    rows = split_rows(load_eli5(quick))
    assert isinstance(rows, DatasetDict)
    assert len(join_answers(rows)["train"]) == len(rows["train"])


def test_any_text_survives_the_tokenizer() -> None:
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    text = "Why is the sky blue? السماء زرقاء 🌈 \t\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"], clean_up_tokenization_spaces=False) == text
    assert len(tokenizer) == 8192


def test_measures_and_plots_work(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert perplexity(0) == 1
    assert TokenAccuracy().compute(predictions=[[2, 0]], references=[[1, 2]]) == {"token_accuracy": 1.0}
    shown: list[object] = []
    monkeypatch.setattr("clmkit.widgets.plots.display", shown.append)
    plot_lengths([100, 200], block_size=128)
    assert len(shown) == 1


def test_the_track_is_chosen_by_what_tensorflow_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_gpu() == bool(tf.config.list_physical_devices("GPU"))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert not has_gpu()
    assert choose_track().name == "quick"
    assert precision_policy("tensorflow") == "float32"
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    assert has_gpu()


def test_the_login_is_asked_for() -> None:
    assert hub.login_status().startswith("Not logged in.")


def test_the_doctor_finds_nothing_that_would_fail_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "hub_problem", lambda: "no network in tests")
    findings = list(doctor.examine())
    assert [finding for finding in findings if finding.level == "FAIL"] == []
    assert any("requirements/keras.txt" in finding.detail for finding in findings)
    assert any("security fixes" in finding.detail for finding in findings)


def test_the_course_runs_in_the_folder_with_the_notebooks_alone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no numbered notebooks"):
        run_course(tmp_path, tmp_path / "out")
