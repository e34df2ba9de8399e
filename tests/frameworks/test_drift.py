"""Every loss of five short runs is the recorded one: within 1e-5 on its versions and kind of CPU, else within 1 %."""

import json

import pytest

from tests.frameworks import drift

RECORDED = json.loads(drift.LOSSES.read_text(encoding="utf-8"))


def test_the_record_has_every_step_of_every_job() -> None:
    assert RECORDED.keys() == drift.PACKAGES.keys()
    assert {len(job["losses"]) for job in RECORDED.values()} == {drift.STEPS}
    assert all(len(set(job["losses"])) == drift.STEPS for job in RECORDED.values())


def test_the_three_frameworks_take_the_same_steps() -> None:
    """PyTorch shuffles its own way; the other two were given the blocks in order."""
    assert RECORDED["keras_hub"]["losses"] == pytest.approx(RECORDED["tf_keras"]["losses"], rel=1e-5)


@pytest.mark.parametrize("job", drift.PACKAGES)
def test_no_loss_has_moved(job: str) -> None:
    found, recorded = drift.start(job), RECORDED[job]
    moved = {name: (of, found["versions"][name]) for name, of in recorded["versions"].items()}
    moved = {name: pair for name, pair in moved.items() if pair[0] != pair[1]}
    tolerance = 1e-5 if drift.same_arithmetic() and not moved else 0.01
    why = f"{job} learns otherwise than recorded; versions that moved since: {moved or 'none'}"
    assert found["losses"] == pytest.approx(recorded["losses"], rel=tolerance), why
