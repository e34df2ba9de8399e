import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from huggingface_hub.errors import LocalEntryNotFoundError

from clmkit import kernels, tracks
from clmkit.files import load_local
from clmkit.hub import download
from clmkit.hub.download import MODEL_FILES
from clmkit.kernels import has_gpu
from clmkit.paths import find_files
from clmkit.tracks import (
    ARABIC_SAMPLE,
    BUNDLED,
    DATA_FILES,
    HUB_DATA,
    HUB_MODEL,
    TINY_MODEL,
    Track,
    check_whole_number,
    choose_track,
)

Machine = Callable[..., None]
Cache = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Say what the machine has."""

    def pretend(*, gpu: bool, problem: str | None) -> None:
        monkeypatch.setattr(tracks, "has_gpu", lambda: gpu)
        monkeypatch.setattr(tracks, "hub_problem", lambda: problem)

        def check_hub() -> None:
            if problem:
                raise ConnectionError(problem)

        monkeypatch.setattr(tracks, "check_hub", check_hub)

    return pretend


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cache:
    """Put files of a repository's revision into the Hub's cache, which is empty at first."""
    folders: dict[tuple[str, str], Path] = {}

    def snapshot_download(repo_id: str, *, revision: str, local_files_only: bool, **options: object) -> str:
        assert local_files_only, "the Hub does not answer"
        assert options["repo_type"] == ("dataset" if repo_id == HUB_DATA else "model")
        assert options["allow_patterns"] == ([DATA_FILES] if repo_id == HUB_DATA else list(MODEL_FILES))
        if (repo_id, revision) not in folders:
            raise LocalEntryNotFoundError("no such snapshot")
        return str(folders[repo_id, revision])

    def fill(repo_id: str, names: Iterable[str], revision: str = "main") -> None:
        folder = folders[repo_id, revision] = tmp_path / "cache" / repo_id
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()

    monkeypatch.setattr(download, "snapshot_download", snapshot_download)
    return fill


@pytest.mark.parametrize(("cuda", "mps"), [(False, False), (True, False), (False, True)])
def test_has_gpu_asks_pytorch_for_cuda_and_mps(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert has_gpu() is (cuda or mps)


@pytest.mark.parametrize("devices", [[], ["GPU:0"]])
def test_has_gpu_asks_tensorflow_where_there_is_no_pytorch(monkeypatch: pytest.MonkeyPatch, devices: list[str]) -> None:
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: name == "tensorflow" or None)
    config = SimpleNamespace(list_physical_devices=lambda kind: devices if kind == "GPU" else ["CPU:0"])
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    assert has_gpu() is bool(devices)


def test_has_gpu_is_false_without_a_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: None)
    assert has_gpu() is False


@pytest.mark.parametrize(
    ("gpu", "problem", "name", "reason"),
    [
        (False, None, "quick", "This machine has no GPU."),
        (False, "no Hub", "quick", "This machine has no GPU."),
        (True, "the Hub sleeps", "quick", "The full track needs the Hub: the Hub sleeps."),
        (True, None, "full", "There is a GPU and the Hub answers."),
    ],
)
def test_without_a_name_full_needs_a_gpu_and_the_hub(
    machine: Machine, capsys: pytest.CaptureFixture[str], gpu: bool, problem: str | None, name: str, reason: str
) -> None:
    machine(gpu=gpu, problem=problem)
    assert choose_track().name == name
    assert f". {reason} " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["quick", "full"])
def test_the_environment_variable_decides_where_no_name_is_given(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    machine(gpu=name == "quick", problem=None)
    monkeypatch.setenv("CLMKIT_TRACK", name)
    assert choose_track().name == name
    assert ". CLMKIT_TRACK says so. " in capsys.readouterr().out


def test_a_name_wins_over_the_environment_variable(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(gpu=False, problem=None)
    monkeypatch.setenv("CLMKIT_TRACK", "quick")
    assert choose_track("full").name == "full"
    monkeypatch.setenv("CLMKIT_TRACK", "nonsense")
    assert choose_track("quick").name == "quick"


def test_an_empty_environment_variable_is_as_good_as_none(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(gpu=True, problem=None)
    monkeypatch.setenv("CLMKIT_TRACK", "")
    assert choose_track().name == "full"


def test_quick_by_name_asks_neither_for_a_gpu_nor_for_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(tracks, "has_gpu", refuse)
    monkeypatch.setattr(tracks, "hub_problem", refuse)
    monkeypatch.setattr(tracks, "check_hub", refuse)
    assert choose_track("quick").name == "quick"


@pytest.mark.parametrize("by_variable", [False, True])
def test_full_that_was_asked_for_and_cannot_be_had_is_an_error(
    machine: Machine, cache: Cache, monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    machine(gpu=True, problem="the Hub sleeps")
    if by_variable:
        monkeypatch.setenv("CLMKIT_TRACK", "full")
    with pytest.raises(ConnectionError, match=r"and the Hub sleeps\. .*choose_track\('quick'\) or CLMKIT_TRACK=quick"):
        choose_track(None if by_variable else "full")


@pytest.mark.parametrize("revision", ["main", "refs/convert/parquet"])
def test_full_without_the_hub_uses_what_was_downloaded_before_and_says_so(
    machine: Machine, cache: Cache, capsys: pytest.CaptureFixture[str], revision: str
) -> None:
    machine(gpu=True, problem="the Hub sleeps")
    cache(HUB_DATA, ["data/train-00000-of-00001.parquet"], revision)
    cache(HUB_MODEL, MODEL_FILES)
    assert choose_track("full").name == "full"
    said = capsys.readouterr().out
    assert ". It was asked for. What was downloaded before has to do: the Hub sleeps. " in said


def test_full_by_the_variable_uses_what_was_downloaded_before_too(
    machine: Machine, cache: Cache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(gpu=False, problem="the Hub sleeps")
    monkeypatch.setenv("CLMKIT_TRACK", "full")
    cache(HUB_DATA, ["train.parquet"])
    cache(HUB_MODEL, MODEL_FILES)
    assert choose_track().name == "full"
    said = capsys.readouterr().out
    assert ". CLMKIT_TRACK says so. What was downloaded before has to do: the Hub sleeps. " in said


@pytest.mark.parametrize(
    ("data", "model"),
    [
        (["data/train-0.parquet"], [name for name in MODEL_FILES if not name.startswith("model")]),
        (["data/train-0.parquet"], ["config.json", "model.safetensors"]),
        (["data/train-0.parquet"], None),
        (["data/test-0.parquet"], MODEL_FILES),
        (None, MODEL_FILES),
    ],
    ids=["no weights", "no tokenizer", "no model", "another split", "no data"],
)
def test_half_of_what_full_takes_is_not_enough_without_the_hub(
    machine: Machine, cache: Cache, data: list[str] | None, model: list[str] | None
) -> None:
    machine(gpu=True, problem="the Hub sleeps")
    if data:
        cache(HUB_DATA, data)
    if model:
        cache(HUB_MODEL, model)
    with pytest.raises(ConnectionError, match="the Hub sleeps"):
        choose_track("full")


def test_full_on_a_learners_own_file_needs_no_data_from_before(machine: Machine, cache: Cache, tmp_path: Path) -> None:
    machine(gpu=True, problem="the Hub sleeps")
    path = tmp_path / "mine.jsonl"
    path.write_text('{"text": "mine"}\n')
    with pytest.raises(ConnectionError):
        choose_track("full", data=path)
    cache(HUB_MODEL, MODEL_FILES)
    assert choose_track("full", data=path).data == str(path)


def test_without_a_name_what_was_downloaded_before_does_not_matter(
    machine: Machine, cache: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(gpu=True, problem="the Hub sleeps")
    cache(HUB_DATA, ["train.parquet"])
    cache(HUB_MODEL, MODEL_FILES)
    assert choose_track().name == "quick"
    assert "The full track needs the Hub: the Hub sleeps." in capsys.readouterr().out


def test_the_line_of_the_quick_track(capsys: pytest.CaptureFixture[str]) -> None:
    choose_track("quick")
    assert capsys.readouterr().out == (
        "Track quick: the bundled tiny GPT-2 on the bundled ELI5 sample. It was asked for. "
        "No notebook takes more than four minutes on a laptop. To change it: choose_track('full').\n"
    )


def test_the_line_of_the_full_track_says_what_why_how_long_and_how_to_change_it(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(gpu=True, problem=None)
    choose_track("full")
    assert capsys.readouterr().out == (
        f"Track full: {HUB_MODEL} on 5,000 rows of {HUB_DATA}. It was asked for. "
        "It has 82 million parameters, licence apache-2.0; to train all of them in float32 takes 1.3 GB of memory, and "
        "what the blocks take. Training takes minutes on a GPU. To change it: choose_track('quick').\n"
    )


def test_the_full_track_on_a_cpu_tells_the_minutes_of_these_rows_and_epochs(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(gpu=False, problem=None)
    choose_track("full", rows=1000, epochs=2)
    # 80 % of 1,000 rows, 334 tokens each, twice, at 360 tokens a second.
    assert "Training takes about 25 minutes on two CPU cores" in capsys.readouterr().out
    choose_track("full")
    assert "about 186 minutes" in capsys.readouterr().out


def test_more_rows_than_the_sample_has_take_no_longer(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine(gpu=False, problem=None)
    for rows in (None, 10_000):
        choose_track("quick", model=HUB_MODEL, rows=rows)
        assert "Training takes about 12 minutes on two CPU cores" in capsys.readouterr().out


def test_each_track_has_its_own_data_model_and_arguments(machine: Machine) -> None:
    machine(gpu=True, problem=None)
    quick, full = choose_track("quick"), choose_track("full")
    assert (quick.data, quick.model) == (str(BUNDLED / "eli5_sample.jsonl"), str(BUNDLED / "tiny_gpt2"))
    assert (full.data, full.model) == ("dany0407/eli5_category", "distilbert/distilgpt2")
    assert (quick.rows, full.rows) == (None, 5000)
    assert (full.learning_rate, full.epochs, full.prompt) == (
        2e-5,
        3,
        "Somatic hypermutation allows the immune system to",
    )
    assert quick.output_dir == "quick/my_awesome_eli5_clm-model"
    assert full.output_dir == "full/my_awesome_eli5_clm-model"
    assert Path(quick.data).is_file()
    assert (Path(quick.model) / "config.json").is_file()


@pytest.mark.parametrize("name", ["quick", "full"])
def test_rows_and_epochs_can_be_cut_on_either_track(machine: Machine, name: str) -> None:
    machine(gpu=True, problem=None)
    track = choose_track(name, rows=7, epochs=1)
    assert (track.rows, track.epochs) == (7, 1)


@pytest.mark.parametrize("name", ["quick", "full"])
def test_a_learners_own_file_replaces_the_data_of_either_track(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    machine(gpu=True, problem=None)
    path = tmp_path / "mine.jsonl"
    path.write_text('{"text": "mine"}\n')
    track = choose_track(name, data=path)
    assert (track.data, track.rows) == (str(path), None)
    assert f" on {path}. " in capsys.readouterr().out


def test_a_track_cannot_be_changed() -> None:
    track: Track = choose_track("quick")
    with pytest.raises(FrozenInstanceError):
        track.rows = 3  # type: ignore[misc]


def test_own_data_gets_a_speed_since_its_size_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("text\nA line.\n", encoding="utf-8")
    choose_track("quick", data=path)
    printed = capsys.readouterr().out
    assert "7,000 tokens and epoch" in printed
    assert "a minute" not in printed


@pytest.mark.parametrize("name", ["quick", None])
def test_arabic_takes_the_arabic_sample_of_the_quick_track(
    machine: Machine, capsys: pytest.CaptureFixture[str], name: str | None
) -> None:
    machine(gpu=True, problem=None)
    track = choose_track(name, language="ar")
    assert (track.name, track.data, track.rows) == ("quick", str(ARABIC_SAMPLE), None)
    assert (track.model, track.prompt) == (choose_track("quick").model, "السماء زرقاء لأن")
    reason = "It was asked for." if name else "The Arabic sample belongs to the quick track."
    said = (
        f"Track quick: the bundled tiny GPT-2 on the bundled Arabic sample. {reason} No notebook takes more than four"
    )
    assert capsys.readouterr().out.startswith(said)


def test_arabic_goes_with_rows_and_another_model(capsys: pytest.CaptureFixture[str]) -> None:
    track = choose_track("quick", language="ar", model="mine", rows=9)
    assert (track.data, track.model, track.rows, track.learning_rate) == (str(ARABIC_SAMPLE), "mine", 9, 2e-5)
    assert "mine on 9 rows of eli5_sample_ar.jsonl" in capsys.readouterr().out


def test_english_is_what_the_tracks_have_without_being_asked(machine: Machine) -> None:
    machine(gpu=True, problem=None)
    for name in ("quick", "full"):
        assert choose_track(name, language="en") == choose_track(name)


@pytest.mark.parametrize("by_variable", [False, True])
def test_the_full_track_has_no_arabic_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch, by_variable: bool) -> None:
    monkeypatch.setenv("CLMKIT_TRACK", "full" if by_variable else "quick")
    with pytest.raises(ValueError, match=r"no Arabic data: .*choose_track\('quick', language='ar'\), or .*data=\.\.\."):
        choose_track(None if by_variable else "full", language="ar")


@pytest.mark.parametrize("language", ["fr", ""])
def test_another_language_is_named(language: str) -> None:
    with pytest.raises(ValueError, match=f"unknown language '{language}': choose 'en' or 'ar'"):
        choose_track("quick", language=language)


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_language_and_data_are_one_too_many(shards: Path, language: str) -> None:
    for model in (None, "mine"):
        with pytest.raises(
            ValueError, match=f"language='{language}' is for the course's own data, and data names others"
        ):
            choose_track("quick", data=shards / "0.jsonl", model=model, language=language)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A folder of four files, and one of another kind."""
    for name in ("0.jsonl", "1.jsonl", "2.jsonl", "[3].jsonl", "notes.txt"):
        (tmp_path / name).write_text('{"text": "mine"}\n')
    return tmp_path


