"""The configuration files for accelerate, as far as a machine without GPUs can use them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

from clmkit.scale.command import parse_training
from tests.training import jobs
from tests.training.launch import free_port, record, run, same_weights

CONFIGS = Path(__file__).parents[2] / "configs"
Words = Callable[..., list[str]]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]


def launch(config: str, *how: str, words: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*ACCELERATE, str(CONFIGS / config), *how, "-m", "clmkit", "train", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def printed_by(process: "subprocess.Popen[str]") -> str:
    try:
        printed, _ = process.communicate(timeout=180)
    finally:
        process.kill()
    assert process.returncode == 0, printed
    return printed


@pytest.mark.parametrize(
    ("name", "kind", "machines"),
    [("several_gpus.yaml", "MULTI_GPU", 1), ("several_machines.yaml", "MULTI_GPU", 2), ("fsdp.yaml", "FSDP", 1)],
)
def test_accelerate_reads_them(name: str, kind: str, machines: int) -> None:
    config: Any = load_config_from_file(str(CONFIGS / name))
    assert config.distributed_type == kind
    assert config.num_machines == machines
    assert config.num_processes == 8 * machines
    assert set(yaml.safe_load((CONFIGS / name).read_text())) <= {*config.to_dict(), "fsdp_config"}


def test_every_file_is_tested_and_the_example_of_options_is_read() -> None:
    names = {path.name for path in CONFIGS.iterdir()}
    assert names == {"several_gpus.yaml", "several_machines.yaml", "fsdp.yaml", "train.yaml"}
    words = parse_training([str(CONFIGS / "train.yaml")])
    assert words.track == {"name": "full", "rows": 5000, "append_eos": True}
    assert words.arguments["save_strategy"] == "steps"


def test_one_machine_with_several_processes(words_of: Words, tmp_path: Path) -> None:
    where = ("--num_processes", "2", "--main_process_port", str(free_port()))
    printed = printed_by(launch("several_gpus.yaml", *where, words=words_of(max_steps=4)))
    assert "= 2 x 4 x 1" in printed
    assert printed.count("Perplexity") == 1
    assert record(tmp_path / "out")["processes"] == 2


def test_two_machines(words_of: Words, tmp_path: Path) -> None:
    where = ("--num_processes", "2", "--main_process_ip", "127.0.0.1", "--main_process_port", str(free_port()))
    words = words_of(max_steps=4)
    machines = [launch("several_machines.yaml", *where, "--machine_rank", str(rank), words=words) for rank in (0, 1)]
    first, second = [printed_by(machine) for machine in machines]
    assert "Perplexity" in first
    assert "Perplexity" not in second
    assert record(tmp_path / "out")["processes"] == 2


def environment_of(config: str) -> dict[str, str]:
    """What `accelerate launch` puts into the environment of its processes, by its own functions (one is private)."""
    parser = launch_command_parser()
    arguments = parser.parse_args(["--config_file", str(CONFIGS / config), "--num_processes", "2", "-m", "clmkit"])
    arguments, *_ = _validate_launch_command(arguments)
    before = dict(os.environ)
    return {name: value for name, value in prepare_multi_gpu_env(arguments).items() if before.get(name) != value}


def test_fsdp_shards_saves_goes_on_and_ends_with_a_whole_model(words_of: Words, tmp_path: Path) -> None:
    out, environment = tmp_path / "out", environment_of("fsdp.yaml")
    assert environment["ACCELERATE_USE_FSDP"] == "true"

    def train() -> str:
        words = words_of(max_steps=4, save_steps=2, save_total_limit=2, eval_steps=2)
        return run(jobs.shard_on_a_cpu, words, environment, log=tmp_path / "log", processes=2)

    assert "not known before it begins" in train(), "the model was not to be sharded"
    after = record(out)["after"]
    whole = out.rename(tmp_path / "whole")
    out.mkdir()
    (whole / "checkpoint-2").rename(out / "checkpoint-2")
    begun = (whole / "run.json").read_text().replace('"status": "finished"', '"status": "training"')
    (out / "run.json").write_text(begun)
    assert "Going on from checkpoint-2" in train()
    assert same_weights(whole, out)
    assert record(out)["after"] == after


def test_without_gpus_the_word_is_that_nothing_is_sharded(words_of: Words, tmp_path: Path) -> None:
    environment = environment_of("fsdp.yaml")
    printed = run(jobs.command_in, words_of(max_steps=2), environment, log=tmp_path / "log", processes=2)
    assert "accelerate shards a model (FSDP) on GPUs only: here every process holds it whole" in printed
