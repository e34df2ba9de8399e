"""Draw a run of training while it goes on, in one place that changes."""

import os
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from IPython.display import display

from clmkit.evaluation import LossHistory
from clmkit.messages import Wording
from clmkit.widgets.plots import draw_run


class LivePlot:
    """One picture of a run: losses, learning rate, tokens per second, time left.

    It is drawn anew at most once a second, and stays, as a plain picture, when the run is over. A run that nobody
    watches (``CLMKIT_WIDGETS=0``) draws it once, at its end.
    """

    def __init__(self, steps: int, tokens_per_step: int, done: int = 0) -> None:
        """Begin to count the time.

        Args:
            steps: Optimizer steps in the whole run.
            tokens_per_step: Tokens that one of them trains on.
            done: Steps that an earlier part of a resumed run took, of which the time is not known.
        """
        self.steps, self.tokens_per_step, self.done = steps, tokens_per_step, done
        self._start, self._drawn = time.perf_counter(), 0.0
        self._watched = os.environ.get("CLMKIT_WIDGETS") != "0"
        self._place: Any = None  # IPython's handle of what was displayed

    def update(
        self, step: int, history: LossHistory, learning_rates: Sequence[tuple[int, float]], *, last: bool = False
    ) -> None:
        """Draw what there is, unless it was drawn within this second.

        Args:
            step: How many steps are done.
            history: The losses so far.
            learning_rates: Steps, and the learning rate at each.
            last: Draw in any case: the run is over.
        """
        now = time.perf_counter()
        due = last or (self._watched and now - self._drawn > 1)
        if not (due and history.train and learning_rates):
            return
        picture = draw_run(history, learning_rates, partial(self._status, step, now - self._start, last))
        if self._place is None:
            self._place = display(picture, display_id=True)
        else:
            self._place.update(picture)
        self._drawn = time.perf_counter()

    def _status(self, step: int, seconds: float, last: bool, say: Wording) -> str:
        steps = max(step - self.done, 1)
        left = seconds / steps * (self.steps - step)
        numbers = {"step": step, "steps": self.steps, "speed": steps * self.tokens_per_step / seconds}
        if last:
            return say(
                "Step {step} of {steps}, {speed:,.0f} tokens/s, {seconds:,.0f} s in all", seconds=seconds, **numbers
            )
        return say("Step {step} of {steps}, {speed:,.0f} tokens/s, about {left:,.0f} s left", left=left, **numbers)
