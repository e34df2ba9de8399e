"""Every field of ``TrainingArguments``: honoured by ``train``, or refused in a sentence before training."""

import dataclasses
import inspect
import json
import math
import os
import re
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset
from packaging.version import Version
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments
from transformers.integrations import integration_utils
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

from clmkit.scale import run as run_module
from clmkit.scale.arguments import OF_SHARING, REFUSED
from clmkit.scale.command import parse_training, run_command
from clmkit.scale.run import train
from clmkit.tracks import Track, choose_track
from clmkit.training import arguments as arguments_module
from clmkit.training import pytorch as pytorch_module
from clmkit.training.arguments import NEEDS, check_fields, check_needs
from clmkit.training.pytorch import build_trainer, find_or_train
from tests.ends import LOCK, read_pins
from tests.training import jobs
from tests.training.launch import record, run

HANDED, LEARNED, REFUSED_BY_US, ELSEWHERE, OF_SEVERAL = "handed", "learned", "refused", "elsewhere", "of several"

# Field, value, and what must happen. HANDED: the Trainer gets it and honours it itself. LEARNED: other weights come
# out. REFUSED_BY_US: one of our sentences. ELSEWHERE: other tests hold it. OF_SEVERAL: it is for several processes, and
# one of them says so. All else is the sentence that has to come.
TABLE: dict[str, tuple[Any, str]] = {
    "output_dir": ("elsewhere", ELSEWHERE),
    "per_device_train_batch_size": (3, LEARNED),
    "num_train_epochs": (7, HANDED),  # max_steps wins
    "max_steps": (2, LEARNED),
    "learning_rate": (3e-3, LEARNED),
    "lr_scheduler_type": ("cosine", LEARNED),
    "lr_scheduler_kwargs": ({"num_cycles": 2}, "do not fit linear"),
    "warmup_steps": (2, LEARNED),
    "optim": ("sgd", LEARNED),
    "optim_args": ("eps=1e-2", "--optim_args eps=1e-2 would change nothing with --optim adamw_torch"),
    "weight_decay": (0.5, LEARNED),
    "adam_beta1": (0.5, LEARNED),
    "adam_beta2": (0.5, LEARNED),
    "adam_epsilon": (1e-3, LEARNED),
    "optim_target_modules": ("all-linear", "--optim_target_modules all-linear would change nothing"),
    "gradient_accumulation_steps": (2, LEARNED),
    "average_tokens_across_devices": (False, HANDED),
    "max_grad_norm": (0.01, LEARNED),
    "label_smoothing_factor": (0.3, LEARNED),
    "bf16": (True, LEARNED),
    "fp16": (True, "fp16 needs a GPU"),
    "bf16_full_eval": (True, REFUSED_BY_US),
    "fp16_full_eval": (True, REFUSED_BY_US),
    "tf32": (True, "requires Ampere or a newer GPU"),
    "activation_checkpointing": (True, HANDED),
    "activation_checkpointing_kwargs": ({"use_reentrant": False}, "change nothing without activation_checkpointing"),
    "gradient_checkpointing": (True, HANDED),
    "gradient_checkpointing_kwargs": ({"use_reentrant": False}, "change nothing without activation_checkpointing"),
    "torch_compile": (True, HANDED),
    "torch_compile_backend": ("eager", HANDED),
    "torch_compile_mode": ("default", HANDED),
    "use_liger_kernel": (True, "liger-kernel .* is not available"),
    "liger_kernel_config": ({"rope": True}, "change nothing without use_liger_kernel"),
    "use_cache": (False, HANDED),
    "neftune_noise_alpha": (5.0, LEARNED),
    "torch_empty_cache_steps": (1, HANDED),
    "auto_find_batch_size": (True, REFUSED_BY_US),
    "logging_strategy": ("epoch", HANDED),
    "logging_steps": (2, ELSEWHERE),
    "logging_first_step": (True, HANDED),
    "log_on_each_node": (False, HANDED),
    "logging_nan_inf_filter": (True, HANDED),
    "include_num_input_tokens_seen": ("all", HANDED),
    "log_level": ("error", HANDED),
    "log_level_replica": ("error", HANDED),
    "disable_tqdm": (True, HANDED),
    "report_to": (["tensorboard"], "report_to asks for tensorboard: pip install it"),
    "run_name": ("mine", "run_name would change nothing without report_to wandb or report_to trackio or"),
    "project": ("mine", "project would change nothing without report_to trackio"),
    "trackio_space_id": ("mine", "trackio_space_id would change nothing without report_to trackio"),
    "trackio_bucket_id": ("mine", "trackio_bucket_id would change nothing without report_to trackio"),
    "trackio_static_space_id": ("mine", "trackio_static_space_id would change nothing without report_to trackio"),
    "eval_strategy": ("no", HANDED),
    "eval_steps": (3, ELSEWHERE),
    "eval_delay": (1, HANDED),
    "per_device_eval_batch_size": (3, HANDED),
    "prediction_loss_only": (True, HANDED),
    "eval_on_start": (True, ELSEWHERE),
    "eval_do_concat_batches": (False, REFUSED_BY_US),
    "eval_use_gather_object": (True, REFUSED_BY_US),
    "eval_accumulation_steps": (1, REFUSED_BY_US),
    "include_for_metrics": (["loss"], REFUSED_BY_US),
    "batch_eval_metrics": (True, REFUSED_BY_US),
    "save_only_model": (True, REFUSED_BY_US),
    "save_strategy": ("best", "`args.metric_for_best_model` must be provided"),
    "save_steps": (3, ELSEWHERE),
    "save_on_each_node": (True, HANDED),
    "save_total_limit": (2, ELSEWHERE),
    "enable_jit_checkpoint": (True, REFUSED_BY_US),
    "push_to_hub": (True, ELSEWHERE),
    "hub_token": ("hf_x", "hub_token would change nothing without push_to_hub$"),
    "hub_private_repo": (True, "hub_private_repo would change nothing without push_to_hub or report_to trackio"),
    "hub_model_id": ("ada/mine", "hub_model_id would change nothing without push_to_hub"),
    "hub_strategy": ("checkpoint", REFUSED_BY_US),
    "hub_always_push": (True, REFUSED_BY_US),
    "hub_revision": ("branch", REFUSED_BY_US),
    "load_best_model_at_end": (True, ELSEWHERE),
    "metric_for_best_model": ("perplexity", HANDED),
    "greater_is_better": (False, HANDED),
    "ignore_data_skip": (True, HANDED),
    "restore_callback_states_from_checkpoint": (True, HANDED),
    "full_determinism": (True, HANDED),
    "seed": (7, LEARNED),
    "data_seed": (0, LEARNED),
    "use_cpu": (True, HANDED),
    "accelerator_config": ({"split_batches": True}, REFUSED_BY_US),
    "parallelism_config": ({"tp_size": 2}, REFUSED_BY_US),
    "dataloader_drop_last": (True, REFUSED_BY_US),
    "dataloader_num_workers": (1, HANDED),
    "dataloader_pin_memory": (False, HANDED),
    "dataloader_persistent_workers": (True, REFUSED_BY_US),
    "dataloader_prefetch_factor": (2, "can only be set when data is loaded in a different process"),
    "dataloader_multiprocessing_context": ("spawn", "can only be used with multi-process loading"),
    "dataloader_in_order": (False, REFUSED_BY_US),
    "remove_unused_columns": (False, HANDED),
    "label_names": (["labels"], HANDED),
    "train_sampling_strategy": ("group_by_length", REFUSED_BY_US),
    "length_column_name": ("size", "change nothing without train_sampling_strategy"),
    "ddp_find_unused_parameters": (True, OF_SEVERAL),
    "ddp_bucket_cap_mb": (1, OF_SEVERAL),
    "ddp_broadcast_buffers": (True, OF_SEVERAL),
    "ddp_static_graph": (True, OF_SEVERAL),
    "ddp_backend": ("gloo", OF_SEVERAL),
    "ddp_timeout": (60, OF_SEVERAL),
    "fsdp": ("full_shard", "only works in distributed training"),
    "fsdp_config": ({"min_num_params": 1}, "change nothing without fsdp"),
    "deepspeed": ({"zero_optimization": {"stage": 1}}, REFUSED_BY_US),
    "debug": ("underflow_overflow", HANDED),
    "skip_memory_metrics": (False, HANDED),
    "do_train": (False, REFUSED_BY_US),
    "do_eval": (True, HANDED),
    "do_predict": (True, REFUSED_BY_US),
    "resume_from_checkpoint": ("checkpoint-6", REFUSED_BY_US),
    "local_rank": (-1, HANDED),
}


