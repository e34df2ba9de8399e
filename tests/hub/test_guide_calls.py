"""The guide's own calls to the Hub, by the real clients: they work as the notebooks say, weak spots and all."""

import shutil

import pytest

from clmkit.tracks import HUB_DATA, HUB_MODEL, MODEL_NAME
from tests.hub.clients import run_client
from tests.hub.course import serve_course
from tests.hub.faults import Fault
from tests.hub.server import StandInHub

SHARED = f"ada/{MODEL_NAME}"

TRAINER = f"""
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, default_data_collator
eli5 = load_dataset("{HUB_DATA}", split="train[:5]")
tokenizer = AutoTokenizer.from_pretrained("{HUB_MODEL}")
ids = tokenizer([text for answers in eli5["answers"] for text in answers["text"]], truncation=True, max_length=32,
                verbose=False).input_ids
blocks = [dict(input_ids=block, labels=block) for block in ids if len(block) == 32]
trainer = Trainer(
    model=AutoModelForCausalLM.from_pretrained("{HUB_MODEL}"),
    args=TrainingArguments("{MODEL_NAME}", push_to_hub=True, save_strategy="epoch", num_train_epochs=1),
    train_dataset=blocks,
    data_collator=default_data_collator,
    processing_class=tokenizer,
)
trainer.train()
print("trained")
trainer.push_to_hub()
"""

KERAS = f"""
from clmkit.kernels import start_tensorflow
start_tensorflow(legacy_keras=True)
import numpy as np
from transformers import AutoTokenizer, TFAutoModelForCausalLM
from transformers.keras_callbacks import PushToHubCallback
from huggingface_hub import login
import sys
login(sys.argv[1], add_to_git_credential=False)
tokenizer = AutoTokenizer.from_pretrained("{HUB_MODEL}")
model = TFAutoModelForCausalLM.from_pretrained("{HUB_MODEL}")
model.compile(optimizer="adam")
ids = np.arange(64).reshape(2, 32)
callback = PushToHubCallback(output_dir="{MODEL_NAME}", tokenizer=tokenizer)
model.fit(dict(input_ids=ids, labels=ids), epochs=1, callbacks=[callback], verbose=0)
"""


def test_the_trainers_own_push_works(hub: StandInHub) -> None:
    serve_course(hub)
    client = run_client(hub, "main", TRAINER, HF_TOKEN=hub.add_token("ada"))
    assert client.returncode == 0, client.stderr
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(hub.files(SHARED))
    assert "commit" not in hub.files(SHARED)["README.md"].decode()  # no revision of the data


def test_the_trainer_says_nothing_of_an_upload_that_fails_while_it_trains(hub: StandInHub) -> None:
    serve_course(hub)
    fault = hub.inject(Fault("status", path="/commit/"))
    client = run_client(hub, "main", TRAINER, HF_TOKEN=hub.add_token("ada"))
    assert (client.returncode, fault.used) == (0, 1)
    assert "503" not in client.stdout + client.stderr
    assert "End of training" in hub.commits(SHARED)


def test_the_keras_callback_of_transformers_writes_the_token_into_files(hub: StandInHub) -> None:
    if shutil.which("git-lfs") is None:
        pytest.skip("git-lfs, which transformers' PushToHubCallback drives, is not installed")
    serve_course(hub)
    token = hub.add_token("ada")
    client = run_client(hub, "keras", KERAS, token)
    assert client.returncode == 0, client.stderr
    home = hub.folder / "home"
    for path in (home / ".git-credentials", home / MODEL_NAME / ".git" / "config"):
        assert token in path.read_text()
        path.unlink()  # no token is to be left when the tests end
    assert "lfs" in (home / ".gitconfig").read_text()


def test_kerashub_loads_a_model_by_its_name_on_the_hub(hub: StandInHub) -> None:
    serve_course(hub)
    code = (
        f"from keras_hub.models import GPT2CausalLM; print(GPT2CausalLM.from_preset('hf://{HUB_MODEL}').count_params())"
    )
    client = run_client(hub, "main", code, KERAS_BACKEND="torch")
    assert client.stdout.strip() == "3248640", client.stderr
