"""The command line of training: what it takes, what it says, what it leaves."""

import dataclasses
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase, TrainerCallback, TrainingArguments

from clmkit.chunking import chunk
from clmkit.evaluation import score
from clmkit.files import load_local
from clmkit.scale import plan
from clmkit.scale import run as run_module
from clmkit.scale.command import FIRST, FIRST_OF_TRAINER, parse_training, run_command
from clmkit.scale.processes import join_processes
from clmkit.scale.record import read_track
from clmkit.scale.results import evaluate, generate
from clmkit.scale.run import train
from clmkit.scale.streams import Stream
from clmkit.texts import join_answers, split_rows
from clmkit.tokenization import tokenize
from clmkit.tracks import choose_track
from clmkit.training.pytorch import build_trainer
from tests.tokens import files_that_tell, remember
from tests.training.launch import record, same_weights

Words = Callable[..., list[str]]
HEAVY = ("torch", "transformers", "datasets")


def test_options_come_from_a_file_and_words_win_over_it(tmp_path: Path) -> None:
    text = (
        "rows: 40\nlearning_rate: 2e-3\ndata: [a.jsonl, b.jsonl]\nlr_scheduler_kwargs: {num_cycles: 2}\nbf16: false\n"
    )
    (tmp_path / "run.yaml").write_text(text + "seed: null\n")
    words = parse_training(
        [str(tmp_path / "run.yaml"), "--rows", "7", "--streaming", "--window", "9", "--max_steps", "5"]
    )
    assert words.track == {"rows": 7, "data": ["a.jsonl", "b.jsonl"]}
    assert words.stream == Stream(window=9, test_rows=500)
    assert words.arguments == {
        "learning_rate": 2e-3,
        "max_steps": 5,
        "lr_scheduler_kwargs": '{"num_cycles": 2}',
        "bf16": False,
    }
    (tmp_path / "run.json").write_text(json.dumps({"block_size": 64, "append_eos": True}))
    assert parse_training([str(tmp_path / "run.json")]) == ({"block_size": 64, "append_eos": True}, None, {})


def test_what_is_not_given_is_left_to_the_course(tmp_path: Path) -> None:
    assert parse_training([]) == ({}, None, {})
    assert parse_training(["--language", "ar"]) == ({"language": "ar"}, None, {})
    assert parse_training(["--track", "quick", "--use_cache", "false", "--block-size", "7"]) == (
        {"name": "quick", "block_size": 7},
        None,
        {"use_cache": False},
    )


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "- 1\n- 2\n", "must hold options and their values"),
        ("a.yaml", "rows: [1\n", "malformed: while parsing"),
        ("a.json", "{", "malformed: Expecting property name"),
        ("a.txt", "", "is neither an option nor a .yaml or .json file"),
        ("a.yaml", "", "must hold options and their values"),
        ("a.json", "[1]", "must hold options and their values"),
        ("a.yaml", "rows: 1\n\tseed: 2\n", "malformed: while scanning"),
        ("a.yaml", "rows: 1\nseed: 2\nrows: 3\n", "rows is there twice, with 1 and 3"),
        ("a.yaml", "block_size: 8\nblock-size: 16\n", "block-size is there twice, with 8 and 16"),
        ("a.json", '{"rows": 1, "rows": 2}', "rows is there twice, with 1 and 2"),
    ],
)
def test_a_file_that_holds_no_options_is_an_error(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_training([str(tmp_path / name)])


def test_a_file_in_another_encoding_is_named_and_a_mark_is_none_of_its_text(tmp_path: Path) -> None:
    for name, text in (("a.yaml", "rows: 7\n"), ("a.json", '{"rows": 7}')):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert parse_training([str(tmp_path / name)]).track == {"rows": 7}
        (tmp_path / name).write_text(text, encoding="utf-16")
        with pytest.raises(ValueError, match=rf"{name} is not UTF-8 \(byte 0\): save it as UTF-8"):
            parse_training([str(tmp_path / name)])


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("learning_rate: 5e-5", {"learning_rate": 5e-5}),
        ("learning_rate: '5e-5'", {"learning_rate": 5e-5}),
        ("learning_rate: -1e-5", {"learning_rate": -1e-5}),
        ("optim_args: -a=1", {"optim_args": "-a=1"}),
        ("bf16: on", {"bf16": True}),
        ("bf16: off", {"bf16": False}),
        ("bf16: Yes", {"bf16": True}),
        ("eval-strategy: off", {"eval_strategy": "no"}),
        ("report_to: no", {"report_to": "none"}),
        ("report_to: [tensorboard, wandb]", {"report_to": ["tensorboard", "wandb"]}),
        ("optim_target_modules: all-linear", {"optim_target_modules": "all-linear"}),
        ("liger_kernel_config: {rope: true}", {"liger_kernel_config": {"rope": True}}),
        ("data_config: no", {"data_config": "no"}),
        ("text_column: on", {"text_column": "on"}),
        ("data_revision: 0123456", {"data_revision": "0123456"}),
        ("run_name: 1e5", {"run_name": "1e5"}),
        ("seed: ~", {}),
        ("seed:", {}),
        ("seed: null", {}),
        ("lr_scheduler_kwargs: {min_lr: 1e-6}", {"lr_scheduler_kwargs": '{"min_lr": 1e-06}'}),
    ],
)
def test_a_value_of_a_file_is_what_is_written_there(tmp_path: Path, line: str, found: dict[str, Any]) -> None:
    (tmp_path / "run.yaml").write_text(line + "\n")
    words = parse_training([str(tmp_path / "run.yaml")])
    assert {**words.track, **words.arguments} == found


