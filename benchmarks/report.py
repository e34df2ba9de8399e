"""Write what the scripts measured into benchmarks/README.md: tables, pictures, and where each was measured.

    .venv/bin/python -m benchmarks.report

The prose around the tables stays as it is; what stands between ``<!-- NAME -->`` and ``<!-- /NAME -->`` is replaced by
what benchmarks/results/NAME.json says.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from benchmarks import busy, generation, keras_fit, memory, starting, text_to_blocks, training
from benchmarks.common import RESULTS, fill_section

FOLDER = Path(__file__).parent
Bars = Mapping[str, Mapping[str, float]]  # by what the colours mean: the length for each contender


class Section(NamedTuple):
    """What the report makes of one script's results."""

    tables: Callable[[dict[str, Any]], str]
    bars: Callable[[dict[str, Any]], Bars]
    title: str
    unit: str


def pick(found: Mapping[str, Mapping[str, float]], key: str) -> dict[str, float]:
    return {name: one[key] for name, one in found.items()}


def block_bars(result: dict[str, Any]) -> Bars:
    found = result["medians"]["1"]
    return {"tokenize": pick(found, "tokenize_s"), "chunk": pick(found, "chunk_s")}


def training_bars(result: dict[str, Any]) -> Bars:
    found = pick(result["medians"]["distilgpt2"], "tokens_per_s")
    return {"tokens per second": {name: speed / found["guide"] for name, speed in found.items()}}


def keras_bars(result: dict[str, Any]) -> Bars:
    return {"tokens per second": pick(result["models"]["tiny"]["medians"], "tokens_per_s")}


def memory_bars(result: dict[str, Any]) -> Bars:
    """What a batch takes when gradients are added up, in three parts."""
    found = {name: {key: mb / 1e3 for key, mb in one.items()} for name, one in result["medians"].items()}
    return {
        "weights and AdamW": pick(found, "kept_mb"),
        "activations and logits": {name: one["peak_mb"] - one["kept_mb"] for name, one in found.items()},
        "gradients kept": {name: one["accumulated_mb"] - one["peak_mb"] for name, one in found.items()},
    }


def starting_bars(result: dict[str, Any]) -> Bars:
    found = result["notebooks"]["medians"]
    after = {name: one["first_output_s"] - one["kernel_s"] for name, one in found.items()}
    return {"kernel": pick(found, "kernel_s"), "first cells": after}


SECTIONS = {
    "text_to_blocks": Section(text_to_blocks.tables, block_bars, "From 5,000 rows of text to blocks", "seconds"),
    "training": Section(
        training.tables, training_bars, "Training DistilGPT2's shape with PyTorch", "times the guide's"
    ),
    "memory": Section(memory.tables, memory_bars, "Memory of a step of training DistilGPT2's shape", "GB"),
    "busy": Section(
        busy.tables,
        lambda result: {"tokens per second": pick(result["medians"], "training, beside")},
        "Training the tiny GPT-2 beside one busy process",
        "tokens per second",
    ),
    "generation": Section(
        generation.tables,
        lambda result: {"tokens per second": pick(result["medians"], "tokens_per_s")},
        "Continuing 32 prompts by 100 tokens each",
        "tokens per second",
    ),
    "keras_fit": Section(keras_fit.tables, keras_bars, "Training the tiny GPT-2 with Keras", "tokens per second"),
    "starting": Section(starting.tables, starting_bars, "From a kernel's start to the first output", "seconds"),
}


def draw(bars: Bars, section: Section, path: Path) -> None:
    """Draw horizontal bars, one a contender, in the order of the table."""
    names = list(next(iter(bars.values())))
    figure = Figure(figsize=(8, 0.6 + 0.4 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    left = [0.0] * len(names)
    for label, lengths in bars.items():
        drawn = axes.barh(names, list(lengths.values()), left=left, label=label)
        left = [start + length for start, length in zip(left, lengths.values(), strict=True)]
    axes.bar_label(drawn, [f"{end:,.0f}" if end >= 100 else f"{end:.2f}" for end in left], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(title=section.title, xlabel=section.unit)
    axes.spines[["top", "right"]].set_visible(False)
    if len(bars) > 1:
        figure.legend(loc="outside lower center", ncols=len(bars))
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def where(result: dict[str, Any]) -> str:
    """The date, the machine, the commit and the versions behind a table."""
    machine = result["machine"]
    versions = {name: version for found in result["versions"].values() for name, version in found.items()}
    versions |= result["versions"]["main"]  # the Keras kernel has some of the same packages, older
    shown = [f"{name} {versions[name]}" for name in ("datasets", "torch", "transformers", "tensorflow")]
    changed = ", with changes that were not committed" if result["commit"].endswith("-dirty") else ""
    return (
        f"Measured on {result['date'][:10]} at commit {result['commit'][:10]}{changed}: {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['memory_gb']:.0f} GB, GPU: {machine['gpu'] or 'none'}; {', '.join(shown)}."
    )


def section_text(name: str, result: dict[str, Any]) -> str:
    """What stands between the marks of one section."""
    section = SECTIONS[name]
    picture = f"![Bars, in {section.unit}: {section.title}; the numbers are those of the table](images/{name}.png)"
    return f"{section.tables(result)}\n\n{picture}\n\n{where(result)}"


def main() -> None:
    page = FOLDER / "README.md"
    text = page.read_text(encoding="utf-8")
    for name, section in SECTIONS.items():
        result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        text = fill_section(text, name, section_text(name, result))
        draw(section.bars(result), section, FOLDER / "images" / f"{name}.png")
    page.write_text(text, encoding="utf-8")
    print(page.relative_to(Path.cwd()))


if __name__ == "__main__":
    main()
