"""What the tests inside the Keras kernel share. ``tests/frameworks/test_keras_kernel.py`` runs them."""

import pytest

from clmkit.kernels import use_kernel
from tests.isolation import _no_choice_from_outside, _temporary_cache  # noqa: F401, before what reads the environment

use_kernel("keras")  # before transformers, as a notebook's first cell does

import numpy as np  # noqa: E402
from transformers import GPT2Config, TFGPT2LMHeadModel, set_seed  # noqa: E402

from tests.data import blocks, quick, small_config, texts, tokenizer  # noqa: E402, F401
from tests.fake_hub import hub  # noqa: E402, F401
from tests.tokens import _no_token_is_written, pytest_runtest_makereport  # noqa: E402, F401

pytest.register_assert_rewrite("tests.keras_cases")


@pytest.fixture
def model(small_config: GPT2Config) -> TFGPT2LMHeadModel:  # noqa: F811
    """A random GPT-2 of one layer without dropout, the same each time."""
    set_seed(0)
    for name in ("attn_pdrop", "embd_pdrop", "resid_pdrop"):
        setattr(small_config, name, 0.0)
    model = TFGPT2LMHeadModel(small_config)
    model(model.dummy_inputs)
    # Biases are zero and norms one in a new model, and tell nothing apart.
    model.set_weights([weight + np.random.normal(0, 0.02, weight.shape) for weight in model.get_weights()])
    return model
