"""What a model costs: what its folder and the Hub tell, and what is said where nothing is known."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file, save_file
from transformers import T5Config

from clmkit import costs
from clmkit.costs import ModelFacts, describe_minutes, describe_model, learning_rate, model_facts, tokens_per_second
from clmkit.tracks import CHAT_MODELS, TINY_MODEL, choose_track


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    model_facts.cache_clear()


def hub_that(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    def model_info(self: Any, name: str, timeout: float) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(costs.HfApi, "model_info", model_info)


def test_a_folder_tells_its_parameters_whatever_their_precision_and_in_parts(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3, 5, dtype=torch.bfloat16)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.zeros(7)}, tmp_path / "model-2.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n\n# A model\n")
    assert model_facts(str(tmp_path)) == (22, "mit")


def test_the_bundled_model_is_what_its_weights_are() -> None:
    numbers = sum(tensor.numel() for tensor in load_file(TINY_MODEL / "model.safetensors").values())
    assert model_facts(str(TINY_MODEL)).parameters == numbers


def test_the_hub_is_asked_for_what_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(license="llama3.2")
    hub_that(
        monkeypatch, SimpleNamespace(safetensors=SimpleNamespace(total=1_235_814_400), card_data=card, config=None)
    )
    assert model_facts("someone/large") == (1_235_814_400, "llama3.2")
    assert "1,236 million parameters, licence llama3.2" in describe_model("someone/large")
    assert "19.8 GB of memory" in describe_model("someone/large")


@pytest.mark.parametrize(
    "answer", [SimpleNamespace(safetensors=None, card_data=None, config=None), OSError("down"), TimeoutError()]
)
def test_where_nothing_is_known_nothing_is_said(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    hub_that(monkeypatch, answer)
    assert model_facts("someone/unknown") == ModelFacts(None, None)
    assert describe_model("someone/unknown") == ""


def test_a_hub_that_was_silent_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub_that(monkeypatch, OSError("down"))
    assert choose_track("quick", model="someone/small").learning_rate == 2e-5
    answer = SimpleNamespace(safetensors=SimpleNamespace(total=3_000_000), card_data=None, config=None)
    monkeypatch.setattr(costs, "HfApi", lambda: SimpleNamespace(model_info=lambda name, timeout: answer))
    assert choose_track("quick", model="someone/small").learning_rate == 5e-4
    assert "3 million parameters" in capsys.readouterr().out


def test_an_answer_of_the_hub_that_is_an_error_is_no_error_here(monkeypatch: pytest.MonkeyPatch) -> None:
    response = SimpleNamespace(status_code=503, headers={}, request=None)
    hub_that(monkeypatch, HfHubHTTPError("busy", response=response))
    assert model_facts("someone/busy") == ModelFacts(None, None)


@pytest.mark.parametrize(
    ("parameters", "whole", "adapter"), [(2e6, 5e-4, 5e-4), (82e6, 2e-5, 5e-4), (7e9, 2e-5, 2e-4), (None, 2e-5, 5e-4)]
)
def test_the_rate_goes_by_the_size(
    monkeypatch: pytest.MonkeyPatch, parameters: float | None, whole: float, adapter: float
) -> None:
    monkeypatch.setattr(costs, "model_facts", lambda name: ModelFacts(parameters and int(parameters), None))
    assert (learning_rate("any"), learning_rate("any", adapter=True)) == (whole, adapter)


def test_ten_minutes_are_what_they_are_said_to_be() -> None:
    said = describe_minutes(82e6, 5000, 334, 3, 128)
    assert "about 186 minutes" in said
    assert "choose_track(rows=269)" in said
    seconds = 269 * 0.8 * 334 * 3 / tokens_per_second(82e6)
    assert 590 < seconds <= 600


def test_another_model_on_the_sample_is_told_its_minutes_unless_it_is_to_be_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("clmkit.tracks.has_gpu", lambda: False)
    monkeypatch.setattr("clmkit.tracks.model_facts", lambda name: ModelFacts(135_000_000, None))
    choose_track("quick", model=CHAT_MODELS["quick"])
    said = " ".join(capsys.readouterr().out.split())
    assert "Training takes about 20 minutes on two CPU cores. Ten minutes are enough for 246 rows" in said
    choose_track("quick", model=CHAT_MODELS["quick"], rows=40, epochs=1)
    said = " ".join(capsys.readouterr().out.split())
    assert "Training takes about 1 minute on two CPU cores. To change it" in said
    choose_track("quick", chat=True)
    assert "Training takes" not in capsys.readouterr().out


def test_chat_takes_the_tracks_own_chat_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert choose_track("quick", chat=True).model == CHAT_MODELS["quick"]
    assert f"Track quick: {CHAT_MODELS['quick']} on" in capsys.readouterr().out
    with pytest.raises(ValueError, match="give one of the two"):
        choose_track("quick", chat=True, model="mine")


def test_a_folder_with_odd_files_is_described_as_far_as_it_can_be(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    for card in ("---\nlicense: [mit\n---\n", "---\njust words\n---\n", "---\nlicense: [mit, gpl]\n---\n"):
        model_facts.cache_clear()
        (tmp_path / "README.md").write_text(card)
        assert model_facts(str(tmp_path)) == (None, "mit, gpl" if "gpl" in card else None)
    (tmp_path / "README.md").write_bytes(b"---\nlicense: caf\xe9\n---\n")
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    model_facts.cache_clear()
    assert model_facts(str(tmp_path)) == (None, None)
    assert model_facts("./no such folder") == (None, None)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "of the type 't5' continues no text"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "of the type 'bert' is an encoder"),
        ({"model_type": "of_tomorrow"}, r"of the type 'of_tomorrow', which Transformers \d.* does not know"),
    ],
)
def test_what_is_no_causal_language_model_on_the_hub_is_refused_where_it_is_chosen(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], message: str
) -> None:
    hub_that(monkeypatch, SimpleNamespace(safetensors=None, card_data=None, config=config))
    with pytest.raises(ValueError, match=message):
        choose_track("quick", model="someone/other")


def test_a_decoder_of_a_family_of_encoders_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"model_type": "roberta", "architectures": ["RobertaForCausalLM"]}
    hub_that(monkeypatch, SimpleNamespace(safetensors=None, card_data=None, config=config))
    assert model_facts("someone/decoder") == ModelFacts(None, None)


def test_a_folder_that_holds_no_causal_language_model_is_refused_where_it_is_chosen(tmp_path: Path) -> None:
    T5Config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="of the type 't5' continues no text of its own"):
        choose_track("quick", model=tmp_path)
