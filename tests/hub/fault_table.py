"""The faults of the Hub and of the way to it, by the course's steps, and what a learner gets under each: data only."""

from dataclasses import dataclass, replace
from typing import Literal

from clmkit.tracks import HUB_MODEL
from tests.hub.clients import Kernel
from tests.hub.faults import Fault
from tests.hub.repositories import RepoType

Step = Literal["log in", "choose the track", "get the model", "get the data", "share", "share while training"]
BOTH: tuple[Kernel, ...] = ("main", "keras")
CLIENTS = r"^(huggingface_hub|httpx2|requests|json|urllib3)\."
HALF = rf"{CLIENTS}|^builtins\.FileNotFoundError$"  # 0.36 gives what there is, without a word
OURS = r"^builtins\.OSError$"  # of the operating system, or clmkit's own for wrong bytes

# What a client runs. ``result`` is what the tests compare with the Hub's own files.
LOG_IN = """
from clmkit.hub.login import login_status
print(login_status())
"""
CHOOSE_SHARING = """
from clmkit.hub.login import choose_sharing
choose_sharing(True)
"""
GET_MODEL = """
from clmkit.hub.download import download_model
from clmkit.tracks import choose_track
result = download_model(choose_track("full", rows=50).model)
"""
GET_TOKENIZER = GET_MODEL.replace(".model)", ".model, weights=False)")
BREAK_OFF = """
from huggingface_hub import snapshot_download
snapshot_download("distilbert/distilgpt2", ignore_patterns=[".git*", "vocab.json", "merges.txt"])
"""
GET_DATA = """
from clmkit.eli5 import load_eli5
from clmkit.tracks import choose_track
rows = load_eli5(choose_track("full", rows=50))
result = {"rows": list(rows), "from": rows.info.description}
"""
SAVE_MODEL = """
import shutil
from clmkit.tracks import BUNDLED
shutil.copytree(BUNDLED / "tiny_gpt2", "mine", dirs_exist_ok=True)
with open("mine/README.md", "w") as card:
    print("---\\nlicense: apache-2.0\\n---\\n\\n# mine", file=card)
"""
SAVE_ADAPTER = """
import json, os
import numpy as np
from safetensors.numpy import save_file
os.makedirs("mine", exist_ok=True)
save_file({"layer.lora_A.weight": np.ones((500, 500), np.float32)}, "mine/adapter_model.safetensors")
with open("mine/adapter_config.json", "w") as config:
    json.dump({"peft_type": "LORA", "base_model_name_or_path": "distilbert/distilgpt2"}, config)
with open("mine/README.md", "w") as card:
    print("---\\nlicense: apache-2.0\\n---\\n\\n# mine", file=card)
"""
GET_ADAPTER = """
from clmkit.hub.adapters import download_adapter
result = str(download_adapter("ada/mine"))
"""
PUSH = """
from clmkit.hub.upload import push_model
result = push_model("mine")
print(result)
"""
TRAIN_WITH_TRAINER = """
from transformers import AutoModelForCausalLM, AutoTokenizer
from clmkit.tracks import choose_track
from clmkit.chunking import prepare_blocks
from clmkit.training.pytorch import build_trainer
track = choose_track("quick", rows=20, epochs=2)
tokenizer = AutoTokenizer.from_pretrained(track.model)
model = AutoModelForCausalLM.from_pretrained(track.model)
blocks = prepare_blocks(track, tokenizer, 32)
blocks = blocks.__class__({side: some.select(range(8)) for side, some in blocks.items()})
trainer = build_trainer(track, model, blocks, tokenizer, push_to_hub=True, output_dir="mine", use_cpu=True)
trainer.train()
print("trained for", trainer.state.global_step, "steps")
"""
TRAIN_WITH_KERAS = """
from clmkit.training import tf_keras
from transformers import AutoTokenizer, TFAutoModelForCausalLM
from clmkit.tracks import choose_track
track = choose_track("quick", rows=20, epochs=2)
model = TFAutoModelForCausalLM.from_pretrained(track.model)
callback = tf_keras.HubCallback("mine", tokenizer=AutoTokenizer.from_pretrained(track.model))
callback.set_model(model)
callback.on_train_begin()
for epoch in range(2):
    model.weights[-1].assign_add(0.1 + model.weights[-1])  # a step of training, without TensorFlow's minute of tracing
    callback.on_train_batch_end(0)
    callback.on_epoch_end(epoch)
    while callback.uploads.busy:
        time.sleep(0.05)
callback.on_train_end()
print("trained for 2 steps")
"""
TRAIN: dict[Kernel, str] = {"main": TRAIN_WITH_TRAINER, "keras": TRAIN_WITH_KERAS}

