"""What does it cost to continue one prompt, word by word, in each way there is? For benchmarks/LOG.md.

    .venv/bin/python -m benchmarks.one_prompt [FOLDER OF A MODEL] [--compile]

Each way continues the prompt greedily, on one thread, and they take turns. Seconds are the processor's own, so that a
busy machine changes little. ctranslate2 takes part where it is installed; the project does not need it.
"""

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from benchmarks.common import format_table
from clmkit.tracks import BUNDLED

PROMPT = "Why is the sky blue?"
Way = Callable[[int], list[int]]  # of a number of tokens


def load(folder: str, **how: Any) -> Any:
    """The model, which never ends a text by itself."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.update(eos_token_id=None, pad_token_id=0, disable_compile=True, **how)
    return model


def generate(model: Any, ids: torch.Tensor) -> Way:
    how = {"attention_mask": torch.ones_like(ids), "do_sample": False}
    return lambda new: model.generate(ids, max_new_tokens=new, **how)[0, ids.shape[1] :].tolist()


def plain_loop(model: Any, ids: torch.Tensor) -> Way:
    @torch.inference_mode()
    def run(new: int) -> list[int]:
        cache, step, found = DynamicCache(config=model.config), ids, []
        for _ in range(new):
            logits = model(step, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
            step = logits[:, -1].argmax(-1, keepdim=True)
            found.append(step.item())
        return found

    return run


def ctranslate2(folder: str, tokens: list[str], quantization: str) -> Way:
    import ctranslate2

    with tempfile.TemporaryDirectory() as converted:
        converter = ctranslate2.converters.TransformersConverter(folder)
        converter.convert(converted, quantization=quantization, force=True)
        generator = ctranslate2.Generator(converted, inter_threads=1, intra_threads=1)
    how = {"sampling_topk": 1, "include_prompt_in_result": False, "end_token": []}
    return lambda new: generator.generate_batch([tokens], max_length=new, min_length=new, **how)[0].sequences_ids[0]


def ways(folder: str, compiled: bool) -> dict[str, Way]:
    """Each way, by name; the first is the one to be as."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids, model = tokenizer(PROMPT, return_tensors="pt").input_ids, load(folder)
    found = {"generate": generate(model, ids), "plain loop and DynamicCache": plain_loop(model, ids)}
    found["generate, static cache"] = generate(load(folder, cache_implementation="static"), ids)
    if compiled:
        static = load(folder, cache_implementation="static")
        static.forward = torch.compile(static.forward, dynamic=False)
        found["generate, static cache, compiled"] = generate(static, ids)
    if importlib.util.find_spec("ctranslate2"):
        tokens = tokenizer.convert_ids_to_tokens(ids[0].tolist())
        for quantization in ("float32", "int8"):
            found[f"ctranslate2, {quantization}"] = ctranslate2(folder, tokens, quantization)
    return found


def measure(contenders: dict[str, Way], new: int, repeats: int) -> list[list[str]]:
    """A row of the table for each way."""
    first, texts, turns = {}, {}, {name: [] for name in contenders}
    for name, way in contenders.items():
        start = time.perf_counter()
        texts[name] = way(new)
        first[name] = time.perf_counter() - start
    for _ in range(repeats):
        for name, way in contenders.items():
            start = time.process_time()
            way(new)
            turns[name].append(new / (time.process_time() - start))
    expected = next(iter(texts.values()))
    reference = median(next(iter(turns.values())))
    rows = []
    for name, speeds in turns.items():
        same = sum(one == other for one, other in zip(texts[name], expected, strict=True))
        speed = median(speeds)
        rows.append([name, f"{speed:,.0f}", f"{speed / reference:.2f}", f"{first[name]:.1f}", f"{same} of {new}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=str(BUNDLED / "tiny_gpt2"))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--new-tokens", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(ways(chosen.folder, chosen.compile), chosen.new_tokens, chosen.repeats)
    print(format_table(["", "tokens/s of a CPU", "times generate", "first call, s", "same tokens"], rows))


if __name__ == "__main__":
    main()
