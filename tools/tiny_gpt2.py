"""Make the bundled tiny GPT-2 from scratch, from prose that was written for it.

    python -m tools.tiny_gpt2 make --output OUTPUT_FOLDER
    python -m tools.tiny_gpt2 judge FOLDER

It trains a byte-level BPE on the articles and stories of ``tools/prose.txt.xz``, and on the same text a GPT-2. The
defaults are those of the model as it is bundled. The ELI5 sample is never read.
"""

import argparse
import json
import lzma
import random
import time
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from unittest.mock import patch

import torch
from datasets import Dataset
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from clmkit.chunking import chunk
from clmkit.evaluation import score
from clmkit.tokenization import count_tokens, tokenize
from clmkit.training.pytorch import keep_freed_memory

EOS_TOKEN = "<|endoftext|>"
CONTEXT = 512
SHORT_CONTEXT = 128  # about one text; most of the training, at a third more tokens a second
SEED = 0
HELD_OUT = 150  # texts
PROSE = Path(__file__).with_name("prose.txt.xz")
WORD_LIST = Path("/usr/share/dict/american-english")  # of Debian's wamerican


def read_prose() -> list[str]:
    """The articles and stories that were written for this project."""
    with lzma.open(PROSE, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def train_tokenizer(texts: list[str], folder: Path, vocab_size: int) -> None:
    """Train the byte-level BPE and save it as GPT-2's own class, which transformers 4 and 5 both read."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=vocab_size - 1, show_progress=False)
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


def new_model(arguments: argparse.Namespace) -> GPT2LMHeadModel:
    """A GPT-2 with random weights."""
    torch.manual_seed(SEED)
    config = GPT2Config(
        vocab_size=arguments.vocab_size,
        n_positions=CONTEXT,
        n_embd=arguments.width,
        n_layer=arguments.layers,
        n_head=arguments.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=arguments.vocab_size - 1,
        eos_token_id=arguments.vocab_size - 1,
    )
    model = GPT2LMHeadModel(config)
    model.loss_type = "ForCausalLM"
    return model


def orthogonalize(grad: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> torch.Tensor:
    """Muon's Newton-Schulz iteration in float32: a CPU without bfloat16 takes longer for it than for the model."""
    a, b, c = coefficients
    tall = grad.size(0) > grad.size(1)
    x = grad.T if tall else grad
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def float32_muon() -> AbstractContextManager[object]:
    """Let torch.optim.Muon orthogonalize in float32, by the private function that it calls (torch 2.13)."""
    return patch("torch.optim._muon._zeropower_via_newtonschulz", orthogonalize)


def draw(stream: torch.Tensor, context: int, tokens: int) -> torch.Tensor:
    """So many tokens of a stream, as blocks that begin anywhere in it."""
    starts = torch.randint(len(stream) - context, (tokens // context,)).tolist()
    return torch.stack([stream[start : start + context] for start in starts])


def make_optimizers(model: GPT2LMHeadModel, arguments: argparse.Namespace) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for everything else; biases and gains do not decay."""
    matrices = {name: parameter for name, parameter in model.named_parameters() if parameter.ndim == 2}
    inside = [parameter for name, parameter in matrices.items() if ".h." in name]
    embeddings = [parameter for name, parameter in matrices.items() if ".h." not in name]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [
        {"params": embeddings, "weight_decay": arguments.adam_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [
        torch.optim.AdamW(groups, lr=arguments.adam_lr, betas=(0.9, 0.98)),
        torch.optim.Muon(inside, lr=arguments.muon_lr, weight_decay=arguments.muon_decay),
    ]


def train_model(stream: torch.Tensor, test: Dataset, arguments: argparse.Namespace) -> None:
    """Train GPT-2 from scratch: the last fifth of the steps on blocks of the whole context."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = new_model(arguments)
    model.to(device)  # type: ignore[arg-type]  # a wrapper of transformers hides its types
    held_out = {context: chunk(test, context) for context in (SHORT_CONTEXT, CONTEXT)}
    optimizers, steps = make_optimizers(model, arguments), arguments.steps
    # Warm up over 100 steps, hold, then fall to zero over the last half.
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda s: min((s + 1) / 100, 1, 2 * (1 - s / steps))) for o in optimizers
    ]
    start = time.time()
    for step in range(1, steps + 1):
        batch = draw(stream, SHORT_CONTEXT if step <= 0.8 * steps else CONTEXT, arguments.tokens).to(device)
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        if step % 200 == 0 or step == steps:
            speed = step * arguments.tokens / (time.time() - start)
            found = ", ".join(
                f"{score(model, blocks).perplexity:.1f} in blocks of {context}" for context, blocks in held_out.items()
            )
            print(
                f"step {step}: loss {loss.item():.3f}, held-out perplexity {found}, {speed:,.0f} tokens/s", flush=True
            )
            model.save_pretrained(arguments.output)


def make(arguments: argparse.Namespace) -> None:
    """Train the tokenizer and the model, and save both."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    texts = read_prose()
    random.Random(SEED).shuffle(texts)
    train_tokenizer(texts, arguments.output, arguments.vocab_size)
    tokenizer = AutoTokenizer.from_pretrained(arguments.output)
    test, train = (
        tokenize(Dataset.from_dict({"text": part}), tokenizer, append_eos=True)
        for part in (texts[:HELD_OUT], texts[HELD_OUT:])
    )
    stream = torch.tensor(list(chain.from_iterable(train["input_ids"])))
    print(f"{len(texts):,} texts; {len(stream):,} tokens to train on, {count_tokens(test):,} to test on", flush=True)
    keep_freed_memory()
    with float32_muon():
        train_model(stream, test, arguments)


def main() -> None:
    """Make a model with the options of the command line, or judge one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    judge = commands.add_parser("judge", help="say how good a model's English is")
    judge.add_argument("folder", type=Path, help="the model")
    judge.add_argument("--words", type=Path, default=WORD_LIST, help="English words, one a line")
    maker = commands.add_parser("make", help="train tokenizer and model")
    maker.add_argument("--output", type=Path, required=True, help="folder for the model and its tokenizer")
    maker.add_argument("--vocab-size", type=int, default=8192)
    maker.add_argument("--width", type=int, default=160)
    maker.add_argument("--layers", type=int, default=6)
    maker.add_argument("--heads", type=int, default=5)
    maker.add_argument("--steps", type=int, default=9000)
    maker.add_argument("--tokens", type=int, default=2048, help="in the batch of a step")
    maker.add_argument("--muon-lr", type=float, default=0.02)
    maker.add_argument("--adam-lr", type=float, default=6e-3)
    maker.add_argument("--muon-decay", type=float, default=0.1)
    maker.add_argument("--adam-decay", type=float, default=0.1, help="of the embeddings")
    arguments = parser.parse_args()
    if arguments.command == "judge":
        from tools.judge import judge_model

        judge_model(arguments.folder, arguments.words)
    else:
        make(arguments)


if __name__ == "__main__":
    main()
