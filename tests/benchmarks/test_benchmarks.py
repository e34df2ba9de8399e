"""The contenders of every benchmark still run, and the page shows what was measured. No test asserts a time."""

import json
import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks import (
    busy,
    generation,
    gpu_report,
    keras_fit,
    memory,
    one_prompt,
    report,
    starting,
    streaming,
    text_to_blocks,
    training,
)
from benchmarks.common import QUIET, RESULTS, fill_section, format_table, medians, take_turns
from benchmarks.keras_fit_contender import Job
from benchmarks.text_to_blocks_contender import CHUNK
from benchmarks.training_contender import CONTENDERS
from clmkit.tracks import BUNDLED
from tests.kernels import keras_python


def test_distinct_rows_are_distinct(tmp_path: Path) -> None:
    answers = Dataset.from_parquet(str(text_to_blocks.prepare_distinct(tmp_path, rows=3000)))["answers"]
    texts = [" ".join(answer["text"]) for answer in answers]
    assert len(set(texts)) == len(texts) == 3000


def test_every_way_from_text_to_blocks_runs_and_keeps_what_it_should(tmp_path: Path) -> None:
    command = partial(
        text_to_blocks.contender_command,
        data=text_to_blocks.prepare(tmp_path, rows=300, times=1),
        vocabulary=str(BUNDLED / "tiny_gpt2"),
    )
    names = [name for name in CHUNK if "num_proc" not in name]
    found = medians(take_turns(names, command, 1, QUIET))
    tokens = {name: one["tokens"] + one["lost"] for name, one in found.items()}
    assert len(set(tokens.values())) == 1, tokens
    assert found["clmkit"]["lost"] < 128
    assert text_to_blocks.table(found).count("\n") == len(names) + 1


def test_a_stream_gives_as_many_blocks_as_what_is_stored(tmp_path: Path) -> None:
    data = str(text_to_blocks.prepare(tmp_path, rows=300, times=1))
    found = [streaming.measure(contender, data, str(BUNDLED / "tiny_gpt2")) for contender in streaming.CONTENDERS]
    assert found[0]["blocks"] == found[1]["blocks"] > 100


@pytest.mark.long
def test_every_way_of_training_runs_and_ends_at_the_same_loss(tmp_path: Path) -> None:
    model = training.MODELS["tiny"]._replace(steps=4, warmup=1)
    command = partial(training.contender_command, job=training.make_job("tiny", model, tmp_path))
    names = [name for name in CONTENDERS if "compiled" not in name]
    found = medians(take_turns(names, command, 1, QUIET))
    losses = [one["eval_loss"] for one in found.values()]
    assert max(losses) < 1.02 * min(losses)
    assert "| clmkit, bfloat16 " in training.table(found)


def test_every_way_of_continuing_one_prompt_writes_the_same() -> None:
    contenders = one_prompt.ways(str(BUNDLED / "tiny_gpt2"), compiled=False)
    rows = one_prompt.measure({name: way for name, way in contenders.items() if "int8" not in name}, new=8, repeats=1)
    assert len(rows) >= 3
    assert {row[-1] for row in rows} == {"8 of 8"}


def test_memory_is_counted_to_the_byte() -> None:
    config = GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=300, bos_token_id=0, eos_token_id=0)
    found = {f"{size} blocks, float32": memory.measure(size, "float32", config) for size in (1, 2, 3)}
    one, two, three = found.values()
    weights = 4 * GPT2LMHeadModel(config).num_parameters() / 1e6
    assert one["kept_mb"] == pytest.approx(3 * weights, rel=1e-3)  # the weights, and two numbers for each in AdamW
    assert one["accumulated_mb"] - one["peak_mb"] == pytest.approx(weights, rel=1e-3)  # the first batch's gradients
    assert three["peak_mb"] - two["peak_mb"] == pytest.approx(two["peak_mb"] - one["peak_mb"], rel=1e-3)
    logits = 4 * 128 * config.vocab_size / 1e6
    assert two["peak_mb"] - one["peak_mb"] > 2 * logits
    fits = memory.blocks_that_fit(found, "float32")
    a_block = three["accumulated_mb"] - two["accumulated_mb"]
    assert two["accumulated_mb"] + (fits - 2) * a_block <= memory.CARD_MB < two["accumulated_mb"] + (fits - 1) * a_block


@pytest.mark.parametrize(("before", "after"), [("float32", memory.LINEAR), memory.SCORED])
def test_memory_without_all_logits_is_less_by_these(before: str, after: str) -> None:
    config = GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=3000, bos_token_id=0, eos_token_id=0)
    more, less = (memory.measure(16, way, config) for way in (before, after))
    logits = 4 * 16 * 128 * config.vocab_size / 1e6
    assert more["kept_mb"] == pytest.approx(less["kept_mb"], rel=1e-2)
    assert more["peak_mb"] - less["peak_mb"] > logits


