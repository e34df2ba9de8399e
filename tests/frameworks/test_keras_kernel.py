"""Run ``tests/keras_kernel`` inside the Keras kernel, a process for each file."""

from pathlib import Path

import pytest

from tests import kernels
from tests.kernels import ROOT, keras_python, run

FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "tests" / "keras_kernel").glob("test_*.py"))


def test_there_are_tests_for_the_keras_kernel() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=[path.stem for path in FILES])
def test_inside_the_keras_kernel(file: Path) -> None:
    options = ("--confcutdir=tests/keras_kernel", "-q", "-ra", "-p", "no:cacheprovider")
    ended = run(keras_python(), "-m", "pytest", str(file), *options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout, ended.stdout


def test_left_out_is_skipped_and_missing_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "KERAS_KERNEL", "no-such-kernel")
    monkeypatch.setenv("CLMKIT_KERAS", "1")
    with pytest.raises(pytest.fail.Exception, match="not registered: make setup"):
        keras_python()
    monkeypatch.setenv("CLMKIT_KERAS", "0")
    with pytest.raises(pytest.skip.Exception, match="make test KERAS=0"):
        keras_python()
