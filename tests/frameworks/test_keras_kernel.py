"""Run ``tests/keras_kernel`` inside the Keras kernel, a process for each file."""

from pathlib import Path

import pytest

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