SHARING_FAILED = "(uploading to ada/mine|making the repository mine) failed"
SHARING_REMEDY = r"The model is safe in mine; to upload it: push_model\('mine'\)|everything else works without"

# A sentence names what was being done and what to do now, whatever the fault is.
NAMES_STEP: dict[Step, str] = {
    "log in": "token|sharing",
    "choose the track": "the full track needs the Hugging Face Hub",
    "get the model": "downloading (distilbert/distilgpt2|ada/mine) failed",
    "get the data": "(reading .*parquet|downloading dany0407/eli5_category)( .*)? failed",
    "share": SHARING_FAILED,
    "share while training": SHARING_FAILED,
}
NAMES_REMEDY: dict[Step, str] = {
    "log in": r"works without|choose_sharing\(False\)|Make a new one",
    "choose the track": r"choose_track\('quick'\)",
    "get the model": r"run this again|choose_track\('quick'\)",
    "get the data": r"run this again|choose_track\('quick'\)",
    "share": SHARING_REMEDY,
    "share while training": SHARING_REMEDY,
}

# Where requests go, as regular expressions on their paths.
MODEL_FILE = r"^/distilbert/.*/resolve/"
MODEL_CDN = r"^/cdn/distilbert/"
SECOND_FILE = r"^/cdn/distilbert/.*/model-00002"
MODEL = r"/distilbert/"
TOKENIZER_FILE = r"/vocab\.json$"
DATA = r"/datasets/dany0407/"
DATA_CDN = r"^/cdn/datasets/"
AUTHORS = r"^/eli5c/"
PAST_THE_FRONT_PAGE = r"^/."
COMMIT = "/commit/main$"
PUT = r"^/cdn/ada/"
SHARED = "ada/mine"


@dataclass(frozen=True)
class Row:
    """A fault, and what a learner gets under it.

    Attributes:
        fault: What goes wrong, in words.
        step: What the learner is doing.
        code: What the learner runs; the same code runs again when the fault is over, and has to work then.
        faults: What is injected; each row plays with copies of its own.
        sees: A regular expression that is found in what is printed and in the error's message.
        raises: The error's class; empty where the step survives, or only prints a sentence.
        cause: A regular expression for the class of an exception that led to the error: one of the Hub's clients.
        down: Whether the Hub is stopped when the code runs.
        before: Code that runs first, while all is well: the earlier notebooks, or an earlier run that fills the cache.
        token: What ``HF_TOKEN`` is.
        repository: Which model is got.
        shards: In how many files the course's model has its weights.
        private: Repositories that only their owner may read.
        file_limit: No file may grow larger than so many bytes: what a full disk does.
        processes: How many clients run the code at once.
        limit: Seconds that the step may take, with real sleeps and the imports of its code.
        then: What runs when the fault is over, where that is not the same code: what the sentence says to do.
        kernels: Where the row is played.
    """

    fault: str
    step: Step
    code: str | dict[Kernel, str]
    faults: tuple[Fault, ...] = ()
    sees: str = ""
    raises: str = ""
    cause: str = CLIENTS
    down: bool = False
    before: str = ""
    token: Literal["", "write", "read", "fine, read", "fine, other", "wrong"] = ""
    repository: str = HUB_MODEL
    shards: int = 1
    private: tuple[RepoType, ...] = ()
    file_limit: int = 0
    processes: int = 1
    limit: float = 30.0
    then: str = ""
    kernels: tuple[Kernel, ...] = BOTH

    @property
    def name(self) -> str:
        return f"{self.step}: {self.fault}"

    def code_on(self, kernel: Kernel) -> str:
        return self.code if isinstance(self.code, str) else self.code[kernel]

    @property
    def survives(self) -> bool:
        """Whether the step does its work in spite of the fault, and says no word about it."""
        return not self.raises and not self.sees