def test_the_advice_on_memory_quotes_what_was_measured() -> None:
    found = json.loads((RESULTS / "memory.json").read_text(encoding="utf-8"))["medians"]
    small, middle, large = (found[f"{size} blocks, float32"] for size in memory.BATCH_SIZES)
    a_block = (large["peak_mb"] - small["peak_mb"]) / 12e3
    assert (middle["peak_mb"] - small["peak_mb"]) / 4e3 == pytest.approx(a_block, rel=1e-3)
    assert small["peak_mb"] / 1e3 - 4 * a_block == pytest.approx(small["kept_mb"] / 1e3, rel=1e-3)
    sum_of_gradients = (small["accumulated_mb"] - small["peak_mb"]) / 1e3
    text = (report.FOLDER.parent / "MACHINES.md").read_text(encoding="utf-8")
    for figure in (f"{small['kept_mb'] / 1e3:.2f} GB", f"{a_block:.3f} GB", f"{sum_of_gradients:.2f} GB"):
        assert figure in text
    assert "batch of 64 blocks" in text
    assert memory.blocks_that_fit(found, "float32") >= 64


@pytest.mark.long
def test_every_job_is_measured_alone_and_beside_another_process() -> None:
    found = medians(take_turns(["as PyTorch comes", "GOMP_SPINCOUNT=0"], busy.command(0.1), 1, QUIET))
    assert all(set(one) == {f"{job}, {place}" for job in busy.JOBS for place in busy.PLACES} for one in found.values())
    assert min(min(one.values()) for one in found.values()) > 0
    assert busy.tables({"medians": found}).count("\n") == 3


def test_every_way_of_generating_gives_the_same_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "can_compile", lambda: False)  # half a minute, to no other result
    found = generation.measure(new_tokens=5, repeats=1)
    assert found["same_texts"] == generation.PROMPTS
    assert generation.table(found).count("\n") == len(found["medians"]) + 1


@pytest.mark.long
@pytest.mark.parametrize("train", ["guide", "tf_keras", "keras_hub", "trainer"])
def test_every_way_of_fitting_runs(tmp_path: Path, train: str) -> None:
    contender = next(one for one in keras_fit.CONTENDERS if one.train == train)
    python = keras_python() if contender.kernel == "keras" else keras_fit.sys.executable
    rate = keras_fit.MODELS["tiny"].learning_rate
    model, blocks = keras_fit.prepare("tiny", tmp_path, 3 * keras_fit.BATCH_SIZE)
    measured = keras_fit.measure(python, contender, Job(model, blocks, keras_fit.BATCH_SIZE, rate, 1))
    assert 4 < measured["loss"] < 7
    assert len(measured["steps_s"]) == 2


@pytest.mark.long
def test_a_notebooks_start_is_measured_up_to_its_first_output() -> None:
    path = starting.NOTEBOOKS / "05_chunk.ipynb"
    measured = starting.time_notebook(path)
    assert 0 < measured["kernel_s"] < measured["first_output_s"]
    assert "torch" in starting.import_seconds(path)


def test_a_table_lines_up_and_is_markdown() -> None:
    lines = format_table(["", "s"], [["guide", "12.5"], ["a", "3"]]).splitlines()
    assert lines == ["|       |    s |", "| ----- | ---: |", "| guide | 12.5 |", "| a     |    3 |"]


@pytest.mark.parametrize("name", list(report.SECTIONS))
def test_the_page_shows_the_results_that_are_committed(name: str) -> None:
    page = (report.FOLDER / "README.md").read_text(encoding="utf-8")
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert report.section_text(name, result) in page, "python -m benchmarks.report"
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", result["commit"])


def test_every_picture_is_drawn_from_the_results(tmp_path: Path) -> None:
    for name, section in report.SECTIONS.items():
        result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        report.draw(section.bars(result), section, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_without_the_section_is_refused() -> None:
    with pytest.raises(ValueError, match="0 sections between <!-- generation -->"):
        fill_section("no marks", "generation", "new")


def test_the_gpu_report_runs_whole_on_a_cpu_and_says_what_it_could_not_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_report, "find_spec", lambda name: None)
    found = gpu_report.measure(gpu_report.ON_CPU)
    assert gpu_report.disagreeing(found) == []
    text = gpu_report.tables({"found": found})
    assert re.search(r"\| the course's, bfloat16 +\| +[\d,.]+ \| +5\.", text)
    assert "| ValueError: without a GPU the Trainer computes in float32 whatever fp16 says |" in text
    assert text.count("ModuleNotFoundError: keras_hub is not installed") == 3
    found["training"]["the course's, bfloat16"]["loss"] *= 1.02
    assert gpu_report.disagreeing(found) == ["the course's, bfloat16"]


def test_the_page_holds_what_is_known_of_gpus_and_the_notebooks_quote_the_minutes() -> None:
    page = gpu_report.PAGE.read_text(encoding="utf-8")
    assert fill_section(page, "gpu", gpu_report.section()) == page, "python -m benchmarks.gpu_report"
    minutes = f"about {math.ceil(gpu_report.computed_minutes()['T4'])} minutes on Colab's T4"
    for name in ("07a_infer_pytorch", "07b_infer_keras"):
        assert minutes in (report.FOLDER.parent / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert minutes in " ".join((report.FOLDER.parent / "README.md").read_text(encoding="utf-8").split())
