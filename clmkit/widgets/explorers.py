"""Things to try in a notebook: type or change a number, and see at once what a tokenizer or a block size does."""

import html
import os
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import bidirectional

from IPython.display import display
from ipywidgets import HTML, BoundedIntText, Checkbox, Layout, Textarea, VBox, Widget, interactive_output
from transformers.convert_slow_tokenizer import bytes_to_unicode

from clmkit.messages import _, html_direction, ngettext
from clmkit.widgets.plots import plot_blocks

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

# Pale colours of one lightness: black text has a contrast of 10 to 1 or more on each, and neighbours differ in shape
# too, by their borders, so that nothing hangs on telling the colours apart.
TOKEN_COLOURS = ("#cfe8f7", "#f7e3b5", "#cdeedd", "#f5d5e4")

# The bytes that byte-level BPE writes as characters.
BYTES = {sign: byte for byte, sign in bytes_to_unicode().items()}

# Unicode's classes of letters with a direction: left, right, Arabic.
STRONG = ("L", "R", "AL")


def somebody_is_there() -> bool:
    """Whether there may be somebody to touch a control: runs of whole notebooks set ``CLMKIT_WIDGETS=0``."""
    return os.environ.get("CLMKIT_WIDGETS") != "0"


def own_direction() -> HTML:
    """An invisible widget that lets each line typed in a notebook run in its own direction, as Arabic does."""
    style = ".widget-textarea textarea { unicode-bidi: plaintext; text-align: start }"
    return HTML(f"<style>{style}</style>", layout=Layout(display="none"))


def explore(draw: Callable[..., None], controls: dict[str, Widget]) -> None:
    """Show controls, and what a function displays for their values, anew whenever one is changed.

    Where nobody is there to touch them (``CLMKIT_WIDGETS=0``, which runs of whole notebooks set), it is displayed once,
    for the values that the controls begin with.

    Args:
        draw: Displays something; its arguments have the names of the controls.
        controls: Widgets with a value.
    """
    if somebody_is_there():
        display(VBox([own_direction(), *controls.values(), interactive_output(draw, controls)]))
    else:
        draw(**{name: control.value for name, control in controls.items()})


class Token(NamedTuple):
    """One token of a text."""

    id: int
    bytes: bytes
    special: bool

    @property
    def text(self) -> str:
        """The text, or the bytes in hexadecimal where they are only part of a character."""
        try:
            return self.bytes.decode()
        except UnicodeDecodeError:
            return self.bytes.hex(" ")


