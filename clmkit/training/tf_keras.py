"""Fine-tune with transformers' TensorFlow classes and Keras 2's fit: the guide's Keras path, on the Keras kernel."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict
from safetensors.numpy import save_file

from clmkit.chunking import prepare_blocks
from clmkit.evaluation import Score, count_bytes, sum_losses
from clmkit.hub.download import download_model
from clmkit.kernels import has_gpu, start_tensorflow
from clmkit.saving import write_whole
from clmkit.tracks import Track, check_whole_number
from clmkit.training import tuned_models
from clmkit.training.generation_config import make_savable
from clmkit.training.keras_callbacks import HubUpload, LossRecorder, fit_verbose

start_tensorflow(legacy_keras=True)  # before transformers imports it

import tensorflow as tf  # noqa: E402
from transformers import (  # noqa: E402
    AdamWeightDecay,
    AutoConfig,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    TFAutoModelForCausalLM,
    TFPreTrainedModel,
    create_optimizer,
    set_seed,
)
from transformers.modeling_tf_pytorch_utils import convert_tf_weight_name_to_pt_weight_name  # noqa: E402

# GPT-2's layer norms are called ln_1, ln_2 and ln_f. create_optimizer leaves "LayerNorm" and "layer_norm" out of weight
# decay, which matches none of them.
NO_WEIGHT_DECAY = ["bias", "ln_"]


def check_gpt2(folder: str) -> str:
    """Return a model's folder if ``tf.keras`` can train it here: it has to be a GPT-2.

    Of today's language models Transformers 4 has next to none in TensorFlow, and this module names GPT-2's weights.

    Raises:
        ValueError: If it is another model.
    """
    kind = AutoConfig.from_pretrained(folder).model_type
    if kind != "gpt2":
        raise ValueError(
            f"tf.keras takes GPT-2 alone here, and {folder!r} is a model of the kind {kind!r}: notebook 6a trains it "
            "with PyTorch, and 6c with Keras 3 if KerasHub converts it"
        )
    return folder


class LossCallback(LossRecorder, tf.keras.callbacks.Callback):  # type: ignore[misc]  # TensorFlow has no types
    """Records the losses of ``fit``; see ``LossRecorder``."""


class HubCallback(HubUpload, tf.keras.callbacks.Callback):  # type: ignore[misc]
    """Uploads a TensorFlow model while it trains; see ``HubUpload``."""

    def save_model(self) -> None:
        """Save as a model that PyTorch and TensorFlow load."""
        export_model(self.model, self.output_dir, self.tokenizer)

    def save_checkpoint(self, epoch: int) -> None:
        """Save weights and the optimizer's state for ``tf.train.Checkpoint.read``."""
        checkpoint = tf.train.Checkpoint(model=self.model, optimizer=self.model.optimizer, epoch=tf.Variable(epoch))
        checkpoint.write(str(self.output_dir / "checkpoint" / "state"))


def collate_blocks(rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, tf.Tensor]:
    """As ``clmkit.chunking.collate_blocks``, int64 of shape (batch, block_size), for TensorFlow."""
    labels = [row.get("labels", row["input_ids"]) for row in rows]
    columns = {"input_ids": [row["input_ids"] for row in rows], "labels": labels}
    return {name: tf.constant(ids, tf.int64) for name, ids in columns.items()}


def build_optimizer(track: Track, steps: int) -> AdamWeightDecay:
    """AdamW as the Trainer of notebook 06a has it, so that the frameworks can be compared.

    That is the guide's ``AdamWeightDecay(learning_rate, weight_decay_rate=0.01)``, and in addition a learning rate that
    falls to 0 in a straight line, no weight decay of biases and layer norms, and gradients clipped to a norm of 1.

    Args:
        track: Gives the peak learning rate.
        steps: Optimizer steps in the whole run.
    """
    _, schedule = create_optimizer(init_lr=track.learning_rate, num_train_steps=steps, num_warmup_steps=0)
    return AdamWeightDecay(
        learning_rate=schedule,
        weight_decay_rate=0.01,
        exclude_from_weight_decay=NO_WEIGHT_DECAY,
        epsilon=1e-8,
        global_clipnorm=1.0,
    )


