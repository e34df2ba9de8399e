"""Play a row of the table of faults on the stand-in Hub with the real clients, and say what is not as it should be."""

import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pyarrow import parquet
from safetensors.numpy import load_file

from clmkit.tracks import HUB_DATA, HUB_MODEL
from tests.hub.clients import Kernel, run_client
from tests.hub.course import serve_course
from tests.hub.fault_table import NAMES_REMEDY, NAMES_STEP, SHARED, Row
from tests.hub.repositories import RepoType
from tests.hub.server import StandInHub
from tests.tokens import remember

ACCOUNT = "ada"
WRONG_TOKEN = remember("hf_wrong" + "0" * 26)

# Runs what a learner would run, and shows what came of it in the last line. ``HURRY`` divides every wait.
CLIENT = """
import json, os, sys, time
hurry = float(os.environ.get("HURRY", "1"))
if "FILE_LIMIT" in os.environ:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = int(os.environ["FILE_LIMIT"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from clmkit.hub import download, login as hub, client as hub_client
from clmkit import tracks
if "eli5" in sys.argv[2]:
    from clmkit import eli5
    eli5.AUTHORS_FILE = sys.argv[1]
tracks.has_gpu = lambda: False  # not worth an import of TensorFlow
if "download_model" in sys.argv[2] and "eli5" not in sys.argv[2]:
    sys.modules["torch"] = None  # nor is what reads a configuration one of PyTorch
if hurry != 1:
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(seconds / hurry)
    download.PATIENCE /= hurry
    download.SILENCE /= hurry
    hub_client.READING_SECONDS /= hurry
    hub_client.WRITING_SECONDS /= hurry
    hub.check_hub.__defaults__ = (max(5 / hurry, 3),)  # a busy machine may take a second to answer
scope = {"__name__": "__main__", "time": time}
found = {}
began = time.monotonic()
try:
    exec(sys.argv[2], scope)
except Exception as error:
    cause, causes = error.__cause__, []
    while cause:
        causes.append(f"{type(cause).__module__}.{type(cause).__qualname__}")
        cause = cause.__cause__ or cause.__context__
    found = {"error": type(error).__name__, "text": str(error), "causes": causes}
print()
print(json.dumps(found | {"result": scope.get("result"), "seconds": time.monotonic() - began}))
"""


class Outcome(NamedTuple):
    """What one client's code came to.

    Attributes:
        printed: What the learner saw besides an error.
        error: The error's class; empty without one.
        text: The error's message.
        causes: The classes of the exceptions that led to it, the nearest one first.
        result: What the code gave.
        seconds: How long it took, without the start of Python.
        stderr: Warnings, and what no learner should see.
    """

    printed: str
    stderr: str
    seconds: float
    result: Any = None
    error: str = ""
    text: str = ""
    causes: Sequence[str] = ()

    @property
    def seen(self) -> str:
        """What the learner sees: what was printed, and the last line of the traceback."""
        return "\n".join(filter(None, [self.printed, self.error and f"{self.error}: {self.text}"]))


