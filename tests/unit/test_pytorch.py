import dataclasses
import logging
import math
import platform
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BartConfig,
    BertConfig,
    BertGenerationConfig,
    BloomConfig,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    MambaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
    RobertaConfig,
    T5Config,
    TrainingArguments,
    ViTConfig,
    XLMConfig,
    XLNetConfig,
    set_seed,
)

from clmkit.chunking import collate_blocks
from clmkit.evaluation import LossHistory, score
from clmkit.scale.results import generate
from clmkit.tokenization import check_vocabulary
from clmkit.tracks import BUNDLED, Track
from clmkit.training import pytorch as trainer_module
from clmkit.training.base_models import check_causal, load_model
from clmkit.training.pytorch import (
    HubCallback,
    build_trainer,
    find_or_train,
    hardware_arguments,
    hyperparameters,
    keep_freed_memory,
    loss_history,
)
from tests.fake_hub import TOKEN, FakeHub
from tests.gpu import imitate_gpu
from tests.kernels import run
from tests.tokens import files_that_tell


@pytest.fixture
def small(quick: Track, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> Track:
    """The quick track with a random model of one layer to start from."""
    model.save_pretrained(tmp_path / "random")
    tokenizer.save_pretrained(tmp_path / "random")
    return dataclasses.replace(quick, model=str(tmp_path / "random"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


LARGE = SimpleNamespace(num_parameters=lambda: 82_000_000)  # all that is asked of the model


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16", None])
def test_a_cpu_trains_a_large_model_in_bfloat16_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, model: GPT2LMHeadModel, instructions: str | None
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instructions: True, "avx512_f": True}, raising=False)
    native = instructions is not None
    known = {"fp16": False, "dataloader_pin_memory": False}
    assert hardware_arguments(LARGE) == {"bf16": native, "use_cpu": native, **known}
    assert hardware_arguments(model) == {"bf16": False, "use_cpu": False, **known}


@pytest.mark.usefixtures("no_gpu")
def test_a_pytorch_that_does_not_know_the_cpu_trains_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert hardware_arguments(LARGE)["bf16"] is False


@pytest.mark.parametrize(
    ("capability", "bf16", "fp16"),
    [((8, 0), True, False), ((7, 5), False, True), ((7, 0), False, True), ((6, 1), False, False)],
)
def test_a_gpu_trains_in_what_it_computes_in_itself(
    monkeypatch: pytest.MonkeyPatch, model: GPT2LMHeadModel, capability: tuple[int, int], bf16: bool, fp16: bool
) -> None:
    imitate_gpu(monkeypatch, capability)
    chosen = {"bf16": bf16, "fp16": fp16, "use_cpu": False, "dataloader_pin_memory": True}
    assert hardware_arguments(model) == chosen


@pytest.mark.usefixtures("no_gpu")
def test_training_in_bfloat16_on_a_cpu_comes_out_near_float32(
    quick: Track, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase, small_config: GPT2Config, tmp_path: Path
) -> None:
    losses = []
    for bf16 in (False, True):
        set_seed(0)
        how = {"output_dir": str(tmp_path), "max_steps": 5, "save_strategy": "no", "disable_tqdm": True}
        trainer = build_trainer(quick, GPT2LMHeadModel(small_config), blocks, tokenizer, bf16=bf16, use_cpu=bf16, **how)
        trainer.train()
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


FREED = """
import resource, sys, torch
from clmkit.training.pytorch import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

kept = sys.argv[1] == "keep" and keep_freed_memory()
before = faults()
for _ in range(60):
    torch.ones(10 * 2**20)  # 40 MB, freed at once
print(kept, faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back that eagerly")
def test_freed_memory_is_kept() -> None:
    runs = [run(sys.executable, "-c", FREED, word, CUDA_VISIBLE_DEVICES="") for word in ("give back", "keep")]
    (_, fresh_pages), (kept, fewer_pages) = (done.stdout.split() for done in runs)
    assert kept == "True"
    assert int(fresh_pages) > 5 * int(fewer_pages)


def test_memory_is_left_alone_without_glibc_and_where_a_gpu_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert keep_freed_memory() is False


def test_build_trainer_takes_the_guides_arguments_and_the_tracks(
    quick: Track, model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase
) -> None:
    trainer = build_trainer(dataclasses.replace(quick, epochs=2, learning_rate=1e-3), model, blocks, tokenizer)
    arguments = trainer.args
    assert arguments.eval_strategy == arguments.save_strategy == "epoch"
    assert (arguments.num_train_epochs, arguments.learning_rate, arguments.weight_decay) == (2, 1e-3, 0.01)
    assert arguments.per_device_train_batch_size == arguments.per_device_eval_batch_size == 8
    assert (arguments.logging_steps, arguments.save_total_limit) == (0.05, 1)
    assert arguments.output_dir == quick.output_dir
    assert not arguments.push_to_hub
    assert arguments.report_to == []
    assert trainer.data_collator is collate_blocks
    assert trainer.processing_class is tokenizer
    assert trainer.train_dataset is blocks["train"]
    assert trainer.eval_dataset is blocks["test"]


def test_arguments_of_the_caller_win(
    quick: Track, model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    trainer = build_trainer(
        quick, model, blocks, tokenizer, learning_rate=0.5, max_steps=3, output_dir=str(tmp_path / "other")
    )
    assert (trainer.args.learning_rate, trainer.args.max_steps) == (0.5, 3)
    assert trainer.args.output_dir == str(tmp_path / "other")
    assert not Path(quick.output_dir).exists()


def test_labels_reach_the_model_as_they_are_eos_included(
    quick: Track, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    # DataCollatorForLanguageModeling with pad_token = eos_token would turn each eos into -100.
    ids = [[5, tokenizer.eos_token_id, 6, tokenizer.eos_token_id]] * 8
    rows = Dataset.from_dict({"input_ids": ids})
    trainer = build_trainer(quick, model, DatasetDict(train=rows, test=rows), tokenizer)
    batch = next(iter(trainer.get_train_dataloader()))
    assert batch["labels"].tolist() == batch["input_ids"].tolist() == ids


def test_blocks_longer_than_the_context_are_refused_before_a_folder_is_made(
    quick: Track, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows = Dataset.from_dict({"input_ids": [[1] * 600]})
    with pytest.raises(ValueError, match=r"block_size 600 .* context of 512"):
        build_trainer(quick, model, DatasetDict(train=rows, test=rows), tokenizer)
    assert not Path(quick.output_dir).exists()


def test_training_lowers_the_loss_and_logs_twenty_lines_in_a_short_run(
    quick: Track, model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase
) -> None:
    before = score(model, blocks["test"]).mean_loss
    trainer = build_trainer(
        dataclasses.replace(quick, epochs=10, learning_rate=1e-2), model, blocks, tokenizer, save_strategy="no"
    )
    trainer.train()
    history = loss_history(trainer.state.log_history)
    assert score(model, blocks["test"]).mean_loss < before - 1
    assert history.test[-1][1] < history.test[0][1]
    steps = math.ceil(len(blocks["train"]) / 8)
    assert [step for step, _ in history.test] == [steps * epoch for epoch in range(1, 11)]
    assert len(history.train) >= 20


def test_the_tokenizer_is_saved_with_the_model_and_with_every_checkpoint(
    quick: Track, model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase
) -> None:
    trainer = build_trainer(quick, model, blocks, tokenizer)
    trainer.train()
    trainer.save_model()
    folder = Path(quick.output_dir)
    checkpoints = list(folder.glob("checkpoint-*"))
    assert len(checkpoints) == 1
    for place in (folder, *checkpoints):
        saved = AutoTokenizer.from_pretrained(place)
        assert len(saved) == len(tokenizer)
        assert saved("Why is the sky blue?")["input_ids"] == tokenizer("Why is the sky blue?")["input_ids"]
    loaded = weights(folder)
    assert loaded.keys() == model.state_dict().keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())


def test_the_same_seed_gives_bit_equal_weights_and_another_gives_others(
    small: Track, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase
) -> None:
    results = []
    for seed in (1, 1, 2):
        model = AutoModelForCausalLM.from_pretrained(small.model)
        build_trainer(
            small, model, blocks, tokenizer, seed=seed, max_steps=3, eval_strategy="no", save_strategy="no"
        ).train()
        results.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_find_or_train_trains_and_saves_what_is_missing_and_then_finds_it(
    small: Track, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = find_or_train(small)
    assert folder == Path(small.output_dir)
    assert f"No tuned model in {folder.as_posix()} yet: training it now" in capsys.readouterr().out
    assert not torch.equal(
        weights(folder)["transformer.wte.weight"], weights(Path(small.model))["transformer.wte.weight"]
    )
    assert len(AutoTokenizer.from_pretrained(folder)) == 8192

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(trainer_module, "build_trainer", refuse)
    monkeypatch.setattr(trainer_module, "prepare_blocks", refuse)
    assert find_or_train(small) == folder
    assert capsys.readouterr().out == f"Using the tuned model that is in {folder.as_posix()}\n"


EPOCHS = ["Training in progress, epoch 1", "Training in progress, epoch 2"]


def test_a_model_is_uploaded_while_it_trains(
    quick: Track,
    model: GPT2LMHeadModel,
    blocks: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    hub: FakeHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    trainer = build_trainer(dataclasses.replace(quick, epochs=2), model, blocks, tokenizer, push_to_hub=True)
    assert (hub.repositories, hub.uploads) == (["tuned"], [])
    assert not trainer.args.push_to_hub, "the Trainer would upload it too"
    trainer.train()
    assert hub.messages == EPOCHS
    assert hub.tokens == [None]  # the one that is logged in with
    for upload in hub.uploads:
        assert upload.repository == "ada/tuned"
        assert upload.background, "training would wait for the upload"
        assert {"config.json", "model.safetensors", "tokenizer_config.json"} <= set(upload.files)
        assert not [name for name in upload.files if "/" in name or name.endswith((".bin", ".pt"))]
    first, second = (upload.files["model.safetensors"] for upload in hub.uploads)
    assert first != second
    (tmp_path / "uploaded").mkdir()
    for name, content in hub.uploads[-1].files.items():
        (tmp_path / "uploaded" / name).write_bytes(content)
    uploaded = weights(tmp_path / "uploaded")
    assert all(torch.equal(uploaded[name], tensor) for name, tensor in model.state_dict().items())
    assert len(AutoTokenizer.from_pretrained(tmp_path / "uploaded")) == len(tokenizer)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()] == []
    output = capsys.readouterr()
    assert "failed" not in output.out
    assert TOKEN not in output.out + output.err + caplog.text


def test_training_goes_on_where_uploads_fail_and_each_failure_is_told_once(
    quick: Track,
    model: GPT2LMHeadModel,
    blocks: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    hub: FakeHub,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub.faults = {0: ConnectionError("no route to the Hub"), 1: OSError("disk quota\nand a long page")}
    trainer = build_trainer(dataclasses.replace(quick, epochs=2), model, blocks, tokenizer, push_to_hub=True)
    trainer.train()
    assert trainer.state.epoch == 2
    assert hub.messages == [*EPOCHS, "End of training"]
    said = [line for line in capsys.readouterr().out.splitlines() if "failed" in line]
    assert ["ConnectionError: no route to the Hub. The model is safe in" in line for line in said] == [True, False]
    assert "uploading to ada/tuned failed: OSError: disk quota. " in said[1]
    trainer.save_model()
    saved = weights(Path(quick.output_dir))
    assert all(torch.equal(saved[name], tensor) for name, tensor in model.state_dict().items())


def test_without_checkpoints_the_model_is_uploaded_at_the_end(
    quick: Track, model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase, hub: FakeHub
) -> None:
    build_trainer(quick, model, blocks, tokenizer, push_to_hub=True, save_strategy="no", max_steps=1).train()
    assert hub.messages == ["End of training"]


def test_the_folder_and_the_name_on_the_hub_are_those_of_the_callers_output_dir(
    quick: Track,
    model: GPT2LMHeadModel,
    blocks: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    hub: FakeHub,
    tmp_path: Path,
) -> None:
    folder = str(tmp_path / "other")
    build_trainer(quick, model, blocks, tokenizer, push_to_hub=True, output_dir=folder)
    assert hub.repositories == ["other"]
    HubCallback(folder, "named", TOKEN)
    assert hub.repositories == ["other", "named"]
    assert hub.tokens == [None, TOKEN]


def test_a_token_that_is_given_goes_to_the_hub_and_not_into_the_arguments_that_the_trainer_saves(
    quick: Track,
    model: GPT2LMHeadModel,
    blocks: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    hub: FakeHub,
    tmp_path: Path,
) -> None:
    trainer = build_trainer(quick, model, blocks, tokenizer, push_to_hub=True, hub_token=TOKEN)
    assert hub.tokens == [TOKEN]
    trainer.save_model(str(tmp_path / "saved"))
    assert (tmp_path / "saved" / "training_args.bin").exists()
    assert files_that_tell(tmp_path, [TOKEN]) == []


def test_a_model_that_is_to_be_private_is_shared_so(
    quick: Track, model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase, hub: FakeHub
) -> None:
    build_trainer(quick, model, blocks, tokenizer, push_to_hub=True, hub_private_repo=True)
    build_trainer(quick, model, blocks, tokenizer, push_to_hub=True)
    assert hub.private == [True, None]


def test_a_hub_that_refuses_is_an_error_before_training(
    quick: Track,
    model: GPT2LMHeadModel,
    blocks: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise ConnectionError("no route to the Hub")

    monkeypatch.setattr(hub, "create_repo", refuse)
    with pytest.raises(ConnectionError, match=r"making the repository tuned failed: .*everything else works without"):
        build_trainer(quick, model, blocks, tokenizer, push_to_hub=True)


def test_without_the_wish_nothing_goes_to_the_hub(
    quick: Track, model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase, hub: FakeHub
) -> None:
    build_trainer(quick, model, blocks, tokenizer, max_steps=1).train()
    assert (hub.tokens, hub.repositories, hub.uploads) == ([], [], [])


def test_nothing_is_saved_under_an_upload_that_is_still_running(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, hub: FakeHub, tmp_path: Path
) -> None:
    hub.faults = {0: None}
    callback = HubCallback(tmp_path)
    objects: dict[str, Any] = {"model": model, "processing_class": tokenizer}

    def save(epoch: int) -> None:
        state: Any = SimpleNamespace(epoch=float(epoch), global_step=5 * epoch)
        arguments: Any = SimpleNamespace(save_strategy="epoch")
        callback.on_save(arguments, state, arguments, **objects)

    save(1)
    saved = (tmp_path / "model.safetensors").stat().st_mtime_ns
    save(2)
    assert hub.messages == EPOCHS[:1]
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == saved
    hub.uploads[0].job.set_result(None)
    save(3)
    callback.on_save(
        SimpleNamespace(save_strategy="steps"), SimpleNamespace(epoch=0.4, global_step=17), None, **objects
    )
    assert hub.messages == [EPOCHS[0], "Training in progress, epoch 3", "Training in progress, step 17"]


def test_loss_history_keeps_the_losses_and_their_steps() -> None:
    log = [
        {"loss": 5.0, "grad_norm": 1.0, "epoch": 0.5, "step": 1},
        {"eval_loss": 4.5, "eval_runtime": 0.1, "epoch": 1.0, "step": 2},
        {"loss": 4.0, "epoch": 1.0, "step": 2},
        {"train_runtime": 3.0, "train_loss": 4.5, "step": 2},
    ]
    assert loss_history(iter(log)) == LossHistory(train=[(1, 5.0), (2, 4.0)], test=[(2, 4.5)])
    assert loss_history([]) == LossHistory([], [])


def test_a_nan_loss_of_a_run_stays_in_its_history(
    quick: Track, broken_model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase
) -> None:
    # logging_nan_inf_filter, on by default in Transformers, logs 0.0 in its place.
    trainer = build_trainer(
        quick, broken_model, blocks, tokenizer, max_steps=2, logging_steps=1, eval_strategy="no", save_strategy="no"
    )
    trainer.train()
    assert all(math.isnan(loss) for _, loss in loss_history(trainer.state.log_history).train)


def test_hyperparameters_are_plain_values_under_the_arguments_own_names(tmp_path: Path) -> None:
    found = hyperparameters(TrainingArguments(str(tmp_path), learning_rate=1e-3, max_grad_norm=0.5, seed=7))
    assert (found["learning_rate"], found["max_grad_norm"], found["seed"]) == (1e-3, 0.5, 7)
    assert found["lr_scheduler_type"] == "linear"
    assert {type(value) for value in found.values()} <= {str, int, float, bool}
    assert found["num_train_epochs"] == 3
    short = hyperparameters(TrainingArguments(str(tmp_path), max_steps=50, warmup_steps=5))
    assert (short["max_steps"], short["warmup_steps"]) == (50, 5)
    assert "num_train_epochs" not in short


@pytest.mark.parametrize(("asked", "other"), [("fp16", "bf16"), ("bf16", "fp16")])
def test_the_precision_that_is_asked_for_takes_the_place_of_the_other(
    asked: str,
    other: str,
    quick: Track,
    model: GPT2LMHeadModel,
    blocks: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer_module, "hardware_arguments", lambda model: {other: True})
    seen: dict[str, Any] = {}

    def note(**arguments: Any) -> None:
        seen.update(arguments)
        raise InterruptedError

    monkeypatch.setattr(trainer_module, "TrainingArguments", note)
    with pytest.raises(InterruptedError):
        build_trainer(quick, model, blocks, tokenizer, **{asked: True})
    assert (seen[asked], seen[other]) == (True, False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_stored_in_half_precision_are_trained_and_saved_in_float32(
    quick: Track,
    model: GPT2LMHeadModel,
    blocks: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    tmp_path: Path,
    dtype: torch.dtype,
) -> None:
    model.to(dtype).save_pretrained(tmp_path / "half")
    half = AutoModelForCausalLM.from_pretrained(tmp_path / "half")
    assert half.dtype == dtype
    half.transformer.h.requires_grad_(False)  # whose input is what is trained
    how = {"max_steps": 2, "save_strategy": "no", "eval_strategy": "no", "disable_tqdm": True}
    trainer = build_trainer(quick, half, blocks, tokenizer, output_dir=str(tmp_path / "tuned"), **how)
    trainer.train()
    trainer.save_model()
    saved = load_file(tmp_path / "tuned" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
    stored = load_file(tmp_path / "half" / "model.safetensors")
    same = {name for name in saved if torch.equal(saved[name], stored[name].float())}
    assert same == {name for name in saved if name.startswith("transformer.h.")}
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "tuned").dtype == torch.float32


def test_a_tokenizer_with_more_tokens_than_the_embedding_is_refused(
    quick: Track, model: GPT2LMHeadModel, blocks: DatasetDict
) -> None:
    larger = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    larger.add_tokens(["<one>", "<two>"])
    said = r"has ids for 8,194 tokens, the model's embedding 8,192: .*resize_token_embeddings\(8194\)"
    with pytest.raises(ValueError, match=said):
        build_trainer(quick, model, blocks, larger)


def test_one_id_beyond_the_embedding_is_too_many_even_of_few_tokens() -> None:
    few = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0, "b": 9}, unk_token="a")))
    check_vocabulary(few, 10)
    with pytest.raises(ValueError, match="has ids for 10 tokens, the model's embedding 9"):
        check_vocabulary(few, 9)


def test_a_generation_config_that_could_not_be_saved_loses_what_contradicts_it(
    quick: Track, model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    model.generation_config.update(do_sample=False, temperature=0.9, top_p=0.6)
    build_trainer(quick, model, blocks, tokenizer)
    model.save_pretrained(tmp_path)
    saved = GenerationConfig.from_pretrained(tmp_path)
    assert not saved.do_sample
    assert saved.temperature in (None, 1.0)


@pytest.mark.parametrize("asked", ["no_such_tracker", ["no_such_tracker"]])
def test_a_tracker_that_is_not_installed_is_refused_before_training(
    quick: Track,
    model: GPT2LMHeadModel,
    blocks: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    asked: str | list[str],
) -> None:
    with pytest.raises(ValueError, match="report_to asks for no_such_tracker: pip install it"):
        build_trainer(quick, model, blocks, tokenizer, report_to=asked)
    build_trainer(quick, model, blocks, tokenizer, report_to="none")


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (T5Config(), "continues no text of its own"),
        (BartConfig(), "continues no text of its own"),
        (ViTConfig(), "continues no text of its own"),
        (BertConfig(), "is an encoder"),
        (RobertaConfig(), "is an encoder"),
        (BertGenerationConfig(is_decoder=False), "is an encoder"),
        (XLNetConfig(), "is an encoder"),
        (XLMConfig(), "is an encoder"),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_a_model_that_sees_what_follows_is_refused(config: PreTrainedConfig, what: str) -> None:
    with pytest.raises(ValueError, match=f"of the type '{config.model_type}' {what}"):
        check_causal(config)


@pytest.mark.parametrize(
    "config",
    [GPT2Config(), LlamaConfig(), Qwen3Config(), BloomConfig(), MambaConfig(), BertConfig(is_decoder=True)],
    ids=lambda config: config.model_type,
)
def test_a_causal_model_is_taken(config: PreTrainedConfig) -> None:
    check_causal(config)


@pytest.fixture
def parts(small: Track) -> tuple[Path, dict[str, torch.Tensor]]:
    """A model's folder, and its weights."""
    return Path(small.model), load_file(Path(small.model) / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: weights.pop("transformer.ln_f.bias"), "has no weights for transformer.ln_f.bias, which"),
        (
            lambda weights: [weights.update({f"module.{name}": weights.pop(name)}) for name in [*weights]],
            r"has no weights for lm_head\.weight and \d+ more, which would be drawn at random",
        ),
        (
            lambda weights: weights.update({"transformer.ln_f.bias": torch.zeros(3)}),
            r"has weights of another shape than config\.json says for transformer\.ln_f\.bias, which",
        ),
    ],
)
def test_weights_that_would_be_drawn_at_random_are_an_error(
    parts: tuple[Path, dict[str, torch.Tensor]], change: Any, said: str
) -> None:
    folder, weights = parts
    assert load_model(folder).num_parameters() == AutoModelForCausalLM.from_pretrained(folder).num_parameters()
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"'the one' {said}"):
        load_model(folder, "the one")
    with pytest.raises(ValueError, match=said):
        generate(folder, ["a"])


def test_a_model_of_which_nothing_would_be_trained_is_refused(
    quick: Track, model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase
) -> None:
    with pytest.raises(ValueError, match="every weight of the model is frozen"):
        build_trainer(quick, model.requires_grad_(False), blocks, tokenizer)


def test_an_encoder_is_refused_before_it_is_trained(quick: Track, tokenizer: PreTrainedTokenizerBase) -> None:
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16
    )
    blocks = DatasetDict({side: Dataset.from_dict({"input_ids": [[1] * 8]}) for side in ("train", "test")})
    with pytest.raises(ValueError, match="'bert' is an encoder"):
        build_trainer(quick, AutoModelForCausalLM.from_config(config), blocks, tokenizer)
