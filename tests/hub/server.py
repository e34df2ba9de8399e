"""A stand-in Hugging Face Hub on loopback, which the real clients are tested against, well and under faults.

``python -m tests.hub.server`` serves the course's data and model until it is interrupted.
"""

import asyncio
import re
import secrets
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from tests.hub.faults import Fault, Handler, answer
from tests.hub.protocol import Account, Protocol, Role, token_of
from tests.hub.repositories import Repository, RepoType, is_large
from tests.tokens import remember

# Nothing leaves for another host or another protocol, and nothing draws progress bars.
SWITCHES = ["HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"]
SWITCHES += ["HF_DATASETS_DISABLE_PROGRESS_BARS", "GIT_CONFIG_NOSYSTEM"]


class Request(NamedTuple):
    """One request: its path decoded and without the query; status 0 where the client got no whole answer.

    ``account`` is whose token came with it; ``None`` without one, or with one that nobody has.
    """

    method: str
    path: str
    status: int
    seconds: float
    account: str | None


class StandInHub(Protocol):
    """A Hub with its own repositories, in a thread of its own. As a context manager it is closed at the end.

    Attributes:
        url: What ``HF_ENDPOINT`` must be.
        cdn: Where large files come from: to a client another host, though it is the same server.
        requests: Every request, in the order of the answers; ``requests.clear()`` begins anew.
        faults: What ``inject`` was given; ``faults.clear()`` mends everything.
        pages: Other files that it serves, by path.
    """

    def __init__(self, folder: Path) -> None:
        self._reserved = _bind(0)  # never listens: while we are down, connections are refused and nobody gets the port
        self.port: int = self._reserved.getsockname()[1]
        super().__init__(folder, self.port)
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self._runner: web.AppRunner | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-in hub", daemon=True)
        self._thread.start()
        self.start()

    def __enter__(self) -> "StandInHub":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def environment(self) -> dict[str, str]:
        """What a client's process needs in its environment: this Hub, and folders of its own."""
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        return dict.fromkeys(SWITCHES, "1") | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(self.folder / "hf_home"),
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "GIT_TERMINAL_PROMPT": "0",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def start(self) -> None:
        """Answer again, at the same address."""
        if self._runner is None:
            asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result()

    def stop(self) -> None:
        """Be down: connections are refused, and open ones end. The port stays ours."""
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
            self._runner = None

    def close(self) -> None:
        self.stop()
        self._reserved.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add_token(self, name: str, role: Role = "write") -> str:
        """Make a token for the account of that name; there is an account for every name."""
        token = remember(f"hf_{secrets.token_hex(17)}")
        self.accounts[token] = Account(name, role)
        return token

    def approve_device(self, name: str = "ada", role: Role = "write") -> str:
        """Click "Authorize" for every login by device code, under way or to come; the token that it gets comes back."""
        self.device_token = self.add_token(name, role)
        return self.device_token

    def put(
        self,
        repo_id: str,
        files: Mapping[str, bytes | Path],
        repo_type: RepoType = "model",
        revision: str = "main",
        *,
        private: bool = False,
        message: str = "Add files",
    ) -> str:
        """Commit files to a repository, which is made if need be; the commit's sha comes back."""
        repository = self.find_or_create(repo_id, repo_type, private)[0]
        changes: list[tuple[str, bytes | None]] = []
        for path, file in files.items():
            content = file if isinstance(file, bytes) else file.read_bytes()
            changes.append((path, repository.add_large(content) if is_large(path, len(content)) else content))
        with repository.lock:
            return repository.commit(message, changes, revision)

    def files(self, repo_id: str, repo_type: RepoType = "model", revision: str = "main") -> dict[str, bytes]:
        """What a repository holds, by path, with large files whole; .gitattributes is always there."""
        repository, sha = self._at(repo_id, repo_type, revision)
        entries = repository.entries(sha).items()
        return {path: repository.read(entry) for path, entry in entries if entry.kind == "blob"}

    def commits(self, repo_id: str, repo_type: RepoType = "model", revision: str = "main") -> list[str]:
        """The titles of a repository's commits, the last one first; the first of all is "initial commit"."""
        repository, sha = self._at(repo_id, repo_type, revision)
        return [commit.title for commit in repository.commits(sha)]

    def inject(self, fault: Fault) -> Fault:
        """Let something go wrong from now on. Of several faults that match a request, the first one hits it."""
        self.faults.append(fault)
        return fault

    def asked(self, path: str = "", method: str = "") -> list[Request]:
        """The requests whose path contains this regular expression."""
        return [one for one in self.requests if method in ("", one.method) and re.search(path, one.path)]

    def _at(self, repo_id: str, repo_type: RepoType, revision: str) -> tuple[Repository, str]:
        repository = self.repositories[repo_type, repo_id]
        sha = repository.resolve(revision)
        if not sha:
            raise KeyError(f"{repo_id} has no revision {revision}")
        return repository, sha

    async def _serve(self) -> None:
        app = web.Application(middlewares=[self._log], client_max_size=0)
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, _bind(self.port)).start()

    @web.middleware
    async def _log(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        began, status = time.monotonic(), 500
        fault = next((fault for fault in self.faults if fault.matches(request)), None)
        try:
            if fault is None:
                response = await handler(request)
            else:
                fault.used += 1
                response = await answer(fault, request, handler)
            status = response.status
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            if request.transport is None or request.transport.is_closing():
                status = 0
            account = self.accounts.get(token_of(request) or "")
            seconds = time.monotonic() - began
            self.requests.append(Request(request.method, request.path, status, seconds, account and account.name))


def _bind(port: int) -> socket.socket:
    """A socket on a port, 0 for any that is free; it does not listen yet. Several of ours may have the same one."""
    bound = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def main() -> None:
    from tests.hub.course import serve_course

    with tempfile.TemporaryDirectory() as folder, StandInHub(Path(folder)) as hub:
        serve_course(hub)
        hub.approve_device()
        for name, value in (hub.environment | {"HF_TOKEN": hub.add_token("ada")}).items():
            print(f"export {name}={value}")
        print(f"# {hub.url} serves the course's data and model until Ctrl+C", flush=True)
        # Set here, for a shell that starts it in the background has it ignore Ctrl+C.
        done = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: done.set())
        done.wait()


if __name__ == "__main__":
    main()