def test_json_has_the_same_values(tmp_path: Path) -> None:
    values = {"bf16": False, "learning_rate": 5e-5, "seed": None, "lr_scheduler_kwargs": {"min_lr": 1e-6}}
    (tmp_path / "run.json").write_text(json.dumps({**values, "eval_strategy": False, "data": ["a.txt", "b.txt"]}))
    words = parse_training([str(tmp_path / "run.json")])
    assert words.track == {"data": ["a.txt", "b.txt"]}
    assert words.arguments == {
        "bf16": False,
        "learning_rate": 5e-5,
        "lr_scheduler_kwargs": '{"min_lr": 1e-06}',
        "eval_strategy": "no",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lr", "1e-3"], "unrecognized arguments: --lr 1e-3: here it is learning_rate"),
        (["--epochs=3"], "here it is num_train_epochs"),
        (["--blok-size", "8"], "did you mean 'block_size'?"),
        (["--no_cuda"], "here it is use_cpu"),
        (["--rows", "3", "run.yaml"], "run.yaml: a file of options is the first word of all"),
        (["--learning_rate"], "argument --learning_rate/--learning-rate: expected one argument"),
        (["--learning_rate", "much"], "invalid float value: 'much'"),
        (["--rows", "many"], "invalid int value: 'many'"),
    ],
)
def test_words_that_are_no_options_are_named_with_what_was_meant(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse_training(words)
    assert said in capsys.readouterr().err


def test_an_unknown_option_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_text("learning_rte: 2e-3\n")
    with pytest.raises(SystemExit):
        parse_training([str(tmp_path / "run.yaml")])
    assert "unrecognized arguments: --learning_rte=2e-3: did you mean 'learning_rate'?" in capsys.readouterr().err


def test_the_help_lists_every_option_and_first_the_ten_that_matter(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_training(["--help"])
    names = re.findall(r"^  --(\w+)", capsys.readouterr().out, re.MULTILINE)
    assert names[:10] == [*FIRST, *FIRST_OF_TRAINER]
    fields = {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    given = {"track", "streaming", *inspect.signature(choose_track).parameters, *Stream.__annotations__}
    assert fields | given - {"name", "epochs", "chat"} <= set(names)


def test_the_other_commands_stay_light() -> None:
    script = (
        "import sys; from clmkit.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], 'none')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == " none".strip()
    for command in ("doctor", "train", "evaluate", "generate"):
        assert command in done.stdout


def test_a_run_leaves_the_model_its_card_its_curve_and_its_json(
    words_of: Words,
    documents: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr("clmkit.training.pytorch.HubCallback", lambda *given: TrainerCallback())
    monkeypatch.setattr("clmkit.scale.run.push_model", lambda *given: "there")
    asked = {"max_steps": 6, "append_eos": True, "push_to_hub": True, "hub_token": remember("hf_secret")}
    assert run_command("train", words_of(**asked)) == 0
    printed = capsys.readouterr().out.removesuffix("Shared: there\n")
    for line in ("the first 60 rows", "Rows:   0.2 of them held out", "Steps:  6, ", "Tokens: 384", "Time:   about "):
        assert line in printed
    assert re.search(r"Blocks: \d+ to train on, \d+ to test on, 16 tokens each", printed)
    assert printed.index("Time:") < printed.index("'loss'")
    kept = record(out)
    figures = printed.splitlines()[-3:-1]
    assert figures[0].startswith(f"Perplexity {kept['after']['perplexity']:.2f} on ")
    assert figures[1] == f"{kept['after']['bits_per_byte']:.3f} bits per byte of their text"
    assert printed.splitlines()[-1] == f"The model, its card, its curve and run.json are in {out.as_posix()}"
    assert {"run.json", "README.md", "losses.png", "model.safetensors", "config.json"} <= {
        p.name for p in out.iterdir()
    }
    assert kept["status"] == "finished"
    assert set(kept["versions"]) >= {"python", "torch", "transformers", "datasets", "accelerate", "clmkit"}
    assert kept["seeds"] == {"split": 42, "training": 42, "order": 42}
    assert kept["data"]["source"].startswith("documents.jsonl, sha256 ")
    assert len(kept["data"]["fingerprint"]) == 64
    assert kept["before"]["perplexity"] > kept["after"]["perplexity"]
    assert [step for step, _ in kept["losses"]["train"]] == [1, 2, 3, 4, 5, 6]
    assert kept["arguments"]["learning_rate"] == 1e-2
    assert files_that_tell(tmp_path, ["hf_secret"]) == []
    card = ModelCard.load(out / "README.md").text
    assert f"{kept['after']['perplexity']:.2f} (mean loss" in card
    assert "| base model | the model in the folder steady |" in card


def test_evaluate_and_generate_take_the_folder(
    words_of: Words, documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("train", words_of(max_steps=6)) == 0
    after = record(tmp_path / "out")["after"]
    capsys.readouterr()
    assert run_command("evaluate", [str(tmp_path / "out")]) == 0
    assert f"Perplexity {after['perplexity']:.2f} on {after['tokens']:,} predictions" in capsys.readouterr().out
    assert evaluate(tmp_path / "out", batch_size=3).mean_loss == pytest.approx(after["summed_loss"] / after["tokens"])
    words = [str(tmp_path / "out"), "--prompt", "The sky is", "Bread rises", "--max_new_tokens", "5", "--greedy"]
    capsys.readouterr()
    assert run_command("generate", words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:10] for line in lines if line.startswith(("The sky is", "Bread rises"))] == [
        "The sky is",
        "Bread rise",
    ]
    assert generate(tmp_path / "out", ["The sky is"], max_new_tokens=5, do_sample=False)[0] == lines[0]


def test_a_stream_is_evaluated_on_the_blocks_that_it_held_out(
    words_of: Words, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_of(data=shards / "*.jsonl", streaming=True, max_steps=4, window=20, test_size=0.1)
    assert run_command("train", words) == 0
    after = record(tmp_path / "out")["after"]
    score = evaluate(tmp_path / "out")
    assert score.tokens == after["tokens"]
    assert score.summed_loss == pytest.approx(after["summed_loss"])


def test_data_that_has_changed_is_not_evaluated_on(
    words_of: Words, documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.jsonl"
    mine.write_text(documents.read_text())
    assert run_command("train", words_of(data=mine, max_steps=2)) == 0
    mine.write_text(documents.read_text().replace("Water", "Wine").replace("sky", "sea"))
    assert run_command("evaluate", [str(tmp_path / "out")]) == 1
    assert "is not what the model in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "nowhere"], "evaluate: 'nowhere' holds no run"),
        (["generate", "nowhere", "--prompt", "a"], "generate: there is no folder 'nowhere' with a model"),
        (["train", "--data", "nowhere.jsonl"], "train: data file 'nowhere.jsonl' is not there; the working folder is"),
        (["train", "--block_size", "0"], "train: block_size must be a whole number of 1 or more, not 0"),
        (["train", "--rows", "0"], "train: rows must be a whole number of 1 or more, not 0"),
        (["train", "--streaming", "--window", "0"], "train: window must be a whole number of 1 or more, not 0"),
        (["train", "--resume_from_checkpoint", "a"], "train: a run goes on from its last whole checkpoint by itself"),
        (["train", "--dataloader_persistent_workers"], "train: workers that persist would keep the order of the first"),
        (["train", "--liger_kernel_config", "{rope"], "must be JSON such as {\"rope\": true}, not '{rope'"),
        (["train", "--per_device_train_batch_size", "0"], "must be a whole number of 1 or more, not 0"),
        (["train", "nowhere.yaml"], "No such file or directory: 'nowhere.yaml'"),
        (
            ["train", "--track", "quick", "--streaming", "--max_steps", "2", "--test_size", "2"],
            "--test_size 2.0 leaves",
        ),
        (["train", "--track", "quick", "--streaming"], "train: nobody knows how long a stream is"),
    ],
)
def test_what_can_be_mended_is_one_sentence(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(words[0], words[1:]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("word", ["r=16", "[16]", "16"])
def test_what_is_no_configuration_of_an_adapter_is_said(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_training(["--lora", word])
    assert f"argument --lora: '{word}' is no JSON object, such as" in capsys.readouterr().err


def test_a_librarys_sentence_of_several_lines_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: Any) -> None:
        raise ValueError("they have to match, but found\n- one: a\n- other: b\n")

    monkeypatch.setattr("clmkit.scale.command.choose_track", refuse)
    assert run_command("train", []) == 1
    assert capsys.readouterr().err == "train: they have to match, but found - one: a - other: b\n"


def test_it_trains_the_model_that_the_notebooks_calls_train(
    steady_model: Path, documents: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    # With dropout they part at the first evaluation, for which the Trainer's own data loader draws a random number.
    how: dict[str, Any] = {"num_train_epochs": 2, "learning_rate": 1e-2, "use_cpu": True, "disable_tqdm": True}
    own = choose_track(data=documents, model=steady_model, block_size=16)
    train(own, **how, output_dir=str(tmp_path / "command"))
    blocks = chunk(tokenize(join_answers(split_rows(load_local(documents))), tokenizer), 16)
    track = replace(own, epochs=2, learning_rate=1e-2, output_dir=str(tmp_path / "notebook"))
    model = AutoModelForCausalLM.from_pretrained(steady_model)
    trainer = build_trainer(track, model, blocks, tokenizer, **how)
    trainer.train()
    trainer.save_model()
    assert same_weights(tmp_path / "command", tmp_path / "notebook")
    assert record(tmp_path / "command")["after"]["summed_loss"] == pytest.approx(
        score(model, blocks["test"]).summed_loss
    )


def test_the_probe_leaves_no_trace(
    noisy_model: Path, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = choose_track(data=documents, model=noisy_model, block_size=16)
    how: dict[str, Any] = {"max_steps": 4, "learning_rate": 1e-2, "use_cpu": True, "disable_tqdm": True}
    train(track, **how, output_dir=str(tmp_path / "probed"))
    monkeypatch.setattr(run_module, "print_plan", lambda *arguments, **named: None)
    train(track, **how, output_dir=str(tmp_path / "plain"))
    assert same_weights(tmp_path / "probed", tmp_path / "plain")


def test_several_files_are_one_data_set(words_of: Words, shards: Path, tmp_path: Path) -> None:
    assert run_command("train", words_of(data=shards / "[01].jsonl", max_steps=2)) == 0
    assert record(tmp_path / "out")["data"]["source"].startswith("2 files, 0.jsonl to 1.jsonl, ")


def test_a_record_of_an_earlier_version_is_not_read(
    words_of: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text('{"status": "finished", "options": {"rows": 100}}')
    for words in (["evaluate", str(tmp_path)], ["train", *words_of(output_dir=tmp_path)]):
        assert run_command(words[0], words[1:]) == 1
        assert "run.json is of an earlier version of clmkit: choose another --output_dir" in capsys.readouterr().err


def test_the_json_of_a_run_holds_the_track(words_of: Words, shards: Path, tmp_path: Path) -> None:
    data = [str(shards / "0.jsonl"), str(shards / "1.jsonl")]
    words = words_of(max_steps=2, test_size=0.25, append_eos=True)
    words[words.index("--data") + 1 : words.index("--data") + 2] = data
    assert run_command("train", words) == 0
    track = read_track(record(tmp_path / "out"))
    assert (track.data, track.test_size, track.append_eos, track.block_size) == (tuple(data), 0.25, True, 16)
    assert record(tmp_path / "out")["stream"] is None


@pytest.mark.parametrize(("arguments", "seed"), [({}, 42), ({"seed": 7}, 7), ({"seed": 7, "data_seed": 0}, 0)])
def test_the_order_of_a_stream_is_that_of_data_seed_even_if_it_is_0(
    shards: Path, steady_model: Path, tmp_path: Path, arguments: dict[str, int], seed: int
) -> None:
    track = choose_track(data=shards / "*.jsonl", model=steady_model, block_size=16, test_size=0.1)
    join_processes()
    _tokenizer, prepared = run_module._prepare(track, Stream(), tmp_path, arguments)
    assert prepared.stream.seed == seed


@pytest.mark.parametrize(("kind", "waits"), [("cpu", 0), ("cuda", 1), ("mps", 1)])
def test_the_probe_waits_for_a_gpu_of_any_kind(monkeypatch: pytest.MonkeyPatch, kind: str, waits: int) -> None:
    waited: list[None] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: waited.append(None))
    plan._now(kind)
    assert len(waited) == waits
