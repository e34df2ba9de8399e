"""What the tests of load run in processes of their own."""

import json
from pathlib import Path

import psutil
from transformers import AutoModelForCausalLM, AutoTokenizer

from clmkit.generation import generate_texts
from clmkit.scale.data import prepare_stream
from clmkit.scale.streams import Stream
from clmkit.tracks import BUNDLED, choose_track

EVERY = 1000  # blocks or prompts between two looks at memory


def memory() -> float:
    """MiB that this process holds."""
    return float(psutil.Process().memory_info().rss / 2**20)


def read_stream(files: str, notes: Path) -> None:
    """Take every block of one pass through files, as `train --streaming` does; note how many, and memory meanwhile."""
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    track = choose_track("quick", data=files, test_size=0.001, block_size=128)
    prepared = prepare_stream(track, Stream(window=500, test_rows=50), tokenizer, None, notes.parent / "run", seed=0)
    assert prepared.stream is not None
    blocks, held = 0, []
    for _ in prepared.stream:
        if prepared.stream.state_dict()["epoch"]:
            break
        blocks += 1
        if blocks % EVERY == 0:
            held.append(memory())
    notes.write_text(json.dumps([blocks, held]))


def write_texts(prompts: int, notes: Path) -> None:
    """Continue so many prompts; note memory meanwhile, and some texts beside what they are alone."""
    model, tokenizer = (kind.from_pretrained(BUNDLED / "tiny_gpt2") for kind in (AutoModelForCausalLM, AutoTokenizer))
    asked = [f"{number}. Why is the sky {number % 7} times" + " so blue" * (number % 5) for number in range(prompts)]
    held, how = [], {"max_new_tokens": 4, "do_sample": False}
    generate_texts(model, tokenizer, asked[:64], **how)
    held.append(memory())
    texts = generate_texts(model, tokenizer, asked, **how)
    held.append(memory())
    places = range(0, prompts, max(prompts // 20, 1))
    alone = [generate_texts(model, tokenizer, [asked[place]], **how)[0] for place in places]
    begun = all(text.startswith(prompt) for text, prompt in zip(texts, asked, strict=True))
    notes.write_text(json.dumps([len(texts), begun, [texts[place] for place in places] == alone, held]))
