"""The tuned models of the three frameworks: where they lie, and how one is found or trained."""

import dataclasses
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from safetensors.numpy import save_file

from clmkit.hub.download import MODEL_FILES, NEEDED_FILES
from clmkit.hub.weights import is_model
from clmkit.saving import check_output_dir
from clmkit.tracks import BUNDLED, HUB_MODEL, MODEL_NAME, Track
from clmkit.training import tuned_models as module
from clmkit.training.tuned_models import (
    OPTIONS,
    TRAINED_BY,
    Framework,
    find_or_train,
    model_folder,
    note_tuning,
    precision_policy,
    tuned_models,
)
from tests.fake_hub import TOKEN
from tests.gpu import imitate_gpu
from tests.kernels import ROOT

FRAMEWORKS = get_args(Framework)


def save(folder: Path, track: Track | None = None) -> None:
    """What makes a folder a model, and one that was tuned on a track."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    save_file({"weight": np.zeros(2)}, folder / "model.safetensors")
    if track:
        note_tuning(folder, track)


def test_each_framework_is_trained_by_a_notebook_that_is_there() -> None:
    assert set(TRAINED_BY) == set(FRAMEWORKS)
    assert all((ROOT / "notebooks" / f"{name}.ipynb").is_file() for name in TRAINED_BY.values())


def test_each_framework_has_a_folder_of_its_own_that_ends_in_the_models_name(quick: Track) -> None:
    folders = [model_folder(quick, framework) for framework in FRAMEWORKS]
    assert len(set(folders)) == 3
    assert {folder.name for folder in folders} == {"tuned"}
    assert model_folder(quick) == Path(quick.output_dir)
    # Side by side, so that none is uploaded with another.
    assert not any(one in other.parents for one in folders for other in folders)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_half_a_model_is_none(tmp_path: Path, missing: str) -> None:
    save(tmp_path)
    assert is_model(tmp_path)
    (tmp_path / missing).unlink()
    assert not is_model(tmp_path)
    (tmp_path / missing).mkdir()
    assert not is_model(tmp_path)


def test_no_folder_is_no_model(tmp_path: Path) -> None:
    assert not is_model(tmp_path / "none")


def test_the_tuned_models_are_those_that_are_there(quick: Track) -> None:
    assert tuned_models(quick) == {}
    check_output_dir(model_folder(quick, "pytorch"))
    save(model_folder(quick, "keras_hub"), quick)
    assert tuned_models(quick) == {"keras_hub": model_folder(quick, "keras_hub")}
    for framework in FRAMEWORKS:
        save(model_folder(quick, framework), quick)
    assert tuned_models(quick) == {framework: model_folder(quick, framework) for framework in FRAMEWORKS}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_find_or_train_trains_once_into_the_folder_and_then_finds_it(
    quick: Track, framework: Framework, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[Path] = []

    def train(folder: Path) -> None:
        trained.append(folder)
        save(folder)

    capsys.readouterr()
    expected = model_folder(quick, framework)
    assert find_or_train(quick, framework, train) == expected
    assert capsys.readouterr().out == (
        f"No tuned model in {expected.as_posix()} yet: training it now, as {TRAINED_BY[framework]} does\n"
    )
    assert find_or_train(quick, framework, train) == expected
    assert capsys.readouterr().out == f"Using the tuned model that is in {expected.as_posix()}\n"
    assert trained == [expected]


def test_find_or_train_does_not_take_half_a_model_or_another_frameworks_for_its_own(
    quick: Track, tmp_path: Path
) -> None:
    quick = replace(quick, output_dir=str(tmp_path / "quick" / MODEL_NAME))
    save(model_folder(quick, "pytorch"), quick)
    half = check_output_dir(model_folder(quick, "tf_keras"))
    (half / "config.json").write_text("{}")
    trained: list[Path] = []
    find_or_train(quick, "tf_keras", trained.append)
    assert trained == [half]


class Shared:
    """Attributes:
    model: The folder of the model that the account has shared, or what asking for it ends with.
    name: The account's name, or what asking for it ends with.
    asked: The repositories that were asked for.
    trained: The folders that a model was trained into.
    """

    def __init__(self, folder: Path) -> None:
        self.model: Path | Exception = folder
        self.name: str | Exception = "ada"
        self.asked: list[str] = []
        self.trained: list[Path] = []

    def user_name(self) -> str:
        if isinstance(self.name, Exception):
            raise self.name
        return self.name

    def download(self, repo_id: str, patterns: Sequence[str], *, required: Sequence[str]) -> Path:
        assert patterns == MODEL_FILES
        assert {"README.md", *NEEDED_FILES} == set(required)
        self.asked.append(repo_id)
        if isinstance(self.model, Exception):
            raise self.model
        return self.model


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shared:
    """Log in, to an account that has shared a model tuned from the full track's."""
    shared = Shared(tmp_path / "cache" / ("c" * 40))
    save(tmp_path / "cache" / ("c" * 40))
    card(tmp_path / "cache" / ("c" * 40), f"base_model: {HUB_MODEL}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(module, "user_name", shared.user_name)
    monkeypatch.setattr(module, "download", shared.download)
    return shared


def card(folder: Path, metadata: str) -> None:
    (folder / "README.md").write_text(f"---\n{metadata}\n---\n\n# A card\n", encoding="utf-8")


@pytest.fixture
def full(quick: Track, capsys: pytest.CaptureFixture[str]) -> Track:
    capsys.readouterr()
    return replace(quick, name="full", model=HUB_MODEL)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_shared_model_is_taken_from_the_hub_rather_than_trained_again(
    full: Track, shared: Shared, framework: Framework, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_or_train(full, framework, shared.trained.append) == shared.model
    assert shared.trained == []
    assert shared.asked == ["ada/tuned"]
    assert capsys.readouterr().out == f"Using the tuned model ada/tuned on the Hub, commit {'c' * 40}\n"


def test_a_model_that_is_here_wins_over_a_shared_one(full: Track, shared: Shared) -> None:
    save(model_folder(full), full)
    assert find_or_train(full, "pytorch", shared.trained.append) == model_folder(full)
    assert (shared.asked, shared.trained) == ([], [])


def test_the_quick_track_trains_and_does_not_ask_the_hub(quick: Track, shared: Shared) -> None:
    shared.name = AssertionError("asked the Hub")
    find_or_train(quick, "pytorch", shared.trained.append)
    assert (shared.asked, shared.trained) == ([], [model_folder(quick)])


def test_without_a_token_the_hub_is_not_asked(full: Track, shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    shared.name = AssertionError("asked the Hub")
    find_or_train(full, "pytorch", shared.trained.append)
    assert (shared.asked, shared.trained) == ([], [model_folder(full)])


@pytest.mark.parametrize(
    "metadata",
    [
        "base_model: ada/another",
        f"base_model:\n- {HUB_MODEL}\n- ada/another",
        "license: mit",
        "",
    ],
    ids=["another", "two", "none", "empty"],
)
def test_a_shared_model_of_another_kind_is_not_used(
    full: Track, shared: Shared, metadata: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(shared.model, Path)
    card(shared.model, metadata)
    find_or_train(full, "pytorch", shared.trained.append)
    assert shared.trained == [model_folder(full)]
    assert capsys.readouterr().out.splitlines() == [
        f"Not using ada/tuned on the Hub: its card does not say that it was tuned from {HUB_MODEL}",
        f"No tuned model in {model_folder(full).as_posix()} yet: training it now, as 06a_train_pytorch does",
    ]


@pytest.mark.parametrize("at", ["name", "model"])
@pytest.mark.parametrize("problem", [PermissionError("The Hub refuses the token."), ConnectionError("It sleeps.")])
def test_a_hub_that_cannot_be_asked_is_said_and_the_model_trained(
    full: Track, shared: Shared, at: str, problem: OSError, capsys: pytest.CaptureFixture[str]
) -> None:
    setattr(shared, at, problem)
    find_or_train(full, "pytorch", shared.trained.append)
    assert shared.trained == [model_folder(full)]
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"No shared model: {problem}"
    assert TOKEN not in out


@pytest.mark.parametrize(
    ("capability", "policy"),
    [(None, "float32"), ((6, 1), "float32"), ((7, 5), "mixed_float16"), ((8, 0), "mixed_bfloat16")],
)
def test_keras_on_pytorch_takes_what_the_gpu_computes_in_itself(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] | None, policy: str
) -> None:
    imitate_gpu(monkeypatch, capability)
    assert precision_policy("torch") == policy


@pytest.mark.parametrize(
    ("capabilities", "policy"),
    [
        ([], "float32"),
        ([(6, 1)], "float32"),
        ([(7, 5)], "mixed_float16"),
        ([(8, 0)], "mixed_bfloat16"),
        ([(9, 0), (7, 0)], "mixed_float16"),
        ([None], "float32"),  # a GPU that does not say, as an AMD one
    ],
)
def test_keras_on_tensorflow_takes_what_the_oldest_gpu_computes_in_itself(
    monkeypatch: pytest.MonkeyPatch, capabilities: list[tuple[int, int] | None], policy: str
) -> None:
    details = [{"compute_capability": capability} if capability else {} for capability in capabilities]
    config = SimpleNamespace(
        list_physical_devices=lambda kind: details if kind == "GPU" else [],
        experimental=SimpleNamespace(get_device_details=lambda device: device),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    assert precision_policy("tensorflow") == policy


def test_a_model_that_was_not_written_whole_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(BUNDLED / "tiny_gpt2", tmp_path / "model")
    assert is_model(tmp_path / "model")
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    for length in (len(weights) // 2, 100, 0):
        (tmp_path / "model" / "model.safetensors").write_bytes(weights[:length])
        assert not is_model(tmp_path / "model")
        assert "was not written whole" in capsys.readouterr().out
    (tmp_path / "model" / "model.safetensors").unlink()
    for content in ("", "{}", "[]", '{"weight_map": 7}'):
        (tmp_path / "model" / "model.safetensors.index.json").write_text(content)
        assert not is_model(tmp_path / "model")
        assert "model.safetensors.index.json names no files of weights" in capsys.readouterr().out
    (tmp_path / "model" / "model.safetensors").write_bytes(weights)
    for length in (100, 0):
        os.truncate(tmp_path / "model" / "config.json", length)
        assert not is_model(tmp_path / "model")
        assert "was not written whole" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 7},
        {"epochs": 9},
        {"learning_rate": 1e-5},
        {"text_column": "title"},
        {"encoding": "latin-1"},
        {"data_revision": "v2"},
        {"data_config": "ar"},
        {"block_size": 64},
        {"append_eos": True},
        {"test_size": 0.5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_model_that_was_tuned_otherwise_is_left_alone_and_another_trained_beside_it(
    quick: Track, change: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    other = replace(quick, **change)
    save(model_folder(quick), quick)
    before = {path.name: path.read_bytes() for path in model_folder(quick).iterdir()}
    trained: list[Path] = []

    def train(folder: Path) -> None:
        trained.append(folder)
        save(folder)

    beside = model_folder(quick).with_name("tuned-2")
    assert find_or_train(other, "pytorch", train) == find_or_train(other, "pytorch", train) == beside
    ((name, value),) = change.items()
    said = f"Not using the model in {model_folder(quick).as_posix()}, tuned otherwise "
    assert f"{said}({name}: {getattr(quick, name)!r}, {value!r})" in capsys.readouterr().out
    assert find_or_train(quick, "pytorch", train) == model_folder(quick)
    assert tuned_models(other) == {"pytorch": beside}
    assert trained == [beside]
    assert {path.name: path.read_bytes() for path in model_folder(quick).iterdir()} == before


def test_a_model_is_not_used_again_once_data_or_base_model_are_others(quick: Track, tmp_path: Path) -> None:
    save(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n')
    track = replace(quick, data=str(tmp_path / "rows.jsonl"), model=str(tmp_path / "base"))
    save(model_folder(track), track)
    assert tuned_models(track) == {"pytorch": model_folder(track)}
    (tmp_path / "rows.jsonl").write_text('{"text": "two"}\n')
    assert tuned_models(track) == {}
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n')
    save_file({"weight": np.ones(2)}, tmp_path / "base" / "model.safetensors")
    assert tuned_models(track) == {}


def test_every_field_of_a_track_counts_but_those_that_change_no_weight() -> None:
    fields = {field.name for field in dataclasses.fields(Track)}
    assert fields == {*OPTIONS, "data", "model", "name", "prompt", "output_dir"}


@pytest.mark.parametrize("name", ["rows.jsonl", "base/model.safetensors", "base/config.json", "base/tokenizer.json"])
def test_a_change_far_from_the_beginning_of_a_file_counts(quick: Track, tmp_path: Path, name: str) -> None:
    save(tmp_path / "base")
    save_file({"weight": np.zeros(2**19)}, tmp_path / "base" / "model.safetensors")
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n' * 2**17)
    track = replace(quick, data=str(tmp_path / "rows.jsonl"), model=str(tmp_path / "base"))
    save(model_folder(track), track)
    assert tuned_models(track) == {"pytorch": model_folder(track)}
    content = bytearray((tmp_path / name).read_bytes())
    content[-3:-2] = b" "
    (tmp_path / name).write_bytes(content)
    assert tuned_models(track) == {}


def test_a_model_that_was_trained_with_other_arguments_is_not_used_again(
    quick: Track, model: Any, blocks: Any, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from clmkit.training.pytorch import build_trainer

    def tune(**arguments: Any) -> dict[str, Path]:
        trainer = build_trainer(quick, model, blocks, tokenizer, **arguments)
        trainer.save_model()
        note_tuning(model_folder(quick), quick)  # as the card does
        return tuned_models(quick)

    assert tune(logging_steps=3, eval_strategy="no") == {"pytorch": model_folder(quick)}
    capsys.readouterr()
    assert tune(max_steps=5, seed=7, optim="sgd") == {}
    assert "(arguments: {'max_steps': 5, 'optim': 'sgd', 'seed': 7}, {})" in capsys.readouterr().out
    assert tune(learning_rate=0.5) == {}
    assert "(learning_rate: 0.5, 0.0005)" in capsys.readouterr().out


def test_what_a_model_was_tuned_on_names_no_path(quick: Track) -> None:
    save(model_folder(quick), quick)
    assert "/" not in (model_folder(quick) / "config.json").read_text()


def test_a_model_that_does_not_say_what_it_was_tuned_on_is_left_alone(
    quick: Track, capsys: pytest.CaptureFixture[str]
) -> None:
    save(model_folder(quick))
    assert tuned_models(quick) == {}
    assert "it does not say what it was tuned on" in capsys.readouterr().out


def test_a_shared_model_that_was_tuned_otherwise_is_not_used(
    full: Track, shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(shared.model, Path)
    note_tuning(shared.model, full)
    assert find_or_train(full, "pytorch", shared.trained.append) == shared.model
    note_tuning(shared.model, replace(full, epochs=9))
    find_or_train(full, "pytorch", shared.trained.append)
    assert shared.trained == [model_folder(full)]
    said = capsys.readouterr().out
    assert re.search(r"Not using the model in ada/tuned, tuned otherwise \(epochs: 9, \d\)", said), said
