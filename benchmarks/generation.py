"""What does it cost to continue many prompts: one by one, as one first writes it, or in batches?

    .venv/bin/python -m benchmarks.generation

The bundled tiny GPT-2 continues 32 prompts of different lengths by 100 tokens each, greedily and to the last token, so
that every way does the same work. The ways take turns in one process; medians are printed. "Compiled" is torch.compile
with a KV cache of fixed size; what its first call takes longer is printed too. Last, whether all ways give the same
texts.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, can_compile, facts, format_table, medians, write_json
from clmkit.tracks import BUNDLED, SAMPLE

PROMPTS, NEW_TOKENS = 32, 100


def ways() -> tuple[dict[str, Callable[[list[str], int], list[str]]], list[str]]:
    """Each way as a function of prompts and a number of tokens, and the prompts."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    from clmkit.generation import generate_text, generate_texts
    from clmkit.prompts import pad_left

    tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    model = AutoModelForCausalLM.from_pretrained(BUNDLED / "tiny_gpt2")
    no_token = len(tokenizer)  # ends a text, so that none ends sooner than the others
    model.generation_config.eos_token_id = no_token
    compiled = AutoModelForCausalLM.from_pretrained(BUNDLED / "tiny_gpt2")
    compiled.generation_config.update(eos_token_id=no_token, cache_implementation="static")
    compiled.forward = torch.compile(compiled.forward, dynamic=False)
    generator = pipeline("text-generation", model=model, tokenizer=tokenizer)
    how: dict[str, Any] = {"do_sample": False}

    def at_once(prompts: list[str], new: int) -> list[str]:
        batch = pad_left(tokenizer(prompts)["input_ids"], compiled.device)
        ids = compiled.generate(**batch, max_new_tokens=new, pad_token_id=0, **how)[:, batch["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [prompt + text for prompt, text in zip(prompts, texts, strict=True)]

    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()[:PROMPTS]]
    found: dict[str, Callable[[list[str], int], list[str]]] = {
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
        "generate, one batch, compiled": at_once,
    }
    if not can_compile():
        del found["generate, one batch, compiled"]
    return found, [row["title"] for row in rows]


def table(result: dict[str, Any]) -> str:
    """The medians, with how many times faster than the first way each is."""
    reference = next(iter(result["medians"].values()))["tokens_per_s"]
    rows = [
        [
            name,
            f"{one['tokens_per_s']:,.0f}",
            f"{one['tokens_per_s'] / reference:.1f}",
            f"{one['first_token_s']:.3f}",
            f"{result['first_call_s'][name]:.1f}",
        ]
        for name, one in result["medians"].items()
    ]
    return format_table(["", "tokens/s", "times faster", "first token after, s", "very first call, s"], rows)


def tables(result: dict[str, Any]) -> str:
    """The table, in Markdown, and whether the texts agree."""
    return f"{table(result)}\n\n{result['same_texts']} of {PROMPTS} texts are the same in every way."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=100)
    parser.add_argument("--output", type=Path, default=RESULTS / "generation.json")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as nothing_compiled:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = nothing_compiled
        result = facts({"main": sys.executable}) | measure(chosen.new_tokens, chosen.repeats)
    write_json(chosen.output, result)
    print(tables(result))


def measure(new_tokens: int, repeats: int) -> dict[str, Any]:
    """Let the ways take turns."""
    contenders, prompts = ways()
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    texts, first_call = {}, {}
    for name, way in contenders.items():
        start = time.perf_counter()
        texts[name] = way(prompts, new_tokens)
        first_call[name] = time.perf_counter() - start
        way(prompts[: 1 if "one by one" in name else None], 1)  # another size of cache, which is compiled anew
    for _ in range(repeats):
        for name, way in contenders.items():
            start = time.perf_counter()
            way(prompts[: 1 if "one by one" in name else None], 1)
            first = time.perf_counter()
            way(prompts, new_tokens)
            seconds = time.perf_counter() - first
            turns[name].append({"first_token_s": first - start, "tokens_per_s": PROMPTS * new_tokens / seconds})
    same = sum(len(set(found)) == 1 for found in zip(*texts.values(), strict=True))
    return {"turns": turns, "medians": medians(turns), "first_call_s": first_call, "same_texts": same}


if __name__ == "__main__":
    main()