def status(status: int, path: str, method: str = "", times: int | None = None, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault("status", path, method, times, status=status, headers=named)


UNCHECKED = "There is a token, but it can't be checked now"
SAFE = "uploading to ada/mine failed: "

LOGIN_ROWS = [
    Row(
        "503",
        "log in",
        LOG_IN,
        (status(503, "whoami"),),
        f"{UNCHECKED}: the Hub answers with status 503",
        token="write",
    ),
    Row(
        "429",
        "log in",
        LOG_IN,
        (status(429, "whoami"),),
        f"{UNCHECKED}: the Hub answers with status 429",
        token="write",
    ),
    Row("503 everywhere", "log in", LOG_IN, (status(503, ""),), f"{UNCHECKED}: .* status 503", token="write"),
    Row(
        "the Hub is down", "log in", LOG_IN, (), f"{UNCHECKED}: .* does not answer", token="write", down=True, limit=10
    ),
    Row("a wrong token", "log in", LOG_IN, (), "The Hub refuses the token .*Make a new one", token="wrong"),
    Row(
        "a page of HTML",
        "log in",
        LOG_IN,
        (Fault("html", times=None),),
        f"{UNCHECKED}: .*is not the Hub",
        token="write",
    ),
    Row("no answer", "log in", LOG_IN, (Fault("stall", "whoami", times=None, seconds=40),), UNCHECKED, token="write"),
    Row("no answer at all", "log in", LOG_IN, (Fault("stall", "", times=None, seconds=40),), UNCHECKED, token="write"),
    Row(
        "a fine-grained token that may read, sharing wanted",
        "log in",
        CHOOSE_SHARING,
        (),
        "the token of ada may only read",
        "PermissionError",
        "",
        token="fine, read",
    ),
    Row(
        "503, sharing wanted",
        "log in",
        CHOOSE_SHARING,
        (status(503, "whoami"),),
        "status 503",
        "ConnectionError",
        token="write",
    ),
    Row(
        "the Hub is down, sharing wanted",
        "log in",
        CHOOSE_SHARING,
        (),
        "does not answer",
        "ConnectionError",
        "",
        token="write",
        down=True,
        limit=10,
    ),
    Row(
        "a page of HTML, sharing wanted",
        "log in",
        CHOOSE_SHARING,
        (Fault("html", times=None),),
        "is not the Hub",
        "ConnectionError",
        token="write",
    ),
]

MODEL_ROWS = [
    Row(
        "the Hub is down, nothing in the cache",
        "choose the track",
        GET_MODEL,
        (),
        "does not answer",
        "ConnectionError",
        down=True,
        limit=10,
    ),
    Row(
        "503 everywhere",
        "choose the track",
        GET_MODEL,
        (status(503, ""),),
        "status 503",
        "ConnectionError",
    ),
    Row(
        "no answer at all",
        "choose the track",
        GET_MODEL,
        (Fault("stall", times=None, seconds=40),),
        "does not answer",
        "ConnectionError",
    ),
    Row(
        "the Hub is down, all in the cache",
        "get the model",
        GET_MODEL,
        before=GET_MODEL + GET_DATA,
        down=True,
        limit=10,
    ),
    Row(
        "the Hub goes down, the tokenizer in the cache",
        "get the model",
        GET_MODEL,
        (Fault("drop", PAST_THE_FRONT_PAGE, times=None),),
        "downloading",
        "ConnectionError",
        cause=HALF,
        before=GET_TOKENIZER,
    ),
    Row(
        "the Hub goes down, half of the tokenizer in the cache",
        "get the model",
        GET_MODEL,
        (Fault("drop", PAST_THE_FRONT_PAGE, times=None),),
        "downloading",
        "ConnectionError",
        cause=HALF,
        before=BREAK_OFF,
    ),
    Row(
        "the Hub goes down after the track was chosen",
        "get the model",
        GET_MODEL,
        (Fault("drop", PAST_THE_FRONT_PAGE, times=None),),
        "downloading",
        "ConnectionError",
    ),
    Row(
        "no answer past the front page",
        "get the model",
        GET_MODEL,
        (Fault("stall", PAST_THE_FRONT_PAGE, times=None, seconds=40),),
        "Time",
        "ConnectionError",
    ),
    Row(
        "no answer past the front page, all in the cache",
        "get the model",
        GET_MODEL,
        (Fault("stall", PAST_THE_FRONT_PAGE, times=None, seconds=40),),
        before=GET_MODEL,
    ),
    Row(
        "a page of HTML", "get the model", GET_MODEL, (Fault("html", times=None),), "is not the Hub", "ConnectionError"
    ),
    Row("a page of HTML, all in the cache", "get the model", GET_MODEL, (Fault("html", times=None),), before=GET_MODEL),
    Row("HEAD 503 once", "get the model", GET_MODEL, (status(503, MODEL_FILE, "HEAD", 1),)),
    Row(
        "HEAD 503 always",
        "get the model",
        GET_MODEL,
        (status(503, MODEL_FILE, "HEAD"),),
        "status 503",
        "ConnectionError",
    ),
    Row("revision 503 once", "get the model", GET_MODEL, (status(503, "/api/models/", times=1),)),
    Row(
        "revision 503 always",
        "get the model",
        GET_MODEL,
        (status(503, "/api/models/"),),
        "status 503",
        "ConnectionError",
    ),
    Row("GET 503 once", "get the model", GET_MODEL, (status(503, MODEL_FILE, "GET", 1),)),
    Row("GET 503 once, weights", "get the model", GET_MODEL, (status(503, MODEL_CDN, "GET", 1),)),
    Row("GET 429 with Retry-After", "get the model", GET_MODEL, (status(429, MODEL, "GET", 1, Retry_After="1"),)),
    Row(
        "GET 429 with Retry-After, weights",
        "get the model",
        GET_MODEL,
        (status(429, MODEL_CDN, "GET", 1, Retry_After="1"),),
    ),
    Row("download dropped once", "get the model", GET_MODEL, (Fault("drop", MODEL_CDN, "GET", after=500_000),)),
    Row(
        "download dropped always",
        "get the model",
        GET_MODEL,
        (Fault("drop", MODEL_CDN, "GET", None, after=1000),),
        "downloading",
        "ConnectionError",
    ),
    Row("download truncated once", "get the model", GET_MODEL, (Fault("truncate", MODEL_CDN, "GET", after=500_000),)),
    Row(
        "download reset once", "get the model", GET_MODEL, (Fault("drop", MODEL_CDN, "GET", after=500_000, reset=True),)
    ),
    Row(
        "download stalls once",
        "get the model",
        GET_MODEL,
        (Fault("stall", MODEL_CDN, "GET", after=500_000, seconds=40),),
    ),
    Row(
        "download stalls always",
        "get the model",
        GET_MODEL,
        (Fault("stall", MODEL_CDN, "GET", None, after=1000, seconds=40),),
        "Time",
        "ConnectionError",
    ),
    Row("corrupt weights once", "get the model", GET_MODEL, (Fault("alter", MODEL_CDN, "GET", after=500_000),)),
    Row("corrupt tokenizer once", "get the model", GET_MODEL, (Fault("alter", TOKENIZER_FILE, "GET", after=500),)),
    Row(
        "corrupt weights always",
        "get the model",
        GET_MODEL,
        (Fault("alter", MODEL_CDN, "GET", None, after=1000),),
        "model.safetensors arrived with wrong bytes",
        "ConnectionError",
        OURS,
    ),
    Row("401", "get the model", GET_MODEL, private=("model",), sees="status 401", raises="PermissionError"),
    Row("403", "get the model", GET_MODEL, (status(403, MODEL),), "status 403", "PermissionError", token="read"),
    Row(
        "the model is gated",
        "get the model",
        GET_MODEL,
        (status(403, MODEL, X_Error_Code="GatedRepo"),),
        r"its owner gives access on request: ask for it on its page, and log in \(status 403\)",
        "PermissionError",
        token="read",
    ),
    Row("403 on the weights", "get the model", GET_MODEL, (status(403, MODEL_CDN),), "status 403", "PermissionError"),
    Row(
        "the disk is full",
        "get the model",
        GET_MODEL,
        (),
        "the disk is full.*Make room",
        "OSError",
        OURS,
        file_limit=1_000_000,
    ),
    Row(
        "two at once fill one cache",
        "get the model",
        GET_MODEL,
        processes=2,
        faults=(Fault("stall", MODEL, "GET", None, after=100, seconds=0.3),),
    ),
]

SHARD_ROWS = [
    Row("503 once", "get the model", GET_MODEL, (status(503, SECOND_FILE, "GET", 1),)),
    Row("dropped once", "get the model", GET_MODEL, (Fault("drop", SECOND_FILE, "GET", after=500_000),)),
    Row(
        "dropped always",
        "get the model",
        GET_MODEL,
        (Fault("drop", SECOND_FILE, "GET", None, after=1000),),
        "downloading",
        "ConnectionError",
    ),
    Row("corrupt once", "get the model", GET_MODEL, (Fault("alter", SECOND_FILE, "GET", after=500_000),)),
]
SHARD_ROWS = [replace(row, fault=f"the second file of the weights {row.fault}", shards=2) for row in SHARD_ROWS]

ADAPTER_ROWS = [
    Row("503 once", "get the model", GET_ADAPTER, (status(503, PUT, "GET", 1),)),
    Row("dropped once", "get the model", GET_ADAPTER, (Fault("drop", PUT, "GET", after=1000),)),
    Row("corrupt once", "get the model", GET_ADAPTER, (Fault("alter", PUT, "GET", after=1000),)),
    Row("503 always", "get the model", GET_ADAPTER, (status(503, "/ada/"),), "status 503", "ConnectionError"),
]
ADAPTER_ROWS = [
    replace(row, fault=f"an adapter {row.fault}", before=SAVE_ADAPTER + PUSH, token="write", repository=SHARED)
    for row in ADAPTER_ROWS
]

DATA_ROWS = [
    Row(
        "the Hub is down, all in the cache", "get the data", GET_DATA, before=GET_MODEL + GET_DATA, down=True, limit=10
    ),
    Row(
        "all three sources drop",
        "get the data",
        GET_DATA,
        (Fault("drop", PAST_THE_FRONT_PAGE, times=None),),
        "any of its three sources",
        "ConnectionError",
    ),
    Row(
        "no answer past the front page",
        "get the data",
        GET_DATA,
        (Fault("stall", PAST_THE_FRONT_PAGE, times=None, seconds=40),),
        "any of its three sources",
        "ConnectionError",
    ),
    Row(
        "no answer from the Hub",
        "get the data",
        GET_DATA,
        (Fault("stall", DATA, times=None, seconds=40),),
        "rows from the authors' file",
    ),
    Row(
        "a page of HTML",
        "get the data",
        GET_DATA,
        (Fault("html", times=None),),
        "any of its three",
        "ConnectionError",
        OURS,
    ),
    Row("HEAD 503 once", "get the data", GET_DATA, (status(503, DATA, "HEAD", 1),)),
    Row("HEAD 503 always", "get the data", GET_DATA, (status(503, DATA, "HEAD"),), "rows from the authors' file"),
    Row("revision 503 once", "get the data", GET_DATA, (status(503, "/api" + DATA, times=1),)),
    Row("revision 503 always", "get the data", GET_DATA, (status(503, "/api" + DATA),), "rows from the authors' file"),
    Row(
        "only main 503 always",
        "get the data",
        GET_DATA,
        (status(503, "/api" + DATA + ".*/revision/main"),),
        "rows from .*revision refs/convert/parquet",
    ),
    Row("GET 503 once", "get the data", GET_DATA, (status(503, DATA_CDN, "GET", 1),)),
    Row("GET 429 with Retry-After", "get the data", GET_DATA, (status(429, DATA_CDN, "GET", 1, Retry_After="1"),)),
    Row("download dropped once", "get the data", GET_DATA, (Fault("drop", DATA_CDN, "GET", after=5000),)),
    Row(
        "download dropped always",
        "get the data",
        GET_DATA,
        (Fault("drop", DATA_CDN, "GET", None, after=1000),),
        "rows from the authors' file",
    ),
    Row("download truncated once", "get the data", GET_DATA, (Fault("truncate", DATA_CDN, "GET", after=5000),)),
    Row("download reset once", "get the data", GET_DATA, (Fault("drop", DATA_CDN, "GET", after=5000, reset=True),)),
    Row("download stalls once", "get the data", GET_DATA, (Fault("stall", DATA_CDN, "GET", after=5000, seconds=40),)),
    Row(
        "download stalls always",
        "get the data",
        GET_DATA,
        (Fault("stall", DATA_CDN, "GET", None, after=5000, seconds=40),),
        "rows from the authors' file",
    ),
    Row("corrupt bytes once", "get the data", GET_DATA, (Fault("alter", DATA_CDN, "GET", after=5000),)),
    Row(
        "corrupt bytes always",
        "get the data",
        GET_DATA,
        (Fault("alter", DATA_CDN, "GET", None, after=5000),),
        "rows from the authors' file",
    ),
    Row("401", "get the data", GET_DATA, private=("dataset",), sees="status 401.*\\n.*rows from the authors' file"),
    Row("403", "get the data", GET_DATA, (status(403, DATA),), "status 403(.*\\n)*.*rows from the authors' file"),
    Row(
        "Hub 503, the authors' file dropped once",
        "get the data",
        GET_DATA,
        (status(503, "/api" + DATA), Fault("drop", AUTHORS, "GET", after=5000)),
        "rows from the authors' file",
    ),
    Row(
        "Hub 503, the authors' file stalls once",
        "get the data",
        GET_DATA,
        (status(503, "/api" + DATA), Fault("stall", AUTHORS, "GET", after=5000, seconds=40)),
        "rows from the authors' file",
    ),
    Row(
        "Hub 503, the authors' file stalls always",
        "get the data",
        GET_DATA,
        (status(503, "/api" + DATA), Fault("stall", AUTHORS, "GET", None, after=5000, seconds=40)),
        "any of its three sources",
        "ConnectionError",
    ),
    Row(
        "Hub 503, the authors' file does not answer",
        "get the data",
        GET_DATA,
        (status(503, "/api" + DATA), Fault("stall", AUTHORS, "", None, seconds=40)),
        "any of its three sources",
        "ConnectionError",
    ),
    Row(
        "Hub 503, the authors' file truncated once",
        "get the data",
        GET_DATA,
        (status(503, "/api" + DATA), Fault("truncate", AUTHORS, "GET", after=5000)),
        "rows from the authors' file",
    ),
    Row(
        "Hub 503, the authors' file corrupt once",
        "get the data",
        GET_DATA,
        (status(503, "/api" + DATA), Fault("alter", AUTHORS, "GET", after=5000)),
        "rows from the authors' file",
    ),
    Row(
        "Hub 503, the authors' file corrupt always",
        "get the data",
        GET_DATA,
        (status(503, "/api" + DATA), Fault("alter", AUTHORS, "GET", None, after=5000)),
        "no whole gzip file",
        "ConnectionError",
        OURS,
    ),
    Row(
        "the disk is full while downloading",
        "get the data",
        GET_DATA,
        (),
        "the disk is full.*Make room",
        "OSError",
        OURS,
        file_limit=20_000,
    ),
    Row(
        "the disk is full while converting",
        "get the data",
        GET_DATA,
        (),
        "the disk is full.*Make room",
        "OSError",
        OURS,
        file_limit=300_000,
    ),
    Row(
        "two at once fill one cache",
        "get the data",
        GET_DATA,
        processes=2,
        faults=(Fault("stall", DATA, "GET", None, after=100, seconds=0.3),),
    ),
]

PUSH_ROWS = [
    Row("create_repo 503", "share", PUSH, (status(503, "/api/repos/create"),), "status 503", "ConnectionError"),
    Row("validate-yaml 503", "share", PUSH, (status(503, "validate-yaml"),), SAFE + ".*status 503", "ConnectionError"),
    Row("preupload 503", "share", PUSH, (status(503, "preupload"),), SAFE + ".*status 503", "ConnectionError"),
    Row("commit 503", "share", PUSH, (status(503, COMMIT),), SAFE + ".*status 503", "ConnectionError"),
    Row("commit 503 once", "share", PUSH, (status(503, COMMIT, times=1),), SAFE + ".*status 503", "ConnectionError"),
    Row("upload PUT 503 once", "share", PUSH, (status(503, PUT, "PUT", 1),)),
    Row("upload PUT 503 always", "share", PUSH, (status(503, PUT, "PUT"),), SAFE, "ConnectionError"),
    Row("upload PUT dropped once", "share", PUSH, (Fault("drop", PUT, "PUT", after=500_000),)),
    Row(
        "upload PUT dropped always",
        "share",
        PUSH,
        (Fault("drop", PUT, "PUT", None, after=500_000),),
        SAFE,
        "ConnectionError",
    ),
    Row("upload PUT stalls once", "share", PUSH, (Fault("stall", PUT, "PUT", seconds=100),), limit=30),
    Row("the commit stalls", "share", PUSH, (Fault("stall", COMMIT, "POST", seconds=100),), SAFE, "ConnectionError"),
    Row("the commit's answer is lost", "share", PUSH, (Fault("lose", COMMIT),), SAFE, "ConnectionError"),
    Row("a page of HTML", "share", PUSH, (Fault("html", times=None),), "is not the Hub", "ConnectionError"),
    Row(
        "commit 503, of an adapter",
        "share",
        PUSH,
        (status(503, COMMIT),),
        SAFE + ".*status 503",
        "ConnectionError",
        before=SAVE_ADAPTER,
    ),
    Row("upload PUT 503 once, of an adapter", "share", PUSH, (status(503, PUT, "PUT", 1),), before=SAVE_ADAPTER),
    Row("a read token", "share", PUSH, (), "status 403", "PermissionError", token="read"),
    Row("a fine-grained token that may read", "share", PUSH, (), "status 403", "PermissionError", token="fine, read"),
    Row(
        "a fine-grained token for another repository",
        "share",
        PUSH,
        (),
        "status 403",
        "PermissionError",
        token="fine, other",
    ),
    Row("no token", "share", PUSH, (), "status 401", "PermissionError"),
    Row("a wrong token", "share", PUSH, (), "status 401", "PermissionError", token="wrong"),
    Row(
        "the Hub is gone between training and pushing",
        "share",
        PUSH,
        (),
        "making the repository",
        "ConnectionError",
        down=True,
        limit=10,
    ),
]
PUSH_ROWS = [
    replace(row, before=row.before or SAVE_MODEL, token=row.token or ("" if row.fault == "no token" else "write"))
    for row in PUSH_ROWS
]

TRAIN_ROWS = [
    Row(
        "the Hub is down",
        "share while training",
        TRAIN,
        (),
        "making the repository mine failed",
        "ConnectionError",
        token="write",
        down=True,
        limit=15,
    ),
    Row("a read token", "share while training", TRAIN, (), "status 403", "PermissionError", token="read"),
    Row(
        "an upload in the middle fails",
        "share while training",
        TRAIN,
        (status(503, COMMIT, times=1),),
        f"While training, {SAFE}",
        token="write",
        then=PUSH,
    ),
    Row(
        "all uploads fail",
        "share while training",
        TRAIN,
        (status(503, COMMIT),),
        f"(While training, {SAFE}(.*\\n)*){{2}}",
        token="write",
        then=PUSH,
    ),
    Row(
        "the Hub goes away after training began",
        "share while training",
        TRAIN,
        (Fault("drop", "(yaml|preupload|batch|commit/main|^/cdn/ada/.*)$", times=None),),
        f"While training, {SAFE}",
        token="write",
        limit=90,  # two uploads one after the other give up at its end
        then=PUSH,
    ),
]

ROWS = [*LOGIN_ROWS, *MODEL_ROWS, *SHARD_ROWS, *ADAPTER_ROWS, *DATA_ROWS, *PUSH_ROWS, *TRAIN_ROWS]