def test_files_and_patterns_are_found_and_what_is_no_file_is_an_id_of_the_hub(shards: Path) -> None:
    assert find_files(str(shards / "?.jsonl")) == [str(shards / f"{number}.jsonl") for number in range(3)]
    assert find_files((str(shards / "1.jsonl"), str(shards / "0.jsonl")))[0].endswith("1.jsonl")
    assert find_files(str(shards / "[3].jsonl")) == [str(shards / "[3].jsonl")]
    assert find_files("owner/name") == find_files("owner/name-2.1_b") == find_files("name") == []
    for missing in ("owner/name.csv", "a/b/c", "owner/*", "no.jsonl.gz"):
        with pytest.raises(FileNotFoundError, match=f"data file {re.escape(repr(missing))} is not there"):
            find_files(missing)
    with pytest.raises(FileNotFoundError, match="data file 'owner/name' is not there"):
        find_files((str(shards / "0.jsonl"), "owner/name"))
    with pytest.raises(FileNotFoundError, match="is a folder here: name a data file in it"):
        find_files(str(shards))


def test_several_files_are_kept_in_their_order(shards: Path) -> None:
    several = choose_track("quick", data=[shards / "1.jsonl", str(shards / "0.*")])
    assert several.data == (str(shards / "1.jsonl"), str(shards / "0.*"))
    assert choose_track("quick", data=[shards / "1.jsonl"]).data == str(shards / "1.jsonl")
    with pytest.raises(FileNotFoundError):
        choose_track("quick", data=[shards / "1.jsonl", "no.jsonl"])


