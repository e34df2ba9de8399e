import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants

from clmkit import tracks
from clmkit.tracks import BUNDLED, HUB_DATA, HUB_MODEL, Track, choose_track, has_gpu, hub_problem

Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Say what the machine has."""

    def pretend(*, gpu: bool, problem: str | None) -> None:
        monkeypatch.setattr(tracks, "has_gpu", lambda: gpu)
        monkeypatch.setattr(tracks, "hub_problem", lambda: problem)

    return pretend


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], list[tuple[str, str]]]]:
    """Make a server on loopback the Hub; it answers every request with one status, and lists the requests."""
    requests: list[tuple[str, str]] = []
    status = 200

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            requests.append((self.command, self.headers["User-Agent"]))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def start(code: int) -> list[tuple[str, str]]:
        nonlocal status
        status = code
        return requests

    yield start
    server.shutdown()
    server.server_close()


@pytest.fixture
def raw_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes | None], None]]:
    """Make a bare socket the Hub: it sends the bytes and closes, or with ``None`` never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    thread: Thread | None = None

    def start(reply: bytes | None) -> None:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(reply or b"")

        nonlocal thread
        if reply is not None:
            thread = Thread(target=serve, daemon=True)
            thread.start()

    yield start
    if thread:
        thread.join(10)
    listener.close()


def test_a_hub_that_answers_is_no_problem_and_gets_one_head_request(answer: Callable[[int], list[object]]) -> None:
    requests = answer(200)
    assert hub_problem() is None
    assert requests == [("HEAD", "clmkit")]


@pytest.mark.parametrize("status", [401, 404, 429])
def test_a_hub_that_refuses_this_request_is_there_all_the_same(
    answer: Callable[[int], list[object]], status: int
) -> None:
    answer(status)
    assert hub_problem() is None


@pytest.mark.parametrize("status", [500, 503])
def test_a_hub_that_fails_is_a_problem(answer: Callable[[int], list[object]], status: int) -> None:
    answer(status)
    assert hub_problem() == f"{constants.ENDPOINT} answers with status {status}"


def test_a_closed_port_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    assert str(hub_problem()).startswith(f"http://127.0.0.1:{port} does not answer: ")


def test_a_name_that_does_not_resolve_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    assert "http://hub.invalid does not answer" in str(hub_problem())


def test_a_hub_that_never_answers_is_a_problem_after_the_timeout(raw_server: Callable[[bytes | None], None]) -> None:
    raw_server(None)
    assert "timed out" in str(hub_problem(timeout=0.2))


@pytest.mark.parametrize("reply", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"], ids=["hangs up", "not HTTP"])
def test_a_server_that_does_not_speak_http_is_a_problem(
    raw_server: Callable[[bytes | None], None], reply: bytes
) -> None:
    raw_server(reply)
    assert "does not answer" in str(hub_problem())


def test_an_endpoint_that_is_no_address_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "huggingface.co")
    assert "huggingface.co" in str(hub_problem())