@dataclass
class Player:
    """A row on a kernel with a Hub of its own. ``play`` makes one.

    Attributes:
        fresh: Whether each client has a Python of its own from the start, in place of a fork of a prepared one.
        first: The clients under the fault, as many as the row wants.
        again: One more, in the same home, when the fault is over.
    """

    row: Row
    kernel: Kernel
    hub: StandInHub
    authors: str
    hurry: float
    token: str
    allowance: float
    fresh: bool
    first: list[Outcome] = field(default_factory=list)
    again: Outcome | None = None

    def run(self, code: str, **environment: str) -> Outcome:
        """What a client makes of this code."""
        environment |= {"HF_TOKEN": self.token} if self.token else {}
        if self.hurry != 1:
            waits = {"HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"}
            environment |= {"HURRY": str(self.hurry)} | dict.fromkeys(waits, str(round(10 / self.hurry)))
        done = run_client(self.hub, self.kernel, CLIENT, self.authors, code, fresh=self.fresh, **environment)
        assert done.returncode == 0, f"the client itself broke:\n{done.stderr}"
        printed, _, facts = done.stdout.rstrip("\n").rpartition("\n")
        return Outcome(printed=printed.rstrip("\n"), stderr=done.stderr, **json.loads(facts))

    def prepare(self) -> None:
        if self.row.before:
            before = self.run(self.row.before)
            assert not before.error, f"what comes before the fault failed: {before.seen}"
        for repo_type in self.row.private:
            self._set_private(repo_type, True)
        self.hub.faults += [replace(fault) for fault in self.row.faults]
        if self.row.down:
            self.hub.stop()

    def run_under_the_fault(self) -> None:
        limits = {"FILE_LIMIT": str(self.row.file_limit)} if self.row.file_limit else {}
        with ThreadPoolExecutor() as pool:
            jobs = [pool.submit(self.run, self.row.code_on(self.kernel), **limits) for _ in range(self.row.processes)]
            self.first = [job.result() for job in jobs]

    def mend(self) -> None:
        """End the fault: the Hub is up, repositories are public, and who has no token that may write gets one."""
        self.hub.faults.clear()
        self.hub.start()
        for repo_type in self.row.private:
            self._set_private(repo_type, False)
        if self.token or "share" in self.row.step:
            self.token = self.hub.add_token(ACCOUNT)

    def _set_private(self, repo_type: RepoType, private: bool) -> None:
        key = repo_type, HUB_MODEL if repo_type == "model" else HUB_DATA
        self.hub.repositories[key] = replace(self.hub.repositories[key], private=private)


@contextmanager
def play(
    row: Row, kernel: Kernel, folder: Path, hurry: float = 1, allowance: float = 0, fresh: bool = False
) -> Iterator[Player]:
    """Play a row: what comes before, the fault, and the same code once more without it.

    Args:
        row: Of the table of faults.
        kernel: Whose clients.
        folder: An empty one, for the Hub and the clients' home.
        hurry: What every wait of the clients is divided by; 1 measures what a learner would wait.
        allowance: Seconds above the row's limit, for imports on a machine that others use too.
        fresh: Whether each client has a Python of its own from the start.
    """
    with StandInHub(folder) as hub:
        hub.add_token(ACCOUNT)
        tokens = {"": "", "wrong": WRONG_TOKEN}
        token = tokens[row.token] if row.token in tokens else hub.add_token(ACCOUNT, row.token)
        authors = "" if row.step == "log in" or "share" in row.step else serve_course(hub, shards=row.shards)
        player = Player(row, kernel, hub, authors, hurry, token, allowance, fresh)
        player.prepare()
        player.run_under_the_fault()
        player.mend()
        player.again = player.run(row.then or row.code_on(kernel))
        yield player


def complaints(player: Player) -> list[str]:
    """What is not as the table has it; empty where all is well."""
    found = []
    for check in CHECKS:
        try:
            check(player)
        except AssertionError as error:
            found.append(f"{check.__name__.replace('_', ' ')}: {error}")
    return found


def the_step_works_or_says_one_sentence(player: Player) -> None:
    row = player.row
    for outcome in player.first:
        assert outcome.error == row.raises, f"{outcome.error or 'no error'}, not {row.raises or 'none'}: {outcome.seen}"
        assert re.search(row.sees, outcome.seen), f"no {row.sees!r} in {outcome.seen!r}"
        assert "Traceback" not in outcome.stderr, outcome.stderr
        if row.survives:
            assert not re.search("fail|error|not from", outcome.printed, re.IGNORECASE), outcome.printed
        else:
            assert re.search(NAMES_STEP[row.step], outcome.seen), f"the step is not named: {outcome.seen}"
        if row.raises or row.step != "get the data":  # where another source serves, there is nothing to do
            assert row.survives or re.search(NAMES_REMEDY[row.step], outcome.seen), f"no remedy: {outcome.seen}"
        if not row.raises:
            check_result(player, outcome)