# Values of the right kind that no field may have; those of a wrong kind are made for each field.
SILLY: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), (0, -1, 1.5, "2", True)),
    **dict.fromkeys(("gradient_accumulation_steps", "torch_empty_cache_steps", "ddp_timeout"), (0, -1, 1.5)),
    **dict.fromkeys(("dataloader_prefetch_factor", "ddp_bucket_cap_mb"), (0, -1, 1.5)),
    **dict.fromkeys(("num_train_epochs", "learning_rate", "adam_epsilon"), (0, -1.0, math.nan, math.inf, "5e-5")),
    **dict.fromkeys(("logging_steps", "eval_steps", "save_steps"), (0, -1, math.nan, math.inf, "7")),
    **dict.fromkeys(("warmup_steps", "weight_decay", "max_grad_norm"), (-1, math.nan, math.inf, "0.1")),
    **dict.fromkeys(("eval_delay", "neftune_noise_alpha"), (-1, math.nan, math.inf, "0.1")),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "label_smoothing_factor"), (1.5, 1.0, -1, math.nan)),
    **dict.fromkeys(("seed", "data_seed"), (-1, 2**32, 1.5, "7")),
    **dict.fromkeys(("bf16", "use_cpu", "eval_on_start", "load_best_model_at_end"), ("yes", 1)),
    **dict.fromkeys(("eval_strategy", "save_strategy", "logging_strategy"), (False, "sometimes")),
    **dict.fromkeys(("lr_scheduler_type", "optim", "ddp_backend", "log_level", "log_level_replica"), ("wishful",)),
    **dict.fromkeys(("debug", "include_num_input_tokens_seen", "torch_compile_backend"), ("wishful",)),
    "torch_compile_mode": ("wishful",),
    "max_steps": (0, -2, 1.5, math.nan),
    "dataloader_num_workers": (-1, 1.5),
    "save_total_limit": (1.5, "2"),
    "label_names": (["answers"], [], "labels"),
    "metric_for_best_model": ("accuracy", "", 3),
    "lr_scheduler_kwargs": ("min_lr=1", "{min_lr", {"wishful": 1}),
    "optim_args": ("wishful", 3),
    "output_dir": ("", None),
}


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """TrainingArguments write some of what they are asked for into the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def fields(expected: str) -> list[str]:
    return [name for name, (_, kind) in TABLE.items() if kind == expected]


KINDS = (HANDED, LEARNED, REFUSED_BY_US, ELSEWHERE, OF_SEVERAL)
SENTENCES = {name: kind for name, (_, kind) in TABLE.items() if kind not in KINDS}


@pytest.fixture
def track(documents: Path, steady_model: Path, tmp_path: Path) -> Track:
    chosen = choose_track(data=documents, model=steady_model, block_size=16)
    return dataclasses.replace(chosen, output_dir=str(tmp_path / "out"))


@pytest.fixture(scope="module")
def learned(
    documents: Path, steady_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., torch.Tensor]:
    """Trains for four steps, and gives all weights in one tensor."""

    def weights(**arguments: Any) -> torch.Tensor:
        folder = tmp_path_factory.mktemp("learned") / "out"
        chosen = dataclasses.replace(
            choose_track(data=documents, model=steady_model, block_size=16), output_dir=str(folder)
        )
        fast = {"max_steps": 4, "learning_rate": 1e-2, "eval_strategy": "no", "save_strategy": "no"}
        train(chosen, **{**fast, **arguments})
        parameters = AutoModelForCausalLM.from_pretrained(folder).parameters()
        return torch.cat([parameter.detach().flatten() for parameter in parameters])

    return weights


@pytest.fixture(scope="module")
def usual(learned: Callable[..., torch.Tensor]) -> torch.Tensor:
    return learned()


def test_the_table_knows_every_field() -> None:
    known = {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    assert known - TABLE.keys() == set()
    assert set(fields(REFUSED_BY_US)) == REFUSED.keys()


@pytest.mark.parametrize("name", fields(LEARNED))
def test_what_decides_what_is_learned_does(
    name: str, learned: Callable[..., torch.Tensor], usual: torch.Tensor
) -> None:
    assert not torch.allclose(learned(**{name: TABLE[name][0]}), usual, rtol=0, atol=1e-7)


def test_a_model_is_compiled_where_that_is_asked_for_and_learns_the_same(
    learned: Callable[..., torch.Tensor], usual: torch.Tensor
) -> None:
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters["stats"]  # of graphs; torch has no public ones
    counters.clear()
    assert torch.allclose(learned(torch_compile=True, torch_compile_backend="eager"), usual, atol=1e-5)
    assert counters["unique_graphs"]


def test_activations_are_computed_anew_where_that_is_asked_for_and_the_same_is_learned(
    learned: Callable[..., torch.Tensor], usual: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[bool] = []
    forward = GPT2MLP.forward

    def noting(*arguments: Any, **options: Any) -> Any:
        computed.append(torch.is_grad_enabled())
        return forward(*arguments, **options)

    monkeypatch.setattr(GPT2MLP, "forward", noting)
    learned()
    once = sum(computed)
    computed.clear()
    assert torch.allclose(learned(gradient_checkpointing=True), usual, atol=1e-6)
    assert sum(computed) == once + 4  # steps


def test_without_a_change_the_same_is_learned(learned: Callable[..., torch.Tensor], usual: torch.Tensor) -> None:
    assert torch.equal(learned(), usual)


class Built(Exception):
    """Comes with the Trainer, in place of training."""


Build = Callable[..., TrainingArguments]


@pytest.fixture
def build(track: Track, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Gives the arguments that a run's Trainer gets."""

    def stop(*arguments: Any, **options: Any) -> Trainer:
        raise Built(original(*arguments, **options))

    def build(**arguments: Any) -> TrainingArguments:
        with pytest.raises(Built) as built:
            train(track, max_steps=4, **arguments)
        args: TrainingArguments = built.value.args[0].args
        return args

    original = run_module.build_trainer
    monkeypatch.setattr(run_module, "build_trainer", stop)
    return build