def test_offline_by_choice_is_a_problem_without_a_request(
    answer: Callable[[int], list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = answer(200)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_problem() == "HF_HUB_OFFLINE is set"
    assert requests == []


@pytest.mark.parametrize(("cuda", "mps"), [(False, False), (True, False), (False, True)])
def test_has_gpu_asks_pytorch_for_cuda_and_mps(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert has_gpu() is (cuda or mps)


@pytest.mark.parametrize("devices", [[], ["GPU:0"]])
def test_has_gpu_asks_tensorflow_where_there_is_no_pytorch(monkeypatch: pytest.MonkeyPatch, devices: list[str]) -> None:
    monkeypatch.setattr(tracks.importlib.util, "find_spec", lambda name: name == "tensorflow" or None)
    config = SimpleNamespace(list_physical_devices=lambda kind: devices if kind == "GPU" else ["CPU:0"])
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    assert has_gpu() is bool(devices)


def test_has_gpu_is_false_without_a_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracks.importlib.util, "find_spec", lambda name: None)
    assert has_gpu() is False


@pytest.mark.parametrize(
    ("gpu", "problem", "name", "reason"),
    [
        (False, None, "quick", "this machine has no GPU"),
        (False, "no Hub", "quick", "this machine has no GPU"),
        (True, "the Hub sleeps", "quick", "the Hub sleeps"),
        (True, None, "full", "there is a GPU and the Hub answers"),
    ],
)
def test_without_a_name_full_needs_a_gpu_and_the_hub(
    machine: Machine, capsys: pytest.CaptureFixture[str], gpu: bool, problem: str | None, name: str, reason: str
) -> None:
    machine(gpu=gpu, problem=problem)
    assert choose_track().name == name
    assert f"because {reason}." in capsys.readouterr().out


@pytest.mark.parametrize("name", ["quick", "full"])
def test_the_environment_variable_decides_where_no_name_is_given(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    machine(gpu=name == "quick", problem=None)
    monkeypatch.setenv("CLMKIT_TRACK", name)
    assert choose_track().name == name
    assert "because CLMKIT_TRACK says so." in capsys.readouterr().out


def test_a_name_wins_over_the_environment_variable(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(gpu=False, problem=None)
    monkeypatch.setenv("CLMKIT_TRACK", "quick")
    assert choose_track("full").name == "full"
    monkeypatch.setenv("CLMKIT_TRACK", "nonsense")
    assert choose_track("quick").name == "quick"


def test_an_empty_environment_variable_is_as_good_as_none(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(gpu=True, problem=None)
    monkeypatch.setenv("CLMKIT_TRACK", "")
    assert choose_track().name == "full"


def test_quick_by_name_asks_neither_for_a_gpu_nor_for_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(tracks, "has_gpu", refuse)
    monkeypatch.setattr(tracks, "hub_problem", refuse)
    assert choose_track("quick").name == "quick"


@pytest.mark.parametrize("by_variable", [False, True])
def test_full_that_was_asked_for_and_cannot_be_had_is_an_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    machine(gpu=True, problem="the Hub sleeps")
    if by_variable:
        monkeypatch.setenv("CLMKIT_TRACK", "full")
    with pytest.raises(ConnectionError, match=r"and the Hub sleeps\. .*choose_track\('quick'\) or CLMKIT_TRACK=quick"):
        choose_track(None if by_variable else "full")


def test_the_line_of_the_quick_track(capsys: pytest.CaptureFixture[str]) -> None:
    choose_track("quick")
    assert capsys.readouterr().out == (
        "Track quick: the bundled tiny GPT-2 on the bundled ELI5 sample, because it was asked for. "
        "No notebook takes much over a minute on a laptop. To change it: choose_track('full').\n"
    )


def test_the_line_of_the_full_track_says_what_why_how_long_and_how_to_change_it(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(gpu=True, problem=None)
    choose_track("full")
    assert capsys.readouterr().out == (
        f"Track full: {HUB_MODEL} on 5,000 rows of {HUB_DATA}, because it was asked for. "
        "Training takes minutes on a GPU. To change it: choose_track('quick').\n"
    )


def test_the_full_track_on_a_cpu_tells_the_minutes_of_these_rows_and_epochs(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(gpu=False, problem=None)
    choose_track("full", rows=1000, epochs=2)
    # 80 % of 1,000 rows, 334 tokens each, twice, at 370 tokens a second.
    assert "Training takes about 24 minutes on two CPU cores" in capsys.readouterr().out
    choose_track("full")
    assert "about 181 minutes" in capsys.readouterr().out


def test_each_track_has_its_own_data_model_and_arguments(machine: Machine) -> None:
    machine(gpu=True, problem=None)
    quick, full = choose_track("quick"), choose_track("full")
    assert (quick.data, quick.model) == (str(BUNDLED / "eli5_sample.jsonl"), str(BUNDLED / "tiny_gpt2"))
    assert (full.data, full.model) == ("dany0407/eli5_category", "distilbert/distilgpt2")
    assert (quick.rows, full.rows) == (None, 5000)
    assert (full.learning_rate, full.epochs, full.prompt) == (
        2e-5,
        3,
        "Somatic hypermutation allows the immune system to",
    )
    assert quick.output_dir == "quick/my_awesome_eli5_clm-model"
    assert full.output_dir == "full/my_awesome_eli5_clm-model"
    assert Path(quick.data).is_file()
    assert (Path(quick.model) / "config.json").is_file()


@pytest.mark.parametrize("name", ["quick", "full"])
def test_rows_and_epochs_can_be_cut_on_either_track(machine: Machine, name: str) -> None:
    machine(gpu=True, problem=None)
    track = choose_track(name, rows=7, epochs=1)
    assert (track.rows, track.epochs) == (7, 1)


@pytest.mark.parametrize("name", ["quick", "full"])
def test_a_learners_own_file_replaces_the_data_of_either_track(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    machine(gpu=True, problem=None)
    path = tmp_path / "mine.jsonl"
    path.write_text('{"text": "mine"}\n')
    track = choose_track(name, data=path)
    assert (track.data, track.rows) == (str(path), None)
    assert f" on {path}, because" in capsys.readouterr().out


def test_a_track_cannot_be_changed() -> None:
    track: Track = choose_track("quick")
    with pytest.raises(FrozenInstanceError):
        track.rows = 3  # type: ignore[misc]


def test_own_data_gets_a_speed_since_its_size_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("text\nA line.\n", encoding="utf-8")
    choose_track("quick", data=path)
    printed = capsys.readouterr().out
    assert "7,000 tokens and epoch" in printed
    assert "a minute" not in printed
