import importlib.metadata
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from datasets import DatasetDict
from huggingface_hub import ModelCard

from clmkit.evaluation import LossHistory, Score
from clmkit.tracks import ARABIC_SAMPLE, HUB_DATA, HUB_MODEL, Track
from clmkit.training import model_card
from clmkit.training.model_card import LIBRARIES, write_card
from clmkit.training.tuned_models import Framework
from clmkit.widgets.plots import save_losses

HISTORY = LossHistory([(1, 5.0), (2, 4.25)], [(2, 4.5)])
COMMIT = "c" * 40
Write = Callable[..., ModelCard]


@pytest.fixture
def full(quick: Track) -> Track:
    return replace(quick, name="full", data=HUB_DATA, model=HUB_MODEL)


@pytest.fixture
def write(quick: Track, blocks: DatasetDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write the card of a model in ``tmp_path / "tuned"``; the base model is in the Hub's cache."""

    def cached_folder(repo_id: str, patterns: list[str], *, required: list[str]) -> Path:
        assert (repo_id, patterns, required) == (HUB_MODEL, ["config.json"], ["config.json"])
        return tmp_path / "cache" / COMMIT

    monkeypatch.setattr(model_card, "cached_folder", cached_folder)

    def write(track: Track = quick, **changes: Any) -> ModelCard:
        chosen: dict[str, Any] = {
            "blocks": blocks,
            "framework": "pytorch",
            "hyperparameters": {"learning_rate": 2e-5, "num_train_epochs": 3},
            "before": Score(4096.0, 1000),
            "after": Score(3820.0, 1000),
            "history": HISTORY,
        }
        (tmp_path / "tuned").mkdir(exist_ok=True)
        return write_card(tmp_path / "tuned", track, **chosen | changes)

    return write


def facts(card: ModelCard) -> dict[str, str]:
    """The rows of the card's table, by what they are of."""
    rows = [line.strip("|").split("|", 1) for line in card.text.splitlines() if line.startswith("| ")]
    return {name.strip(): value.strip() for name, value in rows[2:]}


def test_the_metadata_of_the_full_track_are_those_that_the_hub_knows(write: Write, full: Track, tmp_path: Path) -> None:
    write(full)
    card = ModelCard.load(tmp_path / "tuned" / "README.md")
    (result,) = card.data.eval_results
    assert (result.dataset_type, result.dataset_split, result.task_type) == (HUB_DATA, "train", "text-generation")
    assert (result.metric_type, result.metric_value) == ("perplexity", 45.60)
    metadata = yaml.safe_load((tmp_path / "tuned" / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    del metadata["model-index"]
    assert metadata == {
        "base_model": HUB_MODEL,
        "datasets": [HUB_DATA],
        "language": "en",
        "library_name": "transformers",
        "license": "apache-2.0",
        "pipeline_tag": "text-generation",
    }


def test_a_model_and_data_that_are_not_on_the_hub_are_not_in_the_metadata(write: Write, full: Track) -> None:
    own_data = write(replace(full, data="mine.jsonl")).data.to_dict()
    assert own_data["base_model"] == HUB_MODEL
    assert not {"datasets", "model-index"} & set(own_data)
    assert not {"base_model", "datasets", "model-index"} & set(write().data.to_dict())


def test_a_model_that_was_tuned_on_the_arabic_sample_speaks_two_languages(write: Write, quick: Track) -> None:
    assert write(quick).data.language == "en"
    assert write(replace(quick, data=str(ARABIC_SAMPLE))).data.language == ["en", "ar"]


def test_the_card_says_what_it_takes_to_train_the_model_again(
    write: Write, full: Track, blocks: DatasetDict, tmp_path: Path
) -> None:
    copy = DatasetDict({side: rows.select(range(len(rows))) for side, rows in blocks.items()})
    copy["train"].info.description = "the Hub repository, commit 123, the first 99 rows"
    card = write(full, blocks=copy)
    assert blocks["train"].info.description == ""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("transformers", "torch", "datasets")]
    assert facts(card) == {
        "base model": f"{HUB_MODEL}, commit {COMMIT}",
        "data": "the Hub repository, commit 123, the first 99 rows",
        "split": "a fifth of the rows held out before packing, seed 42",
        "block size": "32 tokens",
        "blocks": f"{len(blocks['train'])} to train on, {len(blocks['test'])} to test on",
        "learning rate": "2e-05",
        "num train epochs": "3",
        "perplexity before": "60.10 (mean loss 4.0960 nats a token)",
        "perplexity after": "45.60 (mean loss 3.8200 nats a token)",
        "measured on": "1,000 predictions in the test blocks",
        "libraries": ", ".join(versions),
    }
    assert "\n# tuned\n" in card.text
    assert (tmp_path / "tuned" / "README.md").read_text(encoding="utf-8") == card.content


def test_a_stream_is_told_of_in_words_and_what_was_not_measured_is_left_out(write: Write) -> None:
    told = facts(write(blocks={"data": "4 files", "blocks": "streamed"}, before=None))
    assert (told["data"], told["blocks"]) == ("4 files", "streamed")
    assert "perplexity before" not in told
    assert "perplexity after" in told


def test_a_model_of_ones_own_is_named_by_its_folder(
    write: Write, quick: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    own = replace(quick, model=str(tmp_path / "mine"))
    assert facts(write(own))["base model"] == "the model in the folder mine"
    monkeypatch.chdir(tmp_path / "mine")
    assert facts(write(replace(own, model=".")))["base model"] == "the model in the folder mine"


def test_the_bundled_model_is_named_by_the_packages_version(write: Write) -> None:
    version = importlib.metadata.version("clmkit")
    assert facts(write())["base model"] == f"the tiny GPT-2 that is bundled with clmkit {version}"


def test_a_base_model_that_is_not_in_the_cache_is_named_without_a_commit(
    write: Write, full: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_card, "cached_folder", lambda *arguments, **options: None)
    assert facts(write(full))["base model"] == HUB_MODEL


@pytest.mark.parametrize("framework", get_args(Framework))
def test_each_framework_has_its_libraries_in_the_card(
    write: Write, monkeypatch: pytest.MonkeyPatch, framework: Framework
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"version-of-{name}")
    expected = ", ".join(f"{name} version-of-{name}" for name in LIBRARIES[framework])
    assert facts(write(framework=framework))["libraries"] == expected


def test_the_picture_is_beside_the_card_and_has_a_text_for_who_cannot_see_it(write: Write, tmp_path: Path) -> None:
    card = write()
    alt = save_losses(HISTORY, tmp_path / "again.png")
    assert f"![{alt}](losses.png)" in card.text
    assert (tmp_path / "tuned" / "losses.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_a_card_written_anew_from_the_same_run_is_the_same_to_the_byte(
    write: Write, full: Track, tmp_path: Path
) -> None:
    # So a second push makes no new commit.
    contents = []
    for _ in range(2):
        write(full)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / "tuned").iterdir()})
    assert set(contents[0]) == {"README.md", "losses.png"}
    assert contents[0] == contents[1]