@pytest.mark.parametrize("name", fields(HANDED))
def test_what_the_trainer_honours_reaches_it(name: str, track: Track, build: Build) -> None:
    value = TABLE[name][0]
    older = Version(transformers.__version__) < Version(read_pins(LOCK)["transformers"])
    if older and name not in TrainingArguments.__dataclass_fields__:
        pytest.skip(f"transformers {transformers.__version__} has no {name}")
    found = build(**{name: value})
    made = TrainingArguments(track.output_dir, **{"use_cpu": True, name: value})
    assert json.dumps(getattr(found, name), default=str) == json.dumps(getattr(made, name), default=str)


def test_the_values_handed_on_are_not_those_that_come_without_them(build: Build) -> None:
    usual = build()
    same = {name for name in fields(HANDED) if getattr(usual, name, None) == TABLE[name][0]}
    assert same <= {
        "use_cpu",
        "do_eval",
        "local_rank",
        "disable_tqdm",
        "dataloader_pin_memory",
    }  # which depend on the machine


@pytest.mark.parametrize("name", fields(REFUSED_BY_US))
def test_what_a_run_cannot_honour_is_refused_before_anything_is_written(name: str, track: Track) -> None:
    value, why = TABLE[name][0], REFUSED[name][1]
    with pytest.raises(ValueError, match=re.escape(f"{why}: leave out --{name} {value}")):
        train(track, max_steps=4, **{name: value})
    assert not Path(track.output_dir).exists()
    for honoured in REFUSED[name][0]:
        beside = {"push_to_hub": True} if name.startswith("hub_") else {}
        assert run_module.complete(track, None, {name: honoured, **beside})[name] == honoured


