"""What does it cost to continue many prompts: one by one, as one first writes it, or in batches?

    .venv/bin/python -m benchmarks.generation

The bundled tiny GPT-2 continues 32 prompts of different lengths by 100 tokens each, greedily and to the last token, so
that every way does the same work. The ways take turns in one process; medians are printed. Last, whether all ways give
the same texts.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import facts, print_table, write_json
from clmkit.tracks import BUNDLED, SAMPLE

PROMPTS, NEW_TOKENS = 32, 100


def ways() -> tuple[dict[str, Callable[[list[str], int], list[str]]], list[str]]:
    """Each way as a function of prompts and a number of tokens, and the prompts."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    from clmkit.generation import generate_text, generate_texts

    tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    model = AutoModelForCausalLM.from_pretrained(BUNDLED / "tiny_gpt2")
    model.generation_config.eos_token_id = None  # no text ends sooner than the others
    generator = pipeline("text-generation", model=model, tokenizer=tokenizer)
    how: dict[str, Any] = {"do_sample": False}
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()[:PROMPTS]]
    return {
        "pipeline, one by one": lambda prompts, new: [
            generator(prompt, max_new_tokens=new, pad_token_id=0, **how)[0]["generated_text"] for prompt in prompts
        ],
        "generate_text, one by one": lambda prompts, new: [
            generate_text(model, tokenizer, prompt, max_new_tokens=new, **how) for prompt in prompts
        ],
        "generate_texts, batches of 8": lambda prompts, new: generate_texts(
            model, tokenizer, prompts, batch_size=8, max_new_tokens=new, **how
        ),
        "generate_texts, one batch": lambda prompts, new: generate_texts(
            model, tokenizer, prompts, max_new_tokens=new, **how
        ),
    }, [row["title"] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks/generation.json"))
    chosen = parser.parse_args()
    contenders, prompts = ways()
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    texts = {name: way(prompts, NEW_TOKENS) for name, way in contenders.items()}  # a warm-up as well
    for _ in range(chosen.repeats):
        for name, way in contenders.items():
            start = time.perf_counter()
            way(prompts[: 1 if "one by one" in name else None], 1)
            first = time.perf_counter()
            way(prompts, NEW_TOKENS)
            seconds = time.perf_counter() - first
            turns[name].append({"first_token_s": first - start, "tokens_per_s": PROMPTS * NEW_TOKENS / seconds})
    middle = {name: {key: median(turn[key] for turn in found) for key in found[0]} for name, found in turns.items()}
    reference = next(iter(middle.values()))["tokens_per_s"]
    rows = [
        [name, f"{one['tokens_per_s']:,.0f}", f"{one['tokens_per_s'] / reference:.1f}", f"{one['first_token_s']:.3f}"]
        for name, one in middle.items()
    ]
    print_table(["", "tokens/s", "times faster", "first token after, s"], rows)
    same = sum(len(set(found)) == 1 for found in zip(*texts.values(), strict=True))
    print(f"\n{same} of {len(prompts)} texts are the same in every way")
    write_json(chosen.output, facts({"main": sys.executable}) | {"turns": turns, "medians": middle, "same_texts": same})


if __name__ == "__main__":
    main()
