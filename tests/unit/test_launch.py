import importlib
import os
import socket
import sys
from types import SimpleNamespace

import pytest

from clmkit.scale.launch import find_port, prepare_launch


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux machine without GPUs, whose PyTorch was imported with one thread; the environment is put back."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTORCH_NVML_BASED_CUDA_CHECK"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    pretend(monkeypatch)


def pretend(monkeypatch: pytest.MonkeyPatch, *, gpus: int = 0, threads: int = 1) -> None:
    cuda = SimpleNamespace(device_count=lambda: gpus)
    torch = SimpleNamespace(cuda=cuda, get_num_threads=lambda: threads)
    monkeypatch.setattr(importlib, "import_module", {"torch": torch}.__getitem__)


def test_without_a_gpu_two_processes_of_one_thread_share_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare_launch() == 2
    assert capsys.readouterr().out == "2 processes: no GPU here, so they share the CPU\n"
    assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"


@pytest.mark.parametrize(
    ("gpus", "line"), [(1, "1 process: there is one GPU"), (4, "2 processes: each has one of the 4 GPUs")]
)
def test_two_gpus_are_used_if_there_are_as_many(
    gpus: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, gpus=gpus)
    assert prepare_launch() == min(gpus, 2)
    assert capsys.readouterr().out == f"{line}\n"


def test_where_a_kernel_cannot_be_forked_it_is_one_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as windows:
        windows.delattr(os, "fork")
        assert prepare_launch() == 1
    assert "1 process: this system cannot copy a running kernel" in capsys.readouterr().out
    with monkeypatch.context() as mac:
        mac.setattr(sys, "platform", "darwin")
        assert prepare_launch() == 1
    assert "macOS" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
    assert prepare_launch() == 1
    assert "Colab" in capsys.readouterr().out


def test_a_kernel_with_threads_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, threads=2)
    with pytest.raises(RuntimeError, match=r"2 threads.*Restart the kernel"):
        prepare_launch()


def test_a_port_is_found_that_can_be_listened_on() -> None:
    with socket.socket() as first, socket.socket() as second:
        for listener in (first, second):
            listener.bind(("127.0.0.1", find_port()))
            listener.listen()