@pytest.mark.parametrize("name", SENTENCES)
def test_what_is_missing_here_or_does_not_fit_is_said_before_training(
    name: str, track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name not in TrainingArguments.__dataclass_fields__:
        pytest.skip(f"transformers {transformers.__version__} has no {name}")
    monkeypatch.setattr(run_module.SharedTrainer, "training_step", lambda *_, **__: pytest.fail("it trains"))
    with pytest.raises((ValueError, ImportError), match=f"(?i){SENTENCES[name]}"):
        train(track, max_steps=4, **{name: TABLE[name][0]})


@pytest.mark.parametrize("way", [train, find_or_train])
def test_a_tokenizer_with_more_tokens_than_the_embedding_is_refused_before_rows_are_read(
    way: Callable[[Track], Any], track: Track, steady_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("clmkit.scale.data.prepare_blocks", "clmkit.training.pytorch.prepare_blocks"):
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("rows were read"))
    shutil.copytree(steady_model, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(steady_model)
    before = len(tokenizer)
    tokenizer.add_tokens(["<one more>"])
    tokenizer.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=f"has ids for {before + 1:,} tokens, the model's embedding {before:,}"):
        way(dataclasses.replace(track, model=str(tmp_path / "model")))


@pytest.fixture(scope="module")
def build_only(documents: Path, steady_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trainer]:
    """Builds a Trainer as a notebook does."""
    tokenizer, model = AutoTokenizer.from_pretrained(steady_model), AutoModelForCausalLM.from_pretrained(steady_model)
    chosen = choose_track(data=documents, model=steady_model, block_size=16)
    chosen = dataclasses.replace(chosen, output_dir=str(tmp_path_factory.mktemp("built") / "out"))
    rows = Dataset.from_dict({"input_ids": [list(range(16))] * 4})
    return partial(build_trainer, chosen, model, {"train": rows, "test": rows}, tokenizer, use_cpu=True)


@pytest.mark.parametrize("name", TABLE)
def test_a_value_of_another_kind_is_refused_by_both_ways(
    name: str, track: Track, build_only: Callable[..., Trainer]
) -> None:
    for way in (partial(train, track), build_only):
        with pytest.raises(ValueError, match=f"{name} must be |leave out --{name}|no field '{name}'"):
            way(**{name: object()})
    assert not Path(track.output_dir).exists()


@pytest.mark.parametrize("name", SILLY)
def test_a_silly_value_is_refused_by_both_ways_before_training(
    name: str, track: Track, build_only: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "training_step", lambda *_, **__: pytest.fail("it trains"))
    for value in SILLY[name]:
        for way in (partial(train, track), build_only):
            with pytest.raises(ValueError, match=r"^(?!.*(supported between|unsupported)).*\w+ .*\w+"):
                way(**{name: value})


def test_every_default_is_a_value_that_it_may_have() -> None:
    defaults = {f.name: f.default for f in dataclasses.fields(TrainingArguments) if f.init}
    given = {name: value for name, value in defaults.items() if value is not dataclasses.MISSING}
    check_fields({**given, "output_dir": "here"}, ["loss"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"metric_for_best_model": "accuracy"}, "can't be 'accuracy': what is measured here is loss"),
        ({"load_best_model_at_end": True, "eval_strategy": "no", "save_strategy": "no"}, "leaves none"),
        ({"save_strategy": "best", "metric_for_best_model": "loss", "eval_strategy": "no"}, "leaves none"),
        ({"optim": "sgd", "optim_args": "momentum"}, "must be text such as 'momentum=0.9"),
        ({"activation_checkpointing": True, "activation_checkpointing_kwargs": {"wishful": 1}}, "wishful"),
        ({"fsdp": "full_shard", "fsdp_config": "nowhere.json"}, "or a JSON file, not 'nowhere.json'"),
        ({"optim_args": "eps=1e-2"}, "would change nothing"),
        ({"debug": "tpu_metrics_debug"}, "needs a TPU"),
    ],
)
def test_what_fits_alone_and_not_beside_the_others_is_refused_by_both_ways(
    arguments: dict[str, Any], said: str, track: Track, build_only: Callable[..., Trainer]
) -> None:
    if not arguments.keys() <= TrainingArguments.__dataclass_fields__.keys():
        pytest.skip(f"transformers {transformers.__version__} lacks one of {[*arguments]}")
    for way in (partial(train, track), build_only):
        with pytest.raises(ValueError, match=said):
            way(**arguments)


