"""How PyTorch's threads wait for each other is set before PyTorch is imported, unless somebody has set it already."""

import os
import subprocess
import sys

import pytest

SCRIPT = "import os, clmkit; print(os.environ.get('GOMP_SPINCOUNT'))"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_importing_clmkit_lets_threads_spin_for_a_moment_only(chosen: dict[str, str], expected: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=kept | chosen, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == expected
