"""What the tests of the main kernel share; those of the Keras kernel have a conftest of their own."""

import os
from collections.abc import Iterator

from tests.isolation import _no_choice_from_outside, _temporary_cache  # noqa: F401, before what reads the environment

os.environ["KERAS_BACKEND"] = "torch"

import pytest
import torch
from hypothesis import settings
from transformers import GPT2Config, GPT2LMHeadModel, set_seed
from transformers.utils import logging

from tests.data import blocks, quick, small_config, texts, tokenizer  # noqa: F401
from tests.fake_hub import hub  # noqa: F401
from tests.tokens import _no_token_is_written, pytest_runtest_makereport  # noqa: F401
from tests.wheel import wheel  # noqa: F401

pytest.register_assert_rewrite("tests.keras_cases")

# tests/frameworks runs these on the other kernel.
collect_ignore = ["keras_kernel"]

# Where other work keeps the cores busy, two threads wait for each other, and a step takes ten times as long as by one.
torch.set_num_threads(1)

# What takes longest, first: two files run at a time, and the last one should not run beside nothing.
LONGEST = ("notebooks/test_notebooks.py", "colab/test_run_all.py", "hub/test_full_track.py", "site/test_browser.py")
LONGEST += (
    "hub/test_faults.py",
    "browser/test_jupyterlab.py",
    "frameworks/test_keras_kernel.py",
    "browser/test_arabic.py",
)

# No deadline: the first example of a property pays for imports, and the machine may be busy.
settings.register_profile("clmkit", deadline=None, max_examples=60)
settings.load_profile("clmkit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order of ``LONGEST``, and then as they were."""
    order = {f"tests/{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


def pytest_collection_finish() -> None:
    """By now Keras has read its backend, if a test imports it; notebooks and other processes choose their own."""
    os.environ.pop("KERAS_BACKEND", None)


@pytest.fixture(autouse=True)
def _as_loud_as_before() -> Iterator[None]:
    """A Trainer sets the level of Transformers' log for the whole process, by its ``log_level``."""
    level = logging.get_verbosity()
    yield
    logging.set_verbosity(level)


@pytest.fixture
def model(small_config: GPT2Config) -> GPT2LMHeadModel:  # noqa: F811
    """A random GPT-2 of one layer, the same each time."""
    set_seed(0)
    return GPT2LMHeadModel(small_config).eval()


@pytest.fixture
def broken_model(model: GPT2LMHeadModel) -> GPT2LMHeadModel:
    """A model whose every loss is NaN."""
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(torch.nan)
    return model