def test_what_the_trainer_would_pass_over_is_refused_where_it_is_built(build_only: Callable[..., Trainer]) -> None:
    with pytest.raises(ValueError, match=r"train\(resume_from_checkpoint=\.\.\.\)"):
        build_only(resume_from_checkpoint="checkpoint-3")
    with pytest.raises(ValueError, match="checkpoints are not uploaded: leave out hub_strategy='checkpoint'"):
        build_only(push_to_hub=True, hub_strategy="checkpoint")


def test_steps_alone_say_that_steps_count(build: Build, build_only: Callable[..., Trainer]) -> None:
    for args in (build(eval_steps=3, save_steps=2), build_only(eval_steps=3, save_steps=2).args):
        assert (args.eval_strategy, args.eval_steps, args.save_strategy, args.save_steps) == ("steps", 3, "steps", 2)
    assert build(save_steps=2, save_strategy="epoch").save_strategy == "epoch"


@pytest.mark.parametrize(
    ("asked", "both"),
    [
        ({}, ("epoch", "epoch")),
        ({"eval_steps": 2}, ("steps", 2)),
        ({"save_steps": 2}, ("steps", 2)),
        ({"eval_strategy": "steps", "eval_steps": 2}, ("steps", 2)),
        ({"save_strategy": "steps", "save_steps": 2}, ("steps", 2)),
        ({"eval_steps": 2, "save_steps": 4}, ("steps", 2)),
    ],
)
def test_for_the_best_model_is_saved_when_it_is_evaluated(asked: dict[str, Any], both: Any, build: Build) -> None:
    args = build(load_best_model_at_end=True, **asked)
    assert args.eval_strategy == args.save_strategy == both[0]
    if both[0] == "steps":
        assert (args.eval_steps, args.save_steps) == (both[1], asked.get("save_steps", both[1]))


