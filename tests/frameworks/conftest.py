"""One set of models and blocks, and what each framework made of it in a process of its own."""

import json
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict, Features
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase, set_seed

from clmkit.tracks import BUNDLED
from tests.frameworks.job import MODELS
from tests.kernels import keras_python, run

JOBS = ("tf_keras", "keras_hub_torch", "keras_hub_tensorflow")


class Outcome(NamedTuple):
    """What a framework's process left."""

    folder: Path
    report: dict[str, Any]
    stderr: str

    def tensors(self, name: str) -> dict[str, np.ndarray]:
        return load_file(self.folder / name / "model.safetensors")


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase, blocks: DatasetDict) -> Path:
    """The folders of two models, saved by PyTorch, and blocks: eleven, so that the last batch is short."""
    folder = tmp_path_factory.mktemp("frameworks")
    set_seed(1)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=48, n_layer=2, n_head=3, initializer_range=0.1,
        attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0, bos_token_id=8191, eos_token_id=8191,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)  # biases are zero and norms one in a new model
    model.save_pretrained(folder / "random")
    shutil.copytree(BUNDLED / "tiny_gpt2", folder / "bundled")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(BUNDLED / "tiny_gpt2" / name, folder / "random")
    rows = blocks["train"].select(range(11)).to_dict()
    rows["labels"] = [list(ids) for ids in rows["input_ids"]]
    rows["labels"][10][20:] = [-100] * 12
    int32 = blocks["train"].features["input_ids"]
    Dataset.from_dict(rows, Features({"input_ids": int32, "labels": int32})).save_to_disk(folder / "blocks")
    return folder


@pytest.fixture(scope="session")
def outcome(material: Path) -> Callable[[str], Outcome]:
    """By the job's name, what came of it; each job runs when it is first asked for."""

    @cache
    def start(job: str) -> Outcome:
        framework, _, backend = job.partition("_hub_")
        if backend:
            python, framework, environment = sys.executable, "keras_hub", {"KERAS_BACKEND": backend}
        else:
            python, environment = keras_python(), {}
        ended = run(python, "-m", "tests.frameworks.job", framework, str(material), **environment)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        report = json.loads((material / job / "report.json").read_text(encoding="utf-8"))
        return Outcome(material / job, report, ended.stderr)

    return start


@pytest.fixture(scope="session", params=JOBS)
def keras_outcome(request: pytest.FixtureRequest, outcome: Callable[[str], Outcome]) -> Outcome:
    return outcome(request.param)


@pytest.fixture(scope="session", params=MODELS)
def pytorch_model(request: pytest.FixtureRequest, material: Path) -> tuple[str, GPT2LMHeadModel]:
    return request.param, AutoModelForCausalLM.from_pretrained(material / request.param)
