"""How many checkpoints a run keeps."""

from pathlib import Path

import pytest

from clmkit.scale.checkpoints import checkpoints, remove_older, step_of


@pytest.mark.parametrize(("keep", "left"), [(None, [6, 4, 2]), (0, [6, 4, 2]), (-1, [6, 4, 2]), (1, [6]), (2, [6, 4])])
def test_a_limit_of_none_zero_or_less_keeps_all_as_the_trainer_does(
    tmp_path: Path, keep: int | None, left: list[int]
) -> None:
    for step in (2, 4, 6):
        (tmp_path / f"checkpoint-{step}").mkdir()
    remove_older(tmp_path / "checkpoint-6", keep)
    assert sorted((step_of(folder) for folder in checkpoints(tmp_path)), reverse=True) == left
