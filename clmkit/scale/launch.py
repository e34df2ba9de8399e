"""What a notebook's kernel needs before ``accelerate.notebook_launcher`` starts processes from it."""

import importlib
import os
import socket
import sys

from clmkit.messages import _, ngettext

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def prepare_launch() -> int:
    """Make this kernel safe to fork, say how many processes it can start, and why so many.

    ``notebook_launcher`` forks the kernel: each process begins as a copy of it, but with one thread. A pool of threads
    that PyTorch has started is dead in the copy, which then waits for it for ever; so the kernel keeps to one thread.
    Nor can a copy use a GPU that the kernel has touched; so GPUs are counted, and later looked for, by the driver's
    management library (NVML).

    Returns:
        Two where there are several GPUs, or no GPU but a system that can fork a running kernel; else one.

    Raises:
        RuntimeError: If PyTorch was imported before, with more threads.
    """
    os.environ.update(ONE_THREAD, PYTORCH_NVML_BASED_CUDA_CHECK="1")
    torch = importlib.import_module("torch")
    if torch.get_num_threads() > 1:
        raise RuntimeError(
            f"PyTorch was imported with {torch.get_num_threads()} threads before, and copies of this kernel "
            "could wait for them for ever. Restart the kernel and run the notebook from its first cell."
        )
    processes, message = _choose(torch.cuda.device_count())
    print(message)
    return processes


def _choose(gpus: int) -> tuple[int, str]:
    """How many processes, and the sentence that says so."""
    if gpus == 1:
        return 1, _("1 process: there is one GPU")
    if not hasattr(os, "fork"):
        return 1, _("1 process: this system cannot copy a running kernel, as notebook_launcher would")
    if gpus:  # two at least, which only other languages tell from more
        each = ngettext(
            "2 processes: each has one of the {count} GPUs", "2 processes: each has one of the {count} GPUs", gpus
        )
        return 2, each
    if sys.platform == "darwin":
        return 1, _("1 process: macOS's own libraries do not survive the copying of a kernel")
    if "google.colab" in sys.modules:
        return 1, _("1 process: notebook_launcher starts no more in Colab without GPUs")
    return 2, _("2 processes: no GPU here, so they share the CPU")


def find_port() -> int:
    """A port of this machine that is free at the moment, for processes to find each other by."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
