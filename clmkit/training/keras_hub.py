"""Fine-tune with Keras 3's fit and KerasHub, on the PyTorch or the TensorFlow backend, in the main kernel."""

import math
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from safetensors.numpy import save_file
from transformers import GenerationConfig, GPT2Config, PreTrainedTokenizerBase

from clmkit.evaluation import Score, count_bytes, sum_losses
from clmkit.kernels import start_tensorflow
from clmkit.saving import write_whole
from clmkit.tracks import Track, check_whole_number
from clmkit.training.keras_callbacks import HubUpload, LossRecorder

start_tensorflow()  # KerasHub imports it for its data pipeline, whatever the backend

import keras  # noqa: E402
import keras_hub  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import ops  # noqa: E402

# Keras 3.13, which Colab has, indexes by a list, of which PyTorch warns; a slice at a time, it means the same.
warnings.filterwarnings("ignore", "Using a non-tuple sequence for multidimensional indexing", UserWarning)

# Keras 3 names every bias "bias" and the two weights of a layer norm "gamma" and "beta".
NO_WEIGHT_DECAY = ["bias", "gamma", "beta"]

# Where the weights of a layer stand in KerasHub, and what Transformers calls them.
DENSE = {
    "self_attention/attention_output": "attn.c_proj",
    "feedforward_intermediate_dense": "mlp.c_fc",
    "feedforward_output_dense": "mlp.c_proj",
}
NORMS = {"self_attention_layer_norm": "ln_1", "feedforward_layer_norm": "ln_2"}
NORM = {"gamma": "weight", "beta": "bias"}