def the_clients_exception_is_the_cause(player: Player) -> None:
    for outcome in player.first:
        if player.row.raises and player.row.cause:
            assert any(re.search(player.row.cause, cause) for cause in outcome.causes), outcome.causes


def it_ends_in_time(player: Player) -> None:
    slowest, limit = max(outcome.seconds for outcome in player.first), player.row.limit + player.allowance
    assert slowest <= limit, f"{slowest:.1f} s, more than {limit} s"


def it_works_when_the_fault_is_over(player: Player) -> None:
    again = player.again
    assert again is not None
    assert not again.error, again.seen
    check_result(player, again)


def nothing_half_is_left(player: Player) -> None:
    cache = player.hub.folder / "hf_home"
    left = [path for path in cache.rglob("*incomplete*") if path.suffix != ".lock"]
    if player.row.step == "get the data":  # of the converted revision, which is not asked for when the first is there
        left = [path for path in left if path.parent.name != "blobs"]
    left += list((player.hub.folder / "home").rglob("unfinished-*"))
    assert not left, left
    for blob in set(cache.glob("hub/*/blobs/*")) - set(cache.rglob("*.incomplete")):
        content = blob.read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        assert blob.name in (git, hashlib.sha256(content).hexdigest()), f"wrong bytes in {blob}"


def one_commit_is_made_of_one_model(player: Player) -> None:
    if player.row.step == "share":
        assert player.hub.commits(SHARED) == ["Share the tuned model with its card", "initial commit"]


def no_token_is_told(player: Player) -> None:
    assert player.again is not None
    texts = [outcome.seen + outcome.stderr for outcome in [*player.first, player.again]]
    folders = [player.hub.folder / "home", player.hub.folder / "hf_home"]
    contents = [path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()]
    for token in (*player.hub.accounts, WRONG_TOKEN):
        assert not any(token in text for text in texts), "a token was printed"
        assert not any(token.encode() in content for content in contents), "a token was written to a file"


CHECKS = (
    the_step_works_or_says_one_sentence,
    the_clients_exception_is_the_cause,
    it_ends_in_time,
    it_works_when_the_fault_is_over,
    nothing_half_is_left,
    one_commit_is_made_of_one_model,
    no_token_is_told,
)


def check_result(player: Player, outcome: Outcome) -> None:
    """Whether a step that works gave what it should: the very files and rows that the Hub has."""
    step, result = player.row.step, outcome.result
    if step == "log in":
        assert re.search("works|Sharing:", outcome.printed), outcome.printed
    elif step == "get the data":
        assert result["rows"] == _rows_of_the_hub(player.hub), f"other rows, {result['from']}"
    elif step in ("choose the track", "get the model"):
        files = player.hub.files(player.row.repository)
        found = {path.name: path.read_bytes() for path in Path(result).iterdir()}
        assert found == {name: files[name] for name in files if name != ".gitattributes"}, sorted(found)
    elif outcome is player.again:
        files = player.hub.files(SHARED)
        home = player.hub.folder / "home" / "mine"
        adapter = (home / "adapter_config.json").exists()
        wanted = (
            ("adapter_model.safetensors",) if adapter else ("config.json", "model.safetensors", "tokenizer_config.json")
        )
        assert files.keys() >= {*wanted}, sorted(files)
        for name in files.keys() - {".gitattributes"}:
            assert files[name] == (home / name).read_bytes(), f"{name} on the Hub is not the one in the folder"
    if step == "share while training":
        load_file(player.hub.folder / "home" / "mine" / "model.safetensors")  # raises if it is not whole


def _rows_of_the_hub(hub: StandInHub) -> list[dict[str, Any]]:
    file = io.BytesIO(hub.files(HUB_DATA, "dataset")["data/train-00000-of-00001.parquet"])
    return parquet.read_table(file).slice(0, 50).to_pylist()
