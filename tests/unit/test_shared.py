import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from clmkit.chunking import chunk, prepare_blocks
from clmkit.eli5 import load_eli5
from clmkit.files import load_local
from clmkit.hub.download import MODEL_FILES, NEEDED_FILES
from clmkit.saving import check_output_dir, write_whole
from clmkit.texts import join_answers, split_rows
from clmkit.tokenization import tokenize
from clmkit.tracks import HUB_MODEL, Track
from clmkit.training import tuned_models as module
from clmkit.training.tuned_models import (
    TRAINED_BY,
    Framework,
    find_or_train,
    is_model,
    model_folder,
    precision_policy,
    tuned_models,
)
from tests.fake_hub import TOKEN
from tests.kernels import ROOT

FRAMEWORKS = get_args(Framework)


def save(folder: Path) -> None:
    """What makes a folder a model."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")


def test_check_output_dir_makes_the_folder_and_leaves_it_empty(tmp_path: Path) -> None:
    folder = check_output_dir(tmp_path / "a" / "b")
    assert folder == tmp_path / "a" / "b"
    assert list(folder.iterdir()) == []
    assert check_output_dir(str(folder)) == folder


def test_check_output_dir_leaves_what_is_in_the_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("x")
    check_output_dir(tmp_path)
    assert (tmp_path / "kept").read_text() == "x"


def test_files_are_put_in_place_when_all_are_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old a")
    (tmp_path / "kept").write_text("kept")
    with write_whole(tmp_path) as unfinished:
        assert list(unfinished.iterdir()) == []
        (unfinished / "a").write_text("new a")
        (unfinished / "b").write_text("new b")
        assert (tmp_path / "a").read_text() == "old a"
    contents = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert contents == {"a": "new a", "b": "new b", "kept": "kept"}


def test_a_write_that_fails_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old a")

    def fail() -> None:
        with write_whole(tmp_path) as unfinished:
            (unfinished / "a").write_text("half")
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old a"}


def test_write_whole_makes_the_folder(tmp_path: Path) -> None:
    with write_whole(str(tmp_path / "a" / "b")) as unfinished:
        (unfinished / "c").write_text("")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c"]


def test_prepare_blocks_is_the_notebooks_steps_in_one(quick: Track, tokenizer: PreTrainedTokenizerBase) -> None:
    prepared = prepare_blocks(quick, tokenizer, 64)
    texts = join_answers(split_rows(load_local(quick.data, quick.rows)))
    by_hand = chunk(tokenize(texts, tokenizer), 64)
    assert {side: rows["input_ids"][:] for side, rows in prepared.items()} == {
        side: rows["input_ids"][:] for side, rows in by_hand.items()
    }
    assert len(prepare_blocks(quick, tokenizer)["train"][0]["input_ids"]) == 128


def test_prepare_blocks_cuts_as_the_track_says(quick: Track, tokenizer: PreTrainedTokenizerBase) -> None:
    described = replace(quick, block_size=64, append_eos=True, test_size=0.5, text_column="title")
    texts = join_answers(split_rows(load_local(quick.data, quick.rows), 0.5), "title")
    by_hand = chunk(tokenize(texts, tokenizer, append_eos=True), 64)
    prepared = prepare_blocks(described, tokenizer)
    assert {side: rows["input_ids"][:] for side, rows in prepared.items()} == {
        side: rows["input_ids"][:] for side, rows in by_hand.items()
    }
    with pytest.raises(ValueError, match="block_size 64 is longer than the model's context of 63 tokens"):
        prepare_blocks(described, tokenizer, context=63)


def test_the_blocks_know_where_their_rows_came_from(quick: Track, tokenizer: PreTrainedTokenizerBase) -> None:
    source = load_eli5(quick).info.description
    assert source.startswith("eli5_sample.jsonl, sha256 ")
    assert {rows.info.description for rows in prepare_blocks(quick, tokenizer).values()} == {source}
    tokens = tokenize(join_answers(split_rows(load_eli5(quick))), tokenizer, num_proc=2)
    assert {rows.info.description for rows in chunk(tokens, 64).values()} == {source}


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
    save(model_folder(quick, "keras_hub"))
    assert tuned_models(quick) == {"keras_hub": model_folder(quick, "keras_hub")}
    for framework in FRAMEWORKS:
        save(model_folder(quick, framework))
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


def test_find_or_train_does_not_take_half_a_model_or_another_frameworks_for_its_own(quick: Track) -> None:
    save(model_folder(quick, "pytorch"))
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
    save(model_folder(full))
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
    ("available", "supported", "policy"),
    [(False, False, "float32"), (True, False, "float32"), (True, True, "mixed_bfloat16")],
)
def test_pytorch_takes_bfloat16_where_the_gpu_computes_in_it_itself(
    monkeypatch: pytest.MonkeyPatch, available: bool, supported: bool, policy: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: supported or including_emulation
    )
    assert precision_policy("torch") == policy


@pytest.mark.parametrize(
    ("capabilities", "policy"),
    [
        ([], "float32"),
        ([(7, 5)], "float32"),
        ([(8, 0)], "mixed_bfloat16"),
        ([(9, 0), (7, 0)], "float32"),
        ([None], "float32"),  # a GPU that does not say, as an AMD one
    ],
)
def test_tensorflow_takes_bfloat16_where_every_gpu_computes_in_it_itself(
    monkeypatch: pytest.MonkeyPatch, capabilities: list[tuple[int, int] | None], policy: str
) -> None:
    details = [{"compute_capability": capability} if capability else {} for capability in capabilities]
    config = SimpleNamespace(
        list_physical_devices=lambda kind: details if kind == "GPU" else [],
        experimental=SimpleNamespace(get_device_details=lambda device: device),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    assert precision_policy("tensorflow") == policy
