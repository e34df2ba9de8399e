"""What a run of training works on: the options that transformers' ``TrainingArguments`` do not have."""

import io
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Literal

from clmkit.chunking import check_block_size
from clmkit.tracks import MODEL_NAME, Track, choose_track


@dataclass
class RunOptions:
    """What to train, and on what; ``TrainingArguments`` say how.

    Attributes:
        track: ``quick`` or ``full``; gives data, model, epochs and learning rate where they are not given. Without it
            ``choose_track`` decides.
        data: One or more local files or patterns of such, or a data set's id on the Hub.
        model: A folder, or a model's id on the Hub.
        block_size: Tokens in a block.
        rows: How many rows to take at most, from the first.
        streaming: Read the data while training, with memory and disk that do not depend on its size.
        append_eos: End every text with the end-of-text token.
        text_column: The column with the text; by default ``answers.text`` or ``text``.
        data_revision: A branch, tag or commit of the data set on the Hub.
        test_size: The share of rows to test on: a fifth, or a hundredth of a stream.
        test_rows: How many rows of a stream to test on at most.
        window: Rows of a stream that are shuffled at a time, and held in memory.
    """

    track: Literal["quick", "full"] | None = None
    data: list[str] | None = None
    model: str | None = None
    block_size: int = 128
    rows: int | None = None
    streaming: bool = False
    append_eos: bool = False
    text_column: str | None = None
    data_revision: str | None = None
    test_size: float | None = None
    test_rows: int = 500
    window: int = 10_000

    def __post_init__(self) -> None:
        """Check what can be checked without the data.

        Raises:
            ValueError: If a number is out of its range.
        """
        check_block_size(self.block_size)
        for name in ("rows", "test_rows", "window"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{name} must be a whole number of 1 or more, not {value!r}")
        if isinstance(self.data, str):
            self.data = [self.data]

    @property
    def held_out(self) -> float:
        """The share of rows to test on."""
        return self.test_size if self.test_size is not None else 0.01 if self.streaming else 0.2


def choose_run(options: RunOptions) -> Track:
    """Choose what a run works on: the track's data and model where the options name none.

    A model of one's own takes the guide's epochs and learning rate, whatever the track.

    Raises:
        ConnectionError: As ``choose_track``.
    """
    if options.data and options.model:
        track = Track(options.track or "own", "", "", options.rows, 3, 2e-5, "", f"own/{MODEL_NAME}")
    elif options.data or options.model:
        with redirect_stdout(io.StringIO()):  # its line tells of the data and the model that are not taken
            track = choose_track(options.track, rows=options.rows)
    else:
        track = choose_track(options.track, rows=options.rows)
    if options.model:
        track = replace(track, model=options.model, epochs=3, learning_rate=2e-5)
    if options.data:
        track = replace(track, data=" ".join(options.data), rows=options.rows)
    return track