@pytest.mark.parametrize("metric", ["perplexity", "eval_perplexity", "loss"])
def test_the_best_model_is_that_of_the_lowest(metric: str, build: Build) -> None:
    assert build(load_best_model_at_end=True, metric_for_best_model=metric).greater_is_better is False


def test_another_measure_of_the_best_is_another_run(track: Track) -> None:
    how = {"max_steps": 2, "load_best_model_at_end": True, "metric_for_best_model": "loss"}
    train(track, **how)
    with pytest.raises(ValueError, match="holds another run: greater_is_better was False and is True"):
        train(track, **how, greater_is_better=True)


def test_a_tilde_is_the_home(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert Path(build(output_dir="~/run").output_dir) == tmp_path / "run"
    assert (tmp_path / "run").is_dir()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_cuda", "'no_cuda': here it is use_cpu"),
        ("learning_rte", "did you mean 'learning_rate'?"),
        ("block_size", "it is the track's, choose_track(block_size=...)"),
        ("zzz", "TrainingArguments have no field 'zzz'"),
    ],
)
def test_an_unknown_field_is_named_with_the_one_that_was_meant(
    name: str, said: str, track: Track, build_only: Callable[..., Trainer]
) -> None:
    for way in (partial(train, track), build_only):
        with pytest.raises(ValueError, match=re.escape(said)):
            way(**{name: 1})


def test_a_field_that_is_none_is_refused(track: Track) -> None:
    with pytest.raises(ValueError, match="TrainingArguments have no field 'overwrite_output_dir'"):
        train(track, overwrite_output_dir=True)


def test_an_evaluation_before_the_first_step_is_logged(track: Track) -> None:
    train(track, max_steps=4, eval_on_start=True, eval_strategy="no", save_strategy="no")
    assert [step for step, _ in record(Path(track.output_dir))["losses"]["test"]] == [0]


def test_what_several_processes_need_is_said_to_change_nothing_with_one(
    build: Build, build_only: Callable[..., Trainer], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {name: TABLE[name][0] for name in fields(OF_SEVERAL)}
    for made in (lambda: build(**asked), lambda: build_only(**asked).args):
        args, plain = made(), TrainingArguments("here")
        assert [getattr(args, name) for name in asked] == [getattr(plain, name) for name in asked]
        said = "One process trains here, so these options change nothing: "
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(said)]
        assert sorted(line.removeprefix(said).split(", ")) == sorted(asked)