@pytest.mark.parametrize("language", ["en", "ar"])
def test_every_card_ends_with_a_paragraph_in_arabic(
    write: Write, full: Track, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    monkeypatch.setenv("CLMKIT_LANG", language)
    card = write(full, blocks={"data": "a<b.csv, sha256 0123, the first 99 rows", "blocks": "streamed"})
    english, arabic = card.text.split('\n\n<div dir="rtl" lang="ar">\n\n')
    assert arabic.endswith("\n\n</div>\n")
    assert f'نموذجه الأساسي: <span dir="ltr">{HUB_MODEL}</span>، وبياناته: <span dir="ltr">a&lt;b.csv</span>،' in arabic
    assert "فلا يصلح ما يقوله مصدرًا\nللحقائق." in arabic
    # All else, its picture among it, is English in every language.
    assert english.isascii()


def test_a_folder_that_cannot_be_written_is_an_error(write: Write, tmp_path: Path) -> None:
    (tmp_path / "tuned" / "losses.png").mkdir(parents=True)
    with pytest.raises(OSError, match=r"losses\.png"):
        write()


def test_the_same_losses_are_the_same_file_and_others_another(tmp_path: Path) -> None:
    texts = []
    for name, losses in (("one", 5.0), ("two", 5.0), ("three", 4.0)):
        texts.append(save_losses(LossHistory([(1, losses), (2, 3.0)], [(2, 3.5)]), tmp_path / name))
    one, two, three = ((tmp_path / name).read_bytes() for name in ("one", "two", "three"))
    assert one == two != three
    assert texts[0] == texts[1] != texts[2]
    assert "training from 5.00 to 3.00" in texts[0]


def test_the_saved_picture_is_a_png_without_the_version_of_what_drew_it(tmp_path: Path) -> None:
    save_losses(HISTORY, tmp_path / "losses.png")
    content = (tmp_path / "losses.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack(">II", content[16:24])
    assert width > 2 * height > 600
    assert b"matplotlib" not in content.lower()


def test_a_share_of_ones_own_to_test_on_is_named(write: Write, quick: Track) -> None:
    assert (
        facts(write(replace(quick, test_size=0.125)))["split"] == "0.125 of the rows held out before packing, seed 42"
    )


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_the_card_says_in_which_precision_the_base_model_was_stored(
    write: Write, full: Track, quick: Track, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "cache" / COMMIT
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({name: "bfloat16"}))
    assert facts(write(full))["base model's weights"] == "stored in bfloat16, trained and saved in float32"
    local = replace(quick, model=str(folder))
    assert facts(write(local))["base model's weights"] == "stored in bfloat16, trained and saved in float32"
    (folder / "config.json").write_text(json.dumps({name: "float32"}))
    assert "base model's weights" not in facts(write(full))
    assert "base model's weights" not in facts(write(quick))
