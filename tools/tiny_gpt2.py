"""Make the bundled tiny GPT-2 from text that this Python environment carries, or from prose written for this project.

    python -m tools.tiny_gpt2 make --output OUTPUT_FOLDER
    python -m tools.tiny_gpt2 judge FOLDER

Step 1 collects English prose: the paragraphs of every docstring of the standard library and of the installed packages,
and ``pydoc_data.topics``, without tables of arguments, code or duplicates; or with ``--text prose`` the articles and
stories of ``tools/prose.txt.xz``. Step 2 trains a byte-level BPE on it, and step 3 a GPT-2 from scratch: as they
are bundled, of 4,096 entries and 2 million parameters. The ELI5 sample is never read.
"""

import argparse
import ast
import json
import lzma
import math
import random
import re
import sys
import sysconfig
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

EOS_TOKEN = "<|endoftext|>"
CONTEXT = 512
SEED = 0
PROSE = Path(__file__).with_name("prose.txt.xz")
WORD_LIST = Path("/usr/share/dict/american-english")  # of Debian's wamerican

PLAIN_WORD = re.compile(r"[(\"'`]*[A-Za-z][a-z']*(-[a-z]+)*[.,;:!?)\"'`]*")
NOT_PROSE = re.compile(
    r"(Args|Arguments|Parameters|Returns|Raises|Attributes|Notes?|Examples?|Yields|See Also|References|Usage)\b"
    r"|[-*:@]|.*(----|:param|>>>|::)"
)


def is_prose(paragraph: str) -> bool:
    """Whether a paragraph reads as English sentences: eight words or more, four in five of them plain words."""
    words = paragraph.split()
    if len(words) < 8 or not paragraph[0].isalnum() or NOT_PROSE.match(paragraph):
        return False
    plain = sum(bool(PLAIN_WORD.fullmatch(word)) for word in words)
    return paragraph.rstrip("\"')`")[-1:] in (".", "!", "?", ":") and plain >= 0.8 * len(words)


def docstrings() -> Iterator[str]:
    """Every docstring of the standard library and the installed packages, in the order of their paths."""
    standard_library, packages = (Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib"))
    for root in (standard_library, packages):
        for path in sorted(root.rglob("*.py")):
            if root == standard_library and {"site-packages", "test"} & set(path.relative_to(root).parts):
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SyntaxWarning)  # of other people's string escapes
                    tree = ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, UnicodeDecodeError):
                continue  # test data of packages that is broken on purpose
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    yield ast.get_docstring(node) or ""


def collect_prose() -> list[str]:
    """The documents to train on: the prose paragraphs of each docstring, each paragraph kept once."""
    from pydoc_data.topics import topics

    seen: set[str] = set()
    documents = []
    for text in [*topics.values(), *docstrings()]:
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
        fresh = [part for part in dict.fromkeys(paragraphs) if part and part not in seen and is_prose(part)]
        seen.update(fresh)
        if fresh:
            documents.append(" ".join(fresh))
    return documents


def read_prose() -> list[str]:
    """The articles and stories that were written for this project."""
    with lzma.open(PROSE, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def train_tokenizer(documents: list[str], folder: Path, vocab_size: int) -> None:
    """Train the byte-level BPE and save it as GPT-2's own class, which transformers 4 and 5 both read."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import AutoTokenizer

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(documents, vocab_size=vocab_size - 1, show_progress=False)
    bpe.add_special_tokens([EOS_TOKEN])  # last, as in GPT-2's own vocabulary
    vocab = dict(sorted(bpe.get_vocab(with_added_tokens=True).items(), key=lambda entry: entry[1]))
    bpe.save_model(str(folder))
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    config = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": CONTEXT}
    config |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), EOS_TOKEN)
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == vocab_size
    assert tokenizer.eos_token_id == vocab_size - 1


def train_model(documents: list[str], folder: Path, arguments: argparse.Namespace) -> None:
    """Train GPT-2 from scratch: Muon for the matrices inside the blocks, AdamW for everything else."""
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(SEED)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(documents)
    stream = torch.tensor([token for e in encodings for token in (*e.ids, tokenizer.eos_token_id)])
    blocks = stream[: len(stream) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    held_out, blocks = blocks[:64], blocks[64:]
    print(f"{len(documents):,} documents, {len(stream):,} tokens, {len(blocks):,} blocks", flush=True)

    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=CONTEXT,
            n_embd=arguments.width,
            n_layer=arguments.layers,
            n_head=arguments.heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    model.to(torch.device(device))  # type: ignore[arg-type]  # a wrapper of transformers hides its types
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and ".h." in name]
    others = [p for name, p in model.named_parameters() if not (p.ndim == 2 and ".h." in name)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=arguments.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
        torch.optim.Muon(matrices, lr=arguments.muon_lr, weight_decay=0.01),
    ]
    steps, batch_size = arguments.steps, arguments.batch_size
    # Warm up over 100 steps, hold, then fall to zero over the last half.
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda s: min((s + 1) / 100, 1, 2 * (1 - s / steps))) for o in optimizers
    ]
    order: list[int] = []
    start = time.time()
    for step in range(steps):
        if len(order) < batch_size:
            order = torch.randperm(len(blocks)).tolist()
        batch, order = blocks[order[:batch_size]].to(device), order[batch_size:]
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            with torch.no_grad():
                held_out_loss = model(input_ids=held_out.to(device), labels=held_out.to(device)).loss.item()
            speed = (step + 1) * batch.numel() / (time.time() - start)
            print(
                f"step {step + 1}: loss {loss.item():.3f}, held-out perplexity {math.exp(held_out_loss):.1f}, "
                f"{speed:,.0f} tokens/s",
                flush=True,
            )
        if (step + 1) % 500 == 0 or step + 1 == steps:
            model.save_pretrained(folder)


def main() -> None:
    """Run the three steps with the options of the command line, or judge what came of them."""
    commands = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choices = commands.add_subparsers(required=True, dest="command")
    judge = choices.add_parser("judge", help="say how good a model's English is")
    judge.add_argument("folder", type=Path, help="the model")
    judge.add_argument("--words", type=Path, default=WORD_LIST, help="English words, one a line")
    parser = choices.add_parser("make", help="train tokenizer and model")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model and its tokenizer")
    parser.add_argument("--text", choices=["docstrings", "prose"], default="docstrings", help="what to learn from")
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=8, help=f"blocks of {CONTEXT} tokens")
    parser.add_argument("--muon-lr", type=float, default=0.02)
    parser.add_argument("--adam-lr", type=float, default=6e-3)
    arguments = commands.parse_args()
    if arguments.command == "judge":
        from tools.judge import judge_model

        judge_model(arguments.folder, arguments.words)
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    documents = read_prose() if arguments.text == "prose" else collect_prose()
    print(f"{sum(map(len, documents)):,} characters of prose", file=sys.stderr)
    train_tokenizer(documents, arguments.output, arguments.vocab_size)
    random.Random(SEED).shuffle(documents)
    train_model(documents, arguments.output, arguments)


if __name__ == "__main__":
    main()