def test_what_several_processes_need_is_given_to_them(
    track: Track, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    asked = {name: TABLE[name][0] for name in fields(OF_SEVERAL)}
    assert run_module.complete(track, None, asked).items() >= asked.items()
    assert not capsys.readouterr().out


def test_the_name_of_a_run_is_for_the_trackers_that_read_it() -> None:
    read = {
        name
        for name, callback in integration_utils.INTEGRATION_TO_CALLBACK.items()
        if any("args.run_name" in inspect.getsource(kind) for kind in callback.__mro__[:-2])
    }
    assert {f"report_to {name}" for name in read} == set(NEEDS["run_name"])


def test_what_a_tracker_reads_goes_to_it(
    build_only: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ("run_name", "project", "trackio_space_id", "hub_private_repo")
    asked = {name: TABLE[name][0] for name in names if name in TrainingArguments.__dataclass_fields__}
    for module in (arguments_module, pytorch_module):
        monkeypatch.setattr(module, "get_available_reporting_integrations", lambda: ["trackio"])
    monkeypatch.setattr(integration_utils, "is_trackio_available", lambda: True)
    monkeypatch.setitem(sys.modules, "trackio", types.ModuleType("trackio"))
    for report_to in ("trackio", ["trackio"], "all"):
        check_needs({**asked, "report_to": report_to}, {**NEEDS, **OF_SHARING})
        with pytest.raises(ValueError, match="run_name would change nothing"):
            check_needs({**asked, "report_to": "none"}, NEEDS)
    args = build_only(**asked, report_to="trackio").args
    assert {name: getattr(args, name) for name in asked} == asked


def test_where_a_notebook_shares_later_the_names_for_that_stay(build_only: Callable[..., Trainer]) -> None:
    args = build_only(hub_model_id="ada/mine", hub_private_repo=True).args
    assert (args.hub_model_id, args.hub_private_repo) == ("ada/mine", True)


def test_smoothed_labels_weigh_the_same_on_two_processes(words_of: Callable[..., list[str]], tmp_path: Path) -> None:
    how = {"label_smoothing_factor": 0.3, "max_steps": 12}
    run(jobs.command, "train", words_of(**how, output_dir=tmp_path / "one"), log=tmp_path / "log")
    shared = words_of(**how, output_dir=tmp_path / "two", per_device_train_batch_size=2)
    run(jobs.command, "train", shared, log=tmp_path / "logs", processes=2)
    one, two = (AutoModelForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=2e-5) for name in one)


@pytest.mark.parametrize("word", ["no", "off", "false", "No"])
def test_yamls_words_for_no_are_no(tmp_path: Path, word: str) -> None:
    (tmp_path / "run.yaml").write_text(f"eval_strategy: {word}\nsave_strategy: {word}\nbf16: {word}\n")
    found = parse_training([str(tmp_path / "run.yaml")]).arguments
    assert found == {"eval_strategy": "no", "save_strategy": "no", "bf16": False}


@pytest.mark.parametrize("name", TABLE)
def test_a_value_in_words_is_the_value(name: str) -> None:
    value = TABLE[name][0]
    words = [json.dumps(value)] if isinstance(value, dict) else map(str, value if isinstance(value, list) else [value])
    if name not in TrainingArguments.__dataclass_fields__:
        pytest.skip(f"transformers {transformers.__version__} has no {name}")
    read = parse_training([f"--{name}", *words])
    found = {**read.arguments, **read.track}[name]
    if isinstance(value, dict):
        assert (json.loads(found) if isinstance(found, str) else found) == value
    else:
        assert found in (value, *(value if isinstance(value, list) else [[value]]))


@pytest.mark.parametrize(("word", "value"), [("true", True), ("False", False), ("no", "no"), ("non_padding", None)])
def test_what_may_be_a_switch_or_text_is_either(word: str, value: Any) -> None:
    read = parse_training(["--include_num_input_tokens_seen", word]).arguments
    assert read["include_num_input_tokens_seen"] == (word if value is None else value)


def test_who_wants_no_evaluation_gets_none(build: Build, track: Track) -> None:
    assert build(do_eval=False).eval_strategy == "no"
    with pytest.raises(ValueError, match="do_eval=False and eval_strategy='epoch' contradict"):
        train(track, do_eval=False, eval_strategy="epoch")


@pytest.mark.parametrize("lora", [{"r": "16"}, {"wishful": 1}])
def test_options_that_do_not_fit_peft_are_refused_in_a_sentence(lora: dict[str, Any], track: Track) -> None:
    with pytest.raises(ValueError, match=r"^--lora {.*} is not for PEFT's LoraConfig: "):
        train(track, max_steps=2, lora=lora)


def test_a_run_refuses_words_as_the_function_does(
    words_of: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("train", words_of(hub_revision="branch")) == 1
    assert "train: a model is pushed to the branch main: leave out --hub_revision branch" in capsys.readouterr().err