def split_tokens(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[Token]:
    """Cut a text into tokens.

    Args:
        tokenizer: A byte-level BPE tokenizer, as GPT-2's is.
        text: Any text; a special token may stand in it.

    Returns:
        The tokens. The bytes of all of them are those of the text.

    Raises:
        ValueError: If the tokenizer is of another kind.
    """
    found, as_it_is = [], tokenizer.get_added_vocab()
    for token_id in tokenizer(text, verbose=False)["input_ids"]:
        name = str(tokenizer.convert_ids_to_tokens(token_id))
        if name not in as_it_is and not set(name) <= BYTES.keys():
            raise ValueError(f"token {name!r} is not written in bytes: the inspector is for byte-level BPE, as GPT-2's")
        written = name.encode() if name in as_it_is else bytes(BYTES[sign] for sign in name)
        found.append(Token(token_id, written, token_id in tokenizer.all_special_ids))
    return found


def _token_html(number: int, token: Token) -> str:
    """A token as a small card: text, id, number of bytes."""
    colour = TOKEN_COLOURS[number % len(TOKEN_COLOURS)]
    border = "2px dashed #000" if token.special else "1px solid #555"
    style = f"background:{colour};color:#000;border:{border};border-radius:3px;padding:1px 4px;margin:2px"
    shown = html.escape(token.text).replace(" ", "␣").replace("\n", "⏎")
    size = ngettext("{count} byte", "{count} bytes", len(token.bytes))
    return (
        f'<span style="display:inline-block;text-align:center;{style}"><bdi>{shown}</bdi><br>'
        f"<small>{token.id}<br><bdi>{size}</bdi></small></span>"
    )


def _direction(text: str) -> str:
    """The direction of the first letter that has one; HTML's ``dir="auto"`` doesn't look into the cards' <bdi>."""
    return "rtl" if next(filter(STRONG.__contains__, map(bidirectional, text)), "L") != "L" else "ltr"


def _describe_tokens(tokenizer: "PreTrainedTokenizerBase", text: str) -> tuple[str, str]:
    """The tokens of a text, each with its id and its number of bytes, and a summary: as HTML and as text."""
    tokens = split_tokens(tokenizer, text)
    size = sum(len(token.bytes) for token in tokens)
    summary = ngettext(
        "{characters} characters, {size} bytes, {count} token",
        "{characters} characters, {size} bytes, {count} tokens",
        len(tokens),
        characters=len(text),
        size=size,
    )
    cards = "".join(_token_html(number, token) for number, token in enumerate(tokens))
    plain = " ".join(f"{token.text!r}:{token.id}{'*' * token.special}" for token in tokens)
    page = f'<div dir="{_direction(text)}">{cards}</div><div{html_direction()}>{summary}</div>'
    return page, f"{plain}\n{summary}"


def _with_title(tokenizer: "PreTrainedTokenizerBase", page: str, plain: str) -> tuple[str, str]:
    """What ``_describe_tokens`` says as one of two columns, below the size of the vocabulary."""
    title = _("Vocabulary: {size:,}", size=len(tokenizer))
    return f'<div style="flex:1 1 20em"><div{html_direction()}><b>{title}</b></div>{page}</div>', f"{title}\n{plain}"


def show_tokens(
    tokenizer: "PreTrainedTokenizerBase", text: str, beside: "PreTrainedTokenizerBase | None" = None
) -> None:
    """Display the tokens of a text in a row, each with its id and its number of bytes; special ones are dashed.

    Args:
        tokenizer: A byte-level BPE tokenizer, as GPT-2's is.
        text: Any text.
        beside: A second one, whose tokens are displayed beside those of the first.

    Raises:
        ValueError: As ``split_tokens``.
    """
    page, plain = _describe_tokens(tokenizer, text)
    if beside is not None:
        (page, plain), other = _with_title(tokenizer, page, plain), _with_title(beside, *_describe_tokens(beside, text))
        page = f'<div{html_direction()} style="display:flex;flex-wrap:wrap;gap:1em">{page}{other[0]}</div>'
        plain = f"{plain}\n{other[1]}"
    display({"text/html": page, "text/plain": plain}, raw=True)


def inspect_tokens(
    tokenizer: "PreTrainedTokenizerBase", text: str, beside: "PreTrainedTokenizerBase | None" = None
) -> None:
    """Type a text and see its tokens, to begin with those of ``text`` (the guide's step "Preprocess", closely).

    Args:
        tokenizer: A byte-level BPE tokenizer, as GPT-2's is.
        text: What to begin with.
        beside: A second one, to see both side by side.

    Raises:
        ValueError: As ``split_tokens``.
    """
    box = Textarea(text, description=_("Text"), continuous_update=True, layout=Layout(width="95%", height="4em"))
    explore(lambda text: show_tokens(tokenizer, text, beside), {"text": box})


def show_blocks(lengths: Sequence[int], block_size: int, end_token: bool) -> None:
    """Display how documents fall into blocks, and say what is left over and how many blocks cross a border.

    Args:
        lengths: Tokens in each document, without its eos_token.
        block_size: Tokens in a block.
        end_token: Whether each document ends in an eos_token.
    """
    lengths = [length + end_token for length in lengths]
    blocks, left_over = divmod(sum(lengths), block_size)
    # A border inside a block; one that falls on a block's edge crosses nothing.
    crossing = len({end // block_size for end in accumulate(lengths[:-1]) if end % block_size} - {blocks})
    plot_blocks(lengths, block_size)
    print(
        ngettext(
            "{count} block of {block_size}, {left_over} tokens left over; several texts in {crossing} of them",
            "{count} blocks of {block_size}, {left_over} tokens left over; several texts in {crossing} of them",
            blocks,
            block_size=block_size,
            left_over=left_over,
            crossing=crossing,
        )
    )


def explore_blocks(documents: "Dataset", block_size: int = 128) -> None:
    """Move the block size, and see how documents fall into blocks.

    Args:
        documents: A few rows of ``input_ids``, as ``tokenize`` gives them.
        block_size: What to begin with, in tokens.
    """
    lengths = [len(ids) for ids in documents["input_ids"]]
    # A number field, and no slider, because an ipywidgets slider has no name that a screen reader could say.
    size = BoundedIntText(block_size, min=16, max=512, step=16, description="block_size", layout=Layout(width="14em"))
    controls: dict[str, Widget] = {
        "block_size": size,
        "end_token": Checkbox(False, description=_("end each document with eos_token"), indent=False),
    }
    explore(lambda **values: show_blocks(lengths, **values), controls)