class LossCallback(LossRecorder, keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Records the losses of ``fit``; see ``LossRecorder``."""


class HubCallback(HubUpload, keras.callbacks.Callback):  # type: ignore[misc]
    """Uploads a KerasHub model while it trains; see ``HubUpload``."""

    def save_model(self) -> None:
        """Save as a Transformers model."""
        export_model(self.model, self.output_dir, self.tokenizer)

    def save_checkpoint(self, epoch: int) -> None:
        """Save weights and the optimizer's state for ``load_weights``."""
        folder = self.output_dir / "checkpoint"
        folder.mkdir(exist_ok=True)
        self.model.save_weights(folder / f"epoch-{epoch}.weights.h5")


def shift_labels(batch: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    """Turn a batch of blocks into what KerasHub trains on, as its preprocessor does with text.

    Args:
        batch: ``input_ids``, int, of shape (batch, block_size); ``labels`` too, where they are not the same.

    Returns:
        The inputs ``token_ids`` and ``padding_mask``, the labels, and the weight of each label, all of shape
        (batch, block_size - 1). The label of each token is the token after it; labels of -100 weigh nothing.
    """
    token_ids, labels = batch["input_ids"][:, :-1], batch.get("labels", batch["input_ids"])[:, 1:]
    inputs = {"token_ids": token_ids, "padding_mask": tf.ones_like(token_ids, dtype=tf.bool)}
    return inputs, tf.maximum(labels, 0), tf.cast(labels != -100, tf.float32)


def prepare_dataset(blocks: Dataset, *, batch_size: int, shuffle: bool) -> tf.data.Dataset:
    """Batch blocks for ``fit``, the labels shifted.

    Given arrays, KerasHub's ``fit`` does not shuffle them (0.32); this shuffles anew for every epoch, from the seed of
    ``keras.utils.set_random_seed``.

    Args:
        blocks: Rows of ``input_ids`` of equal length, as ``chunk`` gives them; ``labels`` where they are others.
        batch_size: Blocks in a batch; the last one may be smaller.
        shuffle: Whether to shuffle, for training.

    Raises:
        ValueError: If ``batch_size`` is no whole number of 1 or more.
    """
    check_whole_number("batch_size", batch_size)
    with_labels = "labels" in blocks.column_names
    columns = ["input_ids", "labels"] if with_labels else "input_ids"
    rows = blocks.to_tf_dataset(columns=columns, batch_size=256, shuffle=False).unbatch()
    if not with_labels:
        rows = rows.map(lambda input_ids: {"input_ids": input_ids})  # a single column comes without its name
    if shuffle:  # not by to_tf_dataset, which repeats its order in every epoch once a seed is set (datasets 5.2)
        rows = rows.shuffle(len(blocks), reshuffle_each_iteration=True)
    batches = rows.batch(batch_size).map(shift_labels).prefetch(tf.data.AUTOTUNE)
    return batches.apply(tf.data.experimental.assert_cardinality(math.ceil(len(blocks) / batch_size)))


def build_optimizer(track: Track, steps: int) -> keras.optimizers.Optimizer:
    """AdamW as the Trainer of notebook 06a has it: the track's learning rate falls to 0 in so many steps."""
    schedule = keras.optimizers.schedules.PolynomialDecay(track.learning_rate, steps, end_learning_rate=0.0)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=0.01, epsilon=1e-8, global_clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=NO_WEIGHT_DECAY)
    return optimizer


def score(
    model: keras_hub.models.CausalLM,
    blocks: Dataset,
    batch_size: int = 16,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Score:
    """As ``clmkit.evaluation.score``, for a model of KerasHub."""

    def batch_losses() -> Iterator[tuple[float, int]]:
        batches = prepare_dataset(blocks, batch_size=batch_size, shuffle=False)
        for inputs, labels, counted in batches.as_numpy_iterator():
            logits = ops.cast(model(inputs, training=False), "float32")
            losses = ops.convert_to_numpy(ops.sparse_categorical_crossentropy(labels, logits, from_logits=True))
            yield float(losses[counted > 0].sum(dtype="float64")), int(counted.sum())

    with _no_gradients():
        return sum_losses(batch_losses() if len(blocks) else [], count_bytes(blocks, tokenizer))


def _no_gradients() -> Any:
    if keras.config.backend() != "torch":
        return nullcontext()
    import torch

    return torch.no_grad()


def transformers_weights(model: keras_hub.models.CausalLM) -> dict[str, np.ndarray[Any, Any]]:
    """The weights of a GPT-2 of KerasHub by the names and in the shapes that Transformers has for them.

    KerasHub's own ``export_to_transformers`` does it for GPT-2 from 0.27 on; Colab has 0.26.
    """
    backbone, width = model.backbone, model.backbone.hidden_dim
    ours = {weight.path: ops.convert_to_numpy(weight) for weight in backbone.weights}
    theirs = {"transformer.wte.weight": ours["token_embedding/embeddings"]}
    theirs["transformer.wpe.weight"] = ours["position_embedding/embeddings"]
    theirs |= {f"transformer.ln_f.{kind}": ours[f"layer_norm/{part}"] for part, kind in NORM.items()}
    for number in range(backbone.num_layers):
        layer, block = f"transformer_layer_{number}", f"transformer.h.{number}"
        attention = [f"{layer}/self_attention/{part}" for part in ("query", "key", "value")]
        kernels = [ours[f"{part}/kernel"].reshape(width, -1) for part in attention]  # KerasHub keeps the heads apart
        theirs[f"{block}.attn.c_attn.weight"] = np.concatenate(kernels, axis=1)
        theirs[f"{block}.attn.c_attn.bias"] = np.concatenate([ours[f"{part}/bias"].reshape(-1) for part in attention])
        for part, name in DENSE.items():
            kernel, bias = ours[f"{layer}/{part}/kernel"], ours[f"{layer}/{part}/bias"]
            theirs |= {f"{block}.{name}.weight": kernel.reshape(-1, len(bias)), f"{block}.{name}.bias": bias}
        for part, name in NORMS.items():
            theirs |= {f"{block}.{name}.{kind}": ours[f"{layer}/{part}/{half}"] for half, kind in NORM.items()}
    return theirs


def export_model(
    model: keras_hub.models.CausalLM, folder: str | Path, tokenizer: PreTrainedTokenizerBase | None = None
) -> Path:
    """Save a model of KerasHub as a Transformers model.

    GPT-2 is saved by ``transformers_weights``, any other architecture by KerasHub's own exporter.

    Args:
        model: The model.
        folder: Is made if need be, and returned.
        tokenizer: Transformers' tokenizer of the model, saved beside it.

    Raises:
        OSError: If the folder can't be written.
        ValueError: If this version of KerasHub has no exporter for the architecture.
    """
    with write_whole(folder) as unfinished:
        if isinstance(model, keras_hub.models.GPT2CausalLM):
            save_gpt2(model, unfinished, tokenizer)
        else:
            export_other(model, unfinished)
        if tokenizer is not None:
            tokenizer.save_pretrained(unfinished)
    return Path(folder)


def export_other(model: keras_hub.models.CausalLM, folder: Path) -> None:
    """Save a model that is no GPT-2 by KerasHub's exporter, without KerasHub's tokenizer; see ``export_model``."""
    preprocessor, model.preprocessor = model.preprocessor, None
    try:
        model.export_to_transformers(folder)
    except ValueError as error:
        raise ValueError(
            f"KerasHub {keras_hub.__version__} can't save a {type(model).__name__} for Transformers ({error}): "
            "notebook 6a trains it with PyTorch"
        ) from error
    finally:
        model.preprocessor = preprocessor


def save_gpt2(model: keras_hub.models.CausalLM, folder: Path, tokenizer: PreTrainedTokenizerBase | None) -> None:
    """Save weights and configuration of a GPT-2 of KerasHub; see ``export_model``."""
    backbone = model.backbone
    config = GPT2Config(
        vocab_size=backbone.vocabulary_size,
        n_positions=backbone.max_sequence_length,
        n_embd=backbone.hidden_dim,
        n_layer=backbone.num_layers,
        n_head=backbone.num_heads,
        n_inner=backbone.intermediate_dim,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), backbone.dropout),
        bos_token_id=tokenizer.bos_token_id if tokenizer else None,
        eos_token_id=tokenizer.eos_token_id if tokenizer else None,
        architectures=["GPT2LMHeadModel"],
    )
    tensors = {name: np.ascontiguousarray(array) for name, array in transformers_weights(model).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    GenerationConfig.from_model_config(config).save_pretrained(folder)