def test_a_model_of_ones_own_takes_the_guides_learning_rate_and_epochs(
    shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    track = choose_track("quick", model="mine", rows=9)
    assert (track.name, track.model, track.epochs, track.learning_rate, track.rows) == ("quick", "mine", 3, 2e-5, 9)
    assert capsys.readouterr().out == (
        "Track quick: mine on 9 rows of eli5_sample.jsonl. It was asked for. To change it: choose_track('full').\n"
    )
    assert choose_track("quick", model="mine", epochs=1).epochs == 1
    assert choose_track("quick", data=shards / "0.jsonl").learning_rate == 5e-4


def test_where_data_and_model_are_given_there_is_nothing_to_decide(
    shards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise AssertionError("asked")

    for name in ("has_gpu", "hub_problem", "check_hub"):
        monkeypatch.setattr(tracks, name, refuse)
    monkeypatch.setenv("CLMKIT_TRACK", "full")
    for name in (None, "quick", "full"):
        track = choose_track(name, data=shards / "0.jsonl", model="mine")
        assert (track.name, track.rows, track.epochs, track.learning_rate) == ("own", None, 3, 2e-5)
        assert track.output_dir == "own/my_awesome_eli5_clm-model"
        assert capsys.readouterr().out == f"Track own: mine on {shards / '0.jsonl'}.\n"
    with pytest.raises(ValueError, match="unknown track 'huge'"):
        choose_track("huge", data=shards / "0.jsonl", model="mine")


def test_a_model_in_a_folder_needs_no_download(machine: Machine, cache: Cache, tmp_path: Path) -> None:
    machine(gpu=True, problem="the Hub sleeps")
    cache(HUB_DATA, ["train.parquet"])
    with pytest.raises(ConnectionError):
        choose_track("full", model="owner/name")
    assert choose_track("full", model=tmp_path).model == str(tmp_path)


def test_what_else_describes_the_data_is_part_of_the_track() -> None:
    plain = choose_track("quick")
    assert (plain.text_column, plain.data_revision, plain.block_size, plain.append_eos) == (None, None, 128, False)
    assert plain.test_size is None
    described: dict[str, object] = {"text_column": "body", "data_revision": "v2", "block_size": 64, "append_eos": True}
    track = choose_track("quick", **described, test_size=0.1)
    assert {name: getattr(track, name) for name in described} == described
    assert track.test_size == 0.1


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", None])
def test_what_is_no_whole_number_of_1_or_more_is_named(value: object) -> None:
    with pytest.raises(ValueError, match=re.escape(f"window must be a whole number of 1 or more, not {value!r}")):
        check_whole_number("window", value)
    check_whole_number("window", 1)


def test_brackets_may_be_part_of_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set [v2]").mkdir()
    for name in ("part1.jsonl", "part[1].jsonl", "set [v2]/a.jsonl"):
        (tmp_path / name).touch()
    assert find_files("part[1].jsonl") == ["part[1].jsonl"]
    assert find_files("set [v2]/*.jsonl") == ["set [v2]/a.jsonl"]
    assert find_files("part[12].jsonl") == ["part1.jsonl"]


@pytest.mark.parametrize("name", ["distilgpt2", "ada/mine"])
def test_a_folder_with_a_name_as_on_the_hub_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(BUNDLED / "tiny_gpt2", name)
    choose_track("quick", model=name)
    assert f"{name} is the folder here, not a model on the Hub." in " ".join(capsys.readouterr().out.split())
    choose_track("quick", model=f"./{name}")
    assert "is the folder here" not in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match=r"is a folder here: .* on the Hub, work in another folder"):
        choose_track("quick", data=name)


@pytest.mark.parametrize("name", ["./my-model", "models/gpt2/tuned", "C:\\models\\tuned", "/nowhere/tuned", "~/tuned"])
def test_a_model_folder_that_is_not_there_is_told_as_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    told = repr(name.replace("~", str(tmp_path / "home")))
    said = f"model folder {told} is not there; the working folder is {tmp_path}. It is no id on the Hub either, which"
    with pytest.raises(FileNotFoundError, match=re.escape(said)):
        choose_track("quick", model=name)


def test_a_file_of_a_model_is_not_taken_for_the_model() -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json' is a file: name the folder that it is in"):
        choose_track("quick", model=TINY_MODEL / "config.json")


def test_a_home_may_be_written_as_a_shell_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n')
    (tmp_path / "tuned").mkdir()
    track = choose_track("quick", data="~/rows.jsonl", model="~/tuned")
    assert (track.data, track.model) == (str(tmp_path / "rows.jsonl"), str(tmp_path / "tuned"))
    assert load_local("~/rows.jsonl")["text"][:] == ["one"]


@pytest.mark.parametrize(
    "data", [[], "", [""], [None], {"train": "rows.csv"}, iter(()), Dataset.from_dict({"text": ["a"]}), 5]
)
def test_data_that_are_no_paths_are_refused(data: Any) -> None:
    with pytest.raises(ValueError, match=r"data must be a path, a pattern, an id on the Hub, or a list of such, not "):
        choose_track("quick", data=data)


@pytest.mark.parametrize("name", ["https://example.com/rows.csv", "s3://bucket/rows.jsonl", "file:///rows.csv"])
def test_an_address_is_told_as_one(name: str) -> None:
    for read in (load_local, find_files, lambda name: load_local(Path(name))):
        with pytest.raises(FileNotFoundError, match=r"' is an address, not a file here: download it first"):
            read(name)


@pytest.mark.parametrize("rows", [0, -1, 1.5, "10"])
def test_rows_of_a_file_are_counted_as_those_of_a_track(rows: Any) -> None:
    with pytest.raises(ValueError, match=r"rows must be a whole number of 1 or more, not "):
        load_local(ARABIC_SAMPLE, rows=rows)


def test_a_text_column_is_one_name() -> None:
    several: Any = ["title", "text"]
    with pytest.raises(ValueError, match=r"text_column must be the name of one column, not \['title', 'text'\]"):
        load_local(ARABIC_SAMPLE, text_column=several)