def score(
    model: TFPreTrainedModel, blocks: Dataset, batch_size: int = 16, *, tokenizer: PreTrainedTokenizerBase | None = None
) -> Score:
    """As ``clmkit.evaluation.score``, for a TensorFlow model; ``val_loss`` of ``fit`` is a mean of batch means."""
    check_whole_number("batch_size", batch_size)

    def batch_losses() -> Iterator[tuple[float, int]]:
        for batch in blocks.iter(batch_size):
            labels = tf.constant(batch.get("labels", batch["input_ids"]), tf.int32)[:, 1:]
            logits = model(input_ids=tf.constant(batch["input_ids"]), training=False).logits[:, :-1]
            counted = labels != -100
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=tf.maximum(labels, 0), logits=tf.cast(logits, tf.float32)
            )
            yield float(tf.reduce_sum(losses[counted])), int(tf.math.count_nonzero(counted))

    return sum_losses(batch_losses(), count_bytes(blocks, tokenizer))


def export_model(
    model: TFPreTrainedModel, folder: str | Path, tokenizer: PreTrainedTokenizerBase | None = None
) -> Path:
    """Save a TensorFlow model so that ``AutoModelForCausalLM.from_pretrained`` of any transformers loads it.

    ``save_pretrained`` of a TensorFlow model writes ``tf_model.h5``, which transformers 5 no longer reads. This gives
    the weights the names that PyTorch models use, by transformers' own table, and writes them as safetensors; PyTorch
    itself is not needed.

    Args:
        model: The model. Tied weights are saved once.
        folder: Is made if need be, and returned.
        tokenizer: Saved beside the model.

    Raises:
        OSError: If the folder can't be written.
    """
    tensors = {}
    for variable in model.weights:
        name, transpose = convert_tf_weight_name_to_pt_weight_name(variable.name, tf_weight_shape=variable.shape)
        array = variable.numpy()
        tensors[name] = np.ascontiguousarray(array.T if transpose.value == "simple" else array)
        if name.endswith(".bias"):
            tensors[name] = tensors[name].reshape(-1)  # transformers' Conv1D keeps its bias as a row
    with write_whole(folder) as unfinished:
        save_file(tensors, unfinished / "model.safetensors", metadata={"format": "pt"})
        model.config.architectures = [type(model).__name__.removeprefix("TF")]
        model.config.save_pretrained(unfinished)
        make_savable(model.generation_config)
        model.generation_config.save_pretrained(unfinished)
        if tokenizer is not None:
            # As files, chat templates would be written wherever their names lead: CVE-2026-9856, mended in 5.10.
            tokenizer.save_pretrained(unfinished, save_jinja_files=False)
    return Path(folder)


def train(track: Track, blocks: DatasetDict, *, batch_size: int = 8) -> TFPreTrainedModel:
    """Notebook 06b's training in one call: tune the track's model on blocks of equal length, and return it."""
    check_whole_number("batch_size", batch_size)
    set_seed(42)
    model = TFAutoModelForCausalLM.from_pretrained(download_model(track.model))
    prepare = partial(model.prepare_tf_dataset, batch_size=batch_size, collate_fn=collate_blocks)
    train_set, test_set = prepare(blocks["train"], shuffle=True), prepare(blocks["test"], shuffle=False)
    model.compile(optimizer=build_optimizer(track, len(train_set) * track.epochs), jit_compile=has_gpu())
    model.fit(x=train_set, validation_data=test_set, epochs=track.epochs, verbose=fit_verbose())
    return model


def find_or_train(track: Track) -> Path:
    """Find the tuned model that notebook 06b saved or shared, or train it now; return its folder, and say which."""

    def train_and_save(folder: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(check_gpt2(download_model(track.model)))
        export_model(train(track, prepare_blocks(track, tokenizer)), folder, tokenizer)

    return tuned_models.find_or_train(track, "tf_keras", train_and_save)
