"""One contender of ``benchmarks.keras_fit``, in a process and with a peak memory of its own.

``python -m benchmarks.keras_fit_contender JSON`` trains for one epoch and prints what it measured as JSON, on the last
line. Imports stand in the functions: no environment has all three frameworks.
"""

import json
import sys
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

from datasets import Dataset, DatasetDict, load_from_disk

from benchmarks.common import peak_memory_mb
from clmkit.tracks import BUNDLED, Track, choose_track


@dataclass(frozen=True)
class Contender:
    """A way to train.

    Attributes:
        name: Its name in the table.
        train: The function below that trains.
        backend: Of Keras 3.
        xla: Whether ``fit`` compiles the step with XLA.
        bf16: Whether to compute in bfloat16 and keep the weights in float32.
    """

    name: str
    train: str
    backend: str = "tensorflow"
    xla: bool = False
    bf16: bool = False

    @property
    def kernel(self) -> str:
        """The course's kernel that has the framework."""
        return "keras" if self.train in ("guide", "tf_keras") else "main"


@dataclass(frozen=True)
class Job:
    """What all contenders train: every block once, in batches of ``batch_size``."""

    model: str
    blocks: str
    batch_size: int
    learning_rate: float
    warmup: int

    def track(self) -> Track:
        """What clmkit's functions read model and learning rate from."""
        return replace(choose_track("quick"), model=self.model, learning_rate=self.learning_rate, epochs=1)


class Clock:
    """Notes when each step ended, and its loss. The first base of a callback class of either Keras."""

    def __init__(self) -> None:
        super().__init__()
        self.start = perf_counter()
        self.ends: list[float] = []
        self.losses: list[float] = []
        self._summed = 0.0

    def note(self, loss: float) -> None:
        """Note a step's end."""
        self.ends.append(perf_counter())
        self.losses.append(loss)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Note a step's end; Keras calls this."""
        summed = float(logs["loss"]) * (batch + 1)  # Keras gives the mean since the epoch's beginning
        self.note(summed - self._summed)
        self._summed = summed


def guide(job: Job, contender: Contender, blocks: Dataset) -> Clock:
    """``fit`` as the guide writes it; validation and upload are left out, since nothing here times them."""
    import tensorflow as tf
    from transformers import AdamWeightDecay, AutoTokenizer, DataCollatorForLanguageModeling, TFAutoModelForCausalLM

    class Callback(Clock, tf.keras.callbacks.Callback): ...

    clock = Callback()
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    tokenizer.pad_token = tokenizer.eos_token
    data_collator = DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm=False, return_tensors="tf")
    optimizer = AdamWeightDecay(learning_rate=job.learning_rate, weight_decay_rate=0.01)
    model = TFAutoModelForCausalLM.from_pretrained(job.model)
    tf_train_set = model.prepare_tf_dataset(blocks, shuffle=True, batch_size=job.batch_size, collate_fn=data_collator)
    model.compile(optimizer=optimizer)
    model.fit(x=tf_train_set, epochs=1, verbose=2, callbacks=[clock])
    return clock


def tf_keras(job: Job, contender: Contender, blocks: Dataset) -> Clock:
    """The course's notebook 06b."""
    import clmkit.training.tf_keras as course

    class Callback(Clock, course.tf.keras.callbacks.Callback): ...

    if contender.bf16:
        course.tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    course.set_seed(42)
    clock = Callback()
    model = course.TFAutoModelForCausalLM.from_pretrained(job.model)
    how = {"batch_size": job.batch_size, "shuffle": True, "collate_fn": course.collate_blocks}
    train_set = model.prepare_tf_dataset(blocks, **how)
    model.compile(optimizer=course.build_optimizer(job.track(), len(train_set)), jit_compile=contender.xla)
    model.fit(x=train_set, epochs=1, verbose=2, callbacks=[clock])
    return clock


def keras_hub(job: Job, contender: Contender, blocks: Dataset) -> Clock:
    """The course's notebook 06c."""
    import clmkit.training.keras_hub as course

    class Callback(Clock, course.keras.callbacks.Callback): ...

    if contender.bf16:
        course.keras.config.set_dtype_policy("mixed_bfloat16")
    course.keras.utils.set_random_seed(42)
    clock = Callback()
    model = course.keras_hub.models.GPT2CausalLM.from_preset(job.model, preprocessor=None)
    train_set = course.prepare_dataset(blocks, batch_size=job.batch_size, shuffle=True)
    model.compile(
        loss=course.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=course.build_optimizer(job.track(), len(train_set)),
        jit_compile=contender.xla,
    )
    model.fit(train_set, epochs=1, verbose=2, callbacks=[clock])
    return clock


def trainer(job: Job, contender: Contender, blocks: Dataset) -> Clock:
    """The course's notebook 06a."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, set_seed

    from clmkit.training.pytorch import build_trainer

    class Callback(TrainerCallback):
        # Every step is logged, and logged right after it, hence the loss is there when the step's end is noted.
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
            if "loss" in logs:
                clock.note(logs["loss"])

    set_seed(42)
    clock = Clock()
    model = AutoModelForCausalLM.from_pretrained(job.model)
    built = build_trainer(
        replace(job.track(), output_dir=f"{job.blocks}-trainer"),
        model,
        DatasetDict(train=blocks, test=blocks),
        AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2"),
        per_device_train_batch_size=job.batch_size,
        eval_strategy="no",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        bf16=contender.bf16,
        use_cpu=contender.bf16 and not torch.cuda.is_available(),  # it refuses bf16 on a CPU that was not asked for
    )
    built.add_callback(Callback())
    built.train()
    return clock


def on_gpu(contender: Contender) -> bool:
    """Whether the framework that trained sees a GPU."""
    if contender.train == "trainer" or (contender.train == "keras_hub" and contender.backend == "torch"):
        import torch

        return torch.cuda.is_available()
    import tensorflow

    return bool(tensorflow.config.list_physical_devices("GPU"))


def main() -> None:
    request = json.loads(sys.argv[1])
    contender, job = Contender(**request["contender"]), Job(**request["job"])
    blocks = load_from_disk(job.blocks)
    clock = {"guide": guide, "tf_keras": tf_keras, "keras_hub": keras_hub, "trainer": trainer}[contender.train](
        job, contender, blocks
    )
    steps = len(clock.ends) - job.warmup
    last = clock.losses[-min(steps, 10) :]
    seconds = clock.ends[-1] - clock.ends[job.warmup - 1]
    result = {
        "first_step_s": clock.ends[0] - clock.start,
        "tokens_per_s": steps * job.batch_size * len(blocks[0]["input_ids"]) / seconds,
        "peak_mb": peak_memory_mb(),
        "loss": sum(last) / len(last),
        "gpu": on_gpu(contender),
        "steps_s": [end - begin for begin, end in zip(clock.ends, clock.ends[1:], strict=False)],
    }
    print(json.dumps(result))


def command(python: str, contender: Contender, job: Job) -> list[str]:
    """The command that measures a contender."""
    request = {"contender": asdict(contender), "job": asdict(job)}
    return [python, "-m", "benchmarks.keras_fit_contender", json.dumps(request)]


if __name__ == "__main__":
    main()
