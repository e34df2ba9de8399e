import logging
import logging.handlers
import os
import queue
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from typing import Any, Literal

import pytest

from clmkit import kernels
from clmkit.kernels import FALSE_ALARMS, KERNEL_NAMES, _without_start_up_lines, start_tensorflow, use_kernel
from tests.kernels import keras_python

MAIN = {"transformers": "5.23.0"}
KERAS = {"transformers": "4.52.4", "tf-keras": "2.21.0"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], list[dict[str, bool]]]:
    """Pretend that just these packages are there, and note how TensorFlow would have been started."""

    def pretend(packages: dict[str, str]) -> list[dict[str, bool]]:
        starts: list[dict[str, bool]] = []

        def version(name: str) -> str:
            if name not in packages:
                raise PackageNotFoundError(name)
            return packages[name]

        monkeypatch.setattr(kernels, "version", version)
        monkeypatch.setattr(kernels, "start_tensorflow", lambda **options: starts.append(options))
        return starts

    return pretend


@pytest.fixture(autouse=True)
def _filters_as_before() -> Iterator[None]:
    before = {name: logging.getLogger(name).filters[:] for name in FALSE_ALARMS}
    yield
    for name, filters in before.items():
        logging.getLogger(name).filters[:] = filters


def test_this_is_the_main_kernel() -> None:
    use_kernel("main")


def test_the_main_kernel_starts_no_tensorflow(installed: Any) -> None:
    starts = installed(MAIN)
    use_kernel("main")
    assert starts == []


def test_the_keras_kernel_starts_tensorflow_with_keras_2(installed: Any) -> None:
    starts = installed(KERAS)
    use_kernel("keras")
    assert starts == [{"legacy_keras": True}]


@pytest.mark.parametrize(
    ("wanted", "packages", "there"),
    [
        ("main", KERAS, "transformers 4.52.4"),
        ("main", {}, "transformers not"),
        ("keras", MAIN, "transformers 5.23.0"),
        ("keras", MAIN | {"tf-keras": "2.21.0"}, "transformers 5.23.0"),
        ("keras", {"transformers": "4.52.4"}, "transformers 4.52.4"),  # no Keras 2
        ("keras", {}, "transformers not"),
    ],
)
def test_the_wrong_kernel_is_an_error_that_names_the_right_one(
    installed: Any, wanted: Literal["main", "keras"], packages: dict[str, str], there: str
) -> None:
    starts = installed(packages)
    with pytest.raises(RuntimeError) as caught:
        use_kernel(wanted)
    message = str(caught.value)
    (other,) = set(KERNEL_NAMES.values()) - {KERNEL_NAMES[wanted]}
    assert f"Kernel > Change Kernel > {KERNEL_NAMES[wanted]}" in message
    assert other not in message
    assert there in message
    assert starts == []


def test_the_names_of_the_kernels_are_those_that_jupyter_shows() -> None:
    from jupyter_client.kernelspec import KernelSpecManager

    keras_python()
    manager = KernelSpecManager()
    shown = {name: manager.get_kernel_spec(name).display_name for name in ("python3", kernels.KERAS_KERNEL)}
    assert shown == {"python3": KERNEL_NAMES["main"], kernels.KERAS_KERNEL: KERNEL_NAMES["keras"]}


def test_the_tensorflow_classes_are_named_as_the_other_kernels_where_keras_2_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"tf_keras is not installed.*Causal LM course \(Keras\)"):
        start_tensorflow(legacy_keras=True)
    assert "TF_USE_LEGACY_KERAS" not in os.environ  # or this kernel's own Keras 3 would be gone


@pytest.mark.parametrize("name", FALSE_ALARMS)
def test_false_alarms_are_held_back_and_all_else_of_the_same_logger_is_not(
    installed: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    installed(KERAS)
    use_kernel("keras")
    logger, passed = logging.getLogger(name), queue.SimpleQueue[logging.LogRecord]()
    monkeypatch.setattr(logger, "handlers", [logging.handlers.QueueHandler(passed)])
    monkeypatch.setattr(logger, "propagate", False)
    for beginning in FALSE_ALARMS[name]:
        logger.warning("%s and so on", beginning)
        logger.warning("\n%s after a blank line", beginning)
    logger.warning("Some weights were newly initialized")
    logger.error("Not at the beginning: %s", FALSE_ALARMS[name][0])
    assert [passed.get_nowait().levelname for _ in range(passed.qsize())] == ["WARNING", "ERROR"]


START_UP = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1.2  10 port.cc:153] oneDNN custom operations are on.\n"
    "E0000 00:00:1.2  10 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed "
    "call to cuInit: UNKNOWN ERROR (303)\n"
)
ERROR = "E0000 00:00:1.2  10 cuda_dnn.cc:8] failed call to cuInit: out of memory"


def test_tensorflows_lines_about_its_start_are_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with _without_start_up_lines():
        os.write(2, START_UP.encode())
    assert capfd.readouterr().err == ""


def test_what_else_is_written_meanwhile_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with _without_start_up_lines():
        os.write(2, f"{START_UP}{ERROR}\n{START_UP}no newline, \xff".encode("latin-1"))
    os.write(2, b"\nafter")
    assert capfd.readouterr().err == f"{ERROR}\nno newline, \ufffd\n\nafter"


def test_what_is_written_before_an_error_is_passed_on_with_it(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with _without_start_up_lines():
            os.write(2, f"{ERROR}\n".encode())
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    assert capfd.readouterr().err == f"{ERROR}\n"
