"""The stand-in's repositories: bare git, and next to it the large files by their sha256, as git-lfs keeps them."""

import hashlib
import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

RepoType = Literal["model", "dataset"]

# What the Hub keeps as large files; it writes the same into a new repository's .gitattributes, for git-lfs.
LARGE_PATTERNS = ("*.arrow", "*.bin", "*.gz", "*.h5", "*.msgpack", "*.parquet", "*.pt", "*.safetensors", "*.zip")
LARGE_SIZE = 10_000_000
ATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LARGE_PATTERNS).encode()
POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n")

# Nothing of the machine's own git settings counts.
GIT_ENVIRONMENT = {"PATH": os.environ.get("PATH", ""), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


class Entry(NamedTuple):
    """A file or a folder at one commit. ``sha256`` and ``pointer_size`` are those of a large file."""

    path: str
    kind: Literal["blob", "tree"]
    oid: str
    size: int
    sha256: str = ""
    pointer_size: int = 0


class Commit(NamedTuple):
    sha: str
    date: str
    title: str


def is_large(path: str, size: int) -> bool:
    """Whether the Hub wants a file to be uploaded as a large one."""
    return size > LARGE_SIZE or any(fnmatch(path.rsplit("/")[-1], pattern) for pattern in LARGE_PATTERNS)


def pointer(sha256: str, size: int) -> bytes:
    """What git holds in the place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


@dataclass(frozen=True)
class Repository:
    repo_id: str
    repo_type: RepoType
    folder: Path
    private: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def owner(self) -> str:
        return self.repo_id.rpartition("/")[0]

    @property
    def web_path(self) -> str:
        """Where its page and its git are: ``datasets/`` stands before the id of a dataset."""
        return f"{'datasets/' if self.repo_type == 'dataset' else ''}{self.repo_id}"

    def create(self) -> None:
        (self.folder / "large").mkdir(parents=True)
        _git(self.folder, "init", "--quiet", "--bare", "--initial-branch=main")
        self.commit("initial commit", [(".gitattributes", ATTRIBUTES)])

    def refs(self) -> dict[str, str]:
        lines = _git(self.folder, "for-each-ref", "--format=%(refname) %(objectname)").decode().splitlines()
        return dict(line.split(" ") for line in lines)

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, a tag, a full ref such as refs/convert/parquet, or a sha; ``None`` without one."""
        refs = self.refs()
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if name in refs:
                return refs[name]
        if not re.fullmatch("[0-9a-f]{7,40}", revision):
            return None
        return (
            _git(self.folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", check=False)
            .decode()
            .strip()
        )

    def entries(self, sha: str) -> dict[str, Entry]:
        """Every file and folder of a commit, by path."""
        return _entries(self.folder, sha)

    def read(self, entry: Entry) -> bytes:
        return (
            self.large(entry.sha256).read_bytes() if entry.sha256 else _git(self.folder, "cat-file", "blob", entry.oid)
        )

    def large(self, sha256: str) -> Path:
        return self.folder / "large" / sha256

    def add_large(self, content: bytes) -> bytes:
        """Keep a large file; its pointer comes back."""
        sha256 = hashlib.sha256(content).hexdigest()
        whole = self.large(sha256)
        part = whole.with_name(f"{sha256}.{threading.get_ident()}")
        part.write_bytes(content)
        part.replace(whole)
        return pointer(sha256, len(content))

    def commit(
        self, message: str, changes: list[tuple[str, bytes | None]], revision: str = "main", author: str = "hub"
    ) -> str:
        """Commit files by path; ``None`` deletes a file or a folder. A branch that is not there begins here."""
        ref = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        text = message.encode()
        lines = [f"commit {ref}\ncommitter {author} <{author}@hub.invalid> {int(time.time())} +0000\n".encode()]
        lines.append(b"data %d\n%b\n" % (len(text), text))
        lines.extend([f"from {ref}^0\n".encode()] if ref in self.refs() else [])
        for path, content in changes:
            quoted = '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
            if content is None:
                lines.append(f"D {quoted}\n".encode())
            else:
                lines.append(f"M 100644 inline {quoted}\ndata {len(content)}\n".encode() + content + b"\n")
        _git(self.folder, "fast-import", "--quiet", given=b"".join(lines))
        return self.refs()[ref]

    def commits(self, revision: str) -> list[Commit]:
        """The commits of a revision, the last one first."""
        lines = _git(self.folder, "log", "--format=%H%x09%ct%x09%s", revision).decode().splitlines()
        parts = [line.split("\t", 2) for line in lines]
        return [
            Commit(sha, time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(int(seconds))), title)
            for sha, seconds, title in parts
        ]

    def serve_git(self, service: str, request: bytes | None, protocol: str) -> bytes:
        """Speak git over HTTP: what upload-pack or receive-pack says to a request, or its advertisement."""
        if request is not None:
            return _git(self.folder, service, "--stateless-rpc", ".", given=request, protocol=protocol)
        head = f"# service=git-{service}\n"
        refs = _git(self.folder, service, "--stateless-rpc", "--advertise-refs", ".", protocol=protocol)
        return f"{len(head) + 4:04x}{head}0000".encode() + refs


def _git(folder: Path, *arguments: str, given: bytes = b"", check: bool = True, protocol: str = "") -> bytes:
    environment = GIT_ENVIRONMENT | {"GIT_PROTOCOL": protocol}
    run = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, input=given, capture_output=True, check=False
    )
    if check and run.returncode:
        raise RuntimeError(f"git {arguments[0]}: {run.stderr.decode()}")
    return run.stdout


@lru_cache(maxsize=256)
def _entries(folder: Path, sha: str) -> dict[str, Entry]:
    entries = {}
    for line in _git(folder, "ls-tree", "-r", "-t", "-z", "--long", sha).split(b"\0")[:-1]:
        facts, name = line.decode().split("\t", 1)
        _, kind, oid, size = facts.split()
        entry = Entry(name, "tree" if kind == "tree" else "blob", oid, 0 if size == "-" else int(size))
        # A pointer is never longer than this.
        if kind == "blob" and entry.size < 200:
            found = POINTER.fullmatch(_git(folder, "cat-file", "blob", oid))
            if found:
                entry = entry._replace(size=int(found[2]), sha256=found[1].decode(), pointer_size=entry.size)
        entries[name] = entry
    return entries
