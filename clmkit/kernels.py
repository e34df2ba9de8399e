"""Which of the course's two kernels a notebook runs on, TensorFlow's start on it, and what its GPU computes in."""

import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

KERAS_KERNEL = "clmkit-keras"  # as Jupyter calls it
KERNEL_NAMES = {"main": "Python 3 (ipykernel)", "keras": "Causal LM course (Keras)"}

# What transformers 4.52.4 and TensorFlow say at the level of warnings though nothing is wrong: by logger, how the line
# begins. The first two say that a model was loaded whole; if it was not, other lines say so.
FALSE_ALARMS = {
    "transformers.modeling_tf_pytorch_utils": ("All PyTorch model weights were used", "All the weights of TF"),
    "transformers.pipelines.base": ("Device set to use",),
    # tf.function traces both branches of an if, so this is printed for every compiled generate.
    "transformers.generation.tf_utils": ("A decoder-only architecture is being used, but right-padding",),
    # AutoGraph runs that function as it is, which is right: it only looks at the model's class.
    "tensorflow": ("AutoGraph could not transform <function infer_framework",),
}


def use_kernel(name: Literal["main", "keras"], language: str | None = None) -> None:
    """Make sure that a notebook runs on the kernel it was written for; on the Keras one, start TensorFlow.

    The guide's TensorFlow classes are in transformers 4 alone, the rest of the course needs transformers 5, so there
    are two kernels.

    Args:
        name: ``"main"`` or ``"keras"``.
        language: What clmkit speaks from here on, unless ``CLMKIT_LANG`` says otherwise: the notebook's own language.

    Raises:
        RuntimeError: If this is the other kernel; the message says which one to choose. On the Keras kernel also if
            TensorFlow was imported too early (see ``start_tensorflow``).
    """
    if language:
        os.environ.setdefault("CLMKIT_LANG", language)
    transformers = installed_version("transformers")
    fits = transformers.startswith("4." if name == "keras" else "5.")
    if not fits or (name == "keras" and not installed_version("tf-keras")):
        wanted = KERNEL_NAMES[name]
        raise RuntimeError(
            f"This notebook needs the kernel {wanted!r}; the one it runs on has transformers "
            f"{transformers or 'not'} installed. In JupyterLab choose Kernel > Change Kernel > {wanted}, in "
            "Colab Runtime > Disconnect and delete runtime, then run the notebook from its first cell."
        )
    if name == "keras":
        start_tensorflow(legacy_keras=True)
        for logger, beginnings in FALSE_ALARMS.items():
            logging.getLogger(logger).addFilter(partial(_is_news, beginnings))


def installed_version(package: str) -> str:
    """The version of a package; an empty text if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _is_news(beginnings: tuple[str, ...], record: logging.LogRecord) -> bool:
    return not record.getMessage().lstrip().startswith(beginnings)


def start_tensorflow(*, legacy_keras: bool = False) -> None:
    """Import TensorFlow and let it look for GPUs, without the lines that it prints while it does.

    Its C++ part logs that it may use oneDNN and that there is no CUDA before any setting of the log level counts
    (2.21). What else it prints, errors above all, is passed on.

    Args:
        legacy_keras: Make ``tf.keras`` Keras 2, which transformers' TensorFlow models need. That is decided when
            TensorFlow is imported, by the environment variable ``TF_USE_LEGACY_KERAS``.

    Raises:
        ModuleNotFoundError: If Keras 2 is needed and not installed.
        RuntimeError: If Keras 2 is needed and TensorFlow was imported with Keras 3 before.
    """
    if legacy_keras and not importlib.util.find_spec("tf_keras"):
        raise ModuleNotFoundError(
            "tf_keras is not installed: transformers' TensorFlow classes, which need it, work on the kernel "
            f"{KERNEL_NAMES['keras']!r} alone"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if legacy_keras:
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    if "tensorflow" not in sys.modules:
        with _without_start_up_lines():
            import tensorflow

            tensorflow.config.list_physical_devices()
    import tensorflow as tf

    if legacy_keras and not tf.keras.Model.__module__.startswith("tf_keras"):
        raise RuntimeError(
            "TensorFlow was imported before TF_USE_LEGACY_KERAS=1 was set, so tf.keras is Keras 3, which "
            "transformers' TensorFlow models don't work with. Restart the kernel and run the notebook from its "
            "first cell; in a script, set the variable before the first import."
        )


def gpu_precision() -> Literal["bfloat16", "float16", "float32"] | None:
    """In what PyTorch computes fastest on this GPU of NVIDIA or AMD, with the weights in float32; ``None`` without one.

    bfloat16 where the GPU has it (emulation does not count), float16 from compute capability 7 on: a T4 computes in it
    eight times as fast as in float32.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bfloat16"
    return "float16" if torch.cuda.get_device_capability() >= (7, 0) else "float32"


@contextmanager
def _without_start_up_lines() -> Iterator[None]:
    """Hold back what is written to the process's stderr, then pass on all but TensorFlow's lines about its start."""
    expected = ("I0000 ", "WARNING: All log messages before absl::InitializeLog()")
    no_driver = "cuInit: UNKNOWN ERROR (303)"  # there is no CUDA library at all: a machine without such a GPU
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                if line.strip() and not line.startswith(expected) and no_driver not in line:
                    print(line, file=sys.stderr)


def has_gpu() -> bool:
    """Whether PyTorch, or TensorFlow where there is no PyTorch, sees a GPU (CUDA, ROCm or Apple's MPS)."""
    if importlib.util.find_spec("torch"):
        import torch

        return torch.cuda.is_available() or torch.backends.mps.is_available()
    if importlib.util.find_spec("tensorflow"):
        import tensorflow

        return bool(tensorflow.config.list_physical_devices("GPU"))
    return False
