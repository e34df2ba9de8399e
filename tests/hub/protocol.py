"""What the stand-in Hub answers: the requests that its clients make, and git's own protocol."""

import asyncio
import base64
import json
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs

import yaml
from aiohttp import BasicAuth, web

from tests.hub.cards import check_metadata, read_metadata
from tests.hub.faults import Handler
from tests.hub.repositories import Commit, Entry, Repository, RepoType, is_large, pointer

# The last two are fine-grained tokens: one may read its owner's repositories, the other one may write to another one.
Role = Literal["write", "read", "fine, read", "fine, other"]
Answer = Callable[[web.Request, bytes], web.Response]

ID = "{id:[^/]+(?:/[^/]+)?}"
API = "/api/{types:models|datasets}/" + ID
WEB = "/{types:(?:datasets/)?}" + ID  # of a repository's files and its git: an id, after datasets/ for a dataset
LFS_JSON = "application/vnd.git-lfs+json"
NO_ACCESS = "Invalid username or password."


class Account(NamedTuple):
    name: str
    role: Role


class Refusal(Exception):
    """An answer in the Hub's form for errors. ``code`` is what its clients choose their exception by."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.headers |= {"WWW-Authenticate": 'Basic realm="Hub"'} if status == 401 else {}
        self.headers |= {name.replace("_", "-"): value for name, value in headers.items()}


class Protocol:
    """The repositories, the accounts, and one method for each kind of request. Each runs in a thread."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.cdn = f"http://localhost:{port}"
        self.pages: dict[str, bytes] = {}
        self.repositories: dict[tuple[RepoType, str], Repository] = {}
        self.accounts: dict[str, Account] = {}
        self._devices: set[str] = set()  # device codes that were asked about once
        self.device_token = ""
        self._lock = threading.Lock()

    def routes(self) -> list[web.RouteDef]:
        routes: list[tuple[str, str, Answer]] = [
            ("GET", "/api/whoami-v2", self._whoami),
            ("POST", "/oauth/device", self._device),
            ("POST", "/oauth/token", self._device_poll),
            ("POST", "/api/repos/create", self._create_repo),
            ("POST", "/api/validate-yaml", self._validate_yaml),
            ("POST", API + "/preupload/{revision}", self._preupload),
            ("POST", API + "/commit/{revision}", self._commit),
            ("POST", API + "/paths-info/{revision}", self._paths_info),
            ("GET", API + "/tree/{revision}", self._tree),
            ("GET", API + "/tree/{revision}/{path:.+}", self._tree),
            ("GET", API + "/revision/{revision}", self._info),
            ("GET", API, self._info),
            ("GET", "/cdn" + WEB + "/{oid:[0-9a-f]{64}}/{path:.+}", self._download),
            ("PUT", "/cdn" + WEB + "/{oid:[0-9a-f]{64}}", self._upload),
            ("GET", WEB + "/resolve/{revision}/{path:.+}", self._file),
            ("POST", WEB + ".git/info/lfs/objects/batch", self._lfs_batch),
            ("POST", WEB + ".git/info/lfs/verify", self._lfs_verify),
            ("GET", WEB + "/info/refs", self._git),
            ("POST", WEB + "/git-{service:upload-pack|receive-pack}", self._git),
            ("GET", "/{path:.*}", self._page),
            ("POST", "/{path:.*}", self._page),
        ]
        return [
            web.get(path, _in_a_thread(answer)) if method == "GET" else web.route(method, path, _in_a_thread(answer))
            for method, path, answer in routes
        ]

    def find_or_create(self, repo_id: str, repo_type: RepoType, private: bool) -> tuple[Repository, bool]:
        """A repository, and whether it was there already."""
        with self._lock:
            there = self.repositories.get((repo_type, repo_id))
            if there:
                return there, True
            repository = Repository(repo_id, repo_type, self.folder / "repositories" / repo_type / repo_id, private)
            repository.create()
            self.repositories[repo_type, repo_id] = repository
            return repository, False

    def _account(self, request: web.Request) -> Account | None:
        token = token_of(request)
        if token is None:
            return None
        if token not in self.accounts:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return self.accounts[token]

    def _repository(self, request: web.Request, write: bool = False) -> Repository:
        """The repository of a request, if it may be read, or written to."""
        account = self._account(request)
        repo_type: RepoType = "dataset" if request.match_info["types"].startswith("datasets") else "model"
        repository = self.repositories.get((repo_type, request.match_info["id"].removesuffix(".git")))
        if repository is None or (repository.private and (account is None or account.name != repository.owner)):
            # The Hub does not tell those who are not logged in that there is no such repository.
            raise Refusal(404 if account else 401, "Repository not found", "RepoNotFound")
        if write and account is None:
            raise Refusal(401, NO_ACCESS, "RepoNotFound")
        if write and account != Account(repository.owner, "write"):
            raise Refusal(403, f"You don't have the rights to write to {repository.repo_id} with this token")
        return repository

    def _whoami(self, request: web.Request, body: bytes) -> web.Response:
        account = self._account(request)
        if account is None:
            raise Refusal(401, NO_ACCESS)
        name, role = account
        token: dict[str, Any] = {"displayName": f"{name}-{role}", "role": role, "createdAt": "2026-01-01T00:00:00.000Z"}
        if role.startswith("fine"):
            token |= {"role": "fineGrained", "fineGrained": _scopes(name, role)}
        facts = {"type": "user", "name": name, "fullname": name.title(), "email": f"{name}@example.org", "orgs": []}
        return web.json_response(facts | {"auth": {"type": "access_token", "accessToken": token}})

    def _device(self, request: web.Request, body: bytes) -> web.Response:
        where = f"{self.url}/oauth/device"
        facts = {"device_code": secrets.token_hex(8), "user_code": "ABCD-1234", "interval": 1, "expires_in": 900}
        facts |= {"verification_uri": where, "verification_uri_complete": f"{where}?user_code=ABCD-1234"}
        return web.json_response(facts)

    def _device_poll(self, request: web.Request, body: bytes) -> web.Response:
        asked = parse_qs(body.decode())
        code = asked.get("device_code", [""])[0]
        if not code:
            return web.json_response({"error": "invalid_grant"}, status=400)
        if code not in self._devices or not self.device_token:  # nobody is as fast as the first question
            self._devices.add(code)
            return web.json_response({"error": "authorization_pending"}, status=400)
        return web.json_response({"access_token": self.device_token, "token_type": "bearer", "expires_in": 86400})

    def _create_repo(self, request: web.Request, body: bytes) -> web.Response:
        account, asked = self._account(request), json.loads(body)
        if account is None:
            raise Refusal(401, NO_ACCESS)
        namespace = asked.get("organization") or account.name
        repo_id = f"{namespace}/{asked['name']}"
        repo_type: RepoType = asked.get("type") or "model"
        if account != Account(namespace, "write"):
            raise Refusal(403, f'You don\'t have the rights to create a {repo_type} under the namespace "{namespace}"')
        private = asked.get("private") or asked.get("visibility") == "private"
        repository, there = self.find_or_create(repo_id, repo_type, bool(private))
        facts = {"url": f"{self.url}/{repository.web_path}", "name": repo_id, "id": repo_id}
        if there:
            facts["error"] = f"You already created this {repo_type} repo"
        return web.json_response(facts, status=409 if there else 200)

    def _validate_yaml(self, request: web.Request, body: bytes) -> web.Response:
        errors = [{"message": text} for text in check_metadata(json.loads(body)["content"])]
        return web.json_response({"errors": errors, "warnings": []}, status=400 if errors else 200)

    def _info(self, request: web.Request, body: bytes) -> web.Response:
        repository = self._repository(request)
        sha = _resolve(request, repository)
        entries = [entry for entry in repository.entries(sha).values() if entry.kind == "blob"]
        commits, card = repository.commits(sha), _card(repository, sha)
        facts = {key: card[key] for key in ("pipeline_tag", "library_name") if key in card} | {"cardData": card}
        facts |= {"id": repository.repo_id, "author": repository.owner, "private": repository.private, "sha": sha}
        facts |= {"lastModified": commits[0].date, "createdAt": commits[-1].date, "tags": card.get("tags") or []}
        facts |= {"gated": False, "disabled": False, "downloads": 0, "likes": 0}
        facts["siblings"] = [_sibling(entry, _flag(request, "blobs")) for entry in entries]
        return web.json_response(facts)

    def _tree(self, request: web.Request, body: bytes) -> web.Response:
        repository = self._repository(request)
        sha = _resolve(request, repository)
        folder, entries = request.match_info.get("path", ""), repository.entries(sha)
        if folder and (folder not in entries or entries[folder].kind != "tree"):
            raise Refusal(404, f"{folder} does not exist on {sha}", "EntryNotFound", X_Repo_Commit=sha)
        start = f"{folder}/" if folder else ""
        within = [entry for path, entry in entries.items() if path.startswith(start)]
        if not _flag(request, "recursive"):
            within = [entry for entry in within if "/" not in entry.path.removeprefix(start)]
        last = repository.commits(sha)[0] if _flag(request, "expand") else None
        return web.json_response([_path_info(entry, last) for entry in within])

    def _paths_info(self, request: web.Request, body: bytes) -> web.Response:
        repository = self._repository(request)
        entries = repository.entries(_resolve(request, repository))
        paths = parse_qs(body.decode()).get("paths", [])
        return web.json_response([_path_info(entries[path], None) for path in paths if path in entries])

    def _file(self, request: web.Request, body: bytes) -> web.Response:
        repository = self._repository(request)
        sha, path = _resolve(request, repository), request.match_info["path"]
        entry = repository.entries(sha).get(path)
        if entry is None or entry.kind != "blob":
            raise Refusal(404, "Entry not found", "EntryNotFound", X_Repo_Commit=sha)
        headers = {"X-Repo-Commit": sha, "ETag": f'"{entry.oid}"'}
        if not entry.sha256:
            return _ranged(request, repository.read(entry), headers)
        headers |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": f'"{entry.sha256}"'}
        headers["Location"] = f"{self.cdn}/cdn/{repository.web_path}/{entry.sha256}/{path}"
        return web.Response(status=302, headers=headers)

    def _download(self, request: web.Request, body: bytes) -> web.Response:
        _refuse_a_token(request)
        oid = request.match_info["oid"]
        return _ranged(request, self._of_the_cdn(request).large(oid).read_bytes(), {"ETag": f'"{oid}"'})

    def _upload(self, request: web.Request, body: bytes) -> web.Response:
        _refuse_a_token(request)
        oid = request.match_info["oid"]
        if self._of_the_cdn(request).add_large(body) != pointer(oid, len(body)):
            raise Refusal(400, "The bytes do not have the checksum that they should have")
        return web.Response(headers={"ETag": f'"{oid}"'})

    def _of_the_cdn(self, request: web.Request) -> Repository:
        repo_type: RepoType = "dataset" if request.match_info["types"] else "model"
        return self.repositories[repo_type, request.match_info["id"]]

    def _preupload(self, request: web.Request, body: bytes) -> web.Response:
        repository = self._repository(request, write=True)
        entries = repository.entries(_resolve(request, repository))
        files = []
        for file in json.loads(body)["files"]:
            mode = "lfs" if is_large(file["path"], file["size"]) else "regular"
            there = entries.get(file["path"])
            oid = (there.sha256 or there.oid) if there else None
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return web.json_response({"files": files})

    def _lfs_batch(self, request: web.Request, body: bytes) -> web.Response:
        asked = json.loads(body)
        repository = self._repository(request, write=asked["operation"] == "upload")
        answers = []
        for wanted in asked["objects"]:
            there = repository.large(wanted["oid"]).exists()
            answer: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            place = f"{self.cdn}/cdn/{repository.web_path}/{wanted['oid']}"
            if asked["operation"] == "upload" and not there:
                login = {"Authorization": request.headers["Authorization"]}
                verify = {"href": f"{self.url}/{repository.web_path}.git/info/lfs/verify", "header": login}
                answer["actions"] = {"upload": {"href": place, "header": {}}, "verify": verify}
            elif asked["operation"] == "download" and there:
                answer["actions"] = {"download": {"href": f"{place}/{wanted['oid']}"}}
            elif not there:
                answer["error"] = {"code": 404, "message": "There is no such object"}
            answers.append(answer)
        return web.json_response({"transfer": "basic", "objects": answers}, content_type=LFS_JSON)

    def _lfs_verify(self, request: web.Request, body: bytes) -> web.Response:
        repository, asked = self._repository(request, write=True), json.loads(body)
        file = repository.large(asked["oid"])
        if not file.exists() or file.stat().st_size != asked["size"]:
            raise Refusal(404, "The object was not uploaded")
        return web.json_response({}, content_type=LFS_JSON)

    def _commit(self, request: web.Request, body: bytes) -> web.Response:
        repository = self._repository(request, write=True)
        if "create_pr" in request.query:
            raise Refusal(501, "The stand-in has no pull requests")
        operations = [json.loads(line) for line in body.splitlines() if line.strip()]
        header = operations[0]["value"]
        with repository.lock:
            head = _resolve(request, repository)
            if not head.startswith(header.get("parentCommit", "")):
                raise Refusal(412, "A commit has happened since. Please refresh and try again.")
            changes = [_change(repository, head, item["key"], item["value"]) for item in operations[1:]]
            message = f"{header['summary']}\n\n{header.get('description', '')}".strip()
            sha = repository.commit(message, changes, request.match_info["revision"], repository.owner)
        url = f"{self.url}/{repository.web_path}/commit/{sha}"
        return web.json_response({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})

    def _git(self, request: web.Request, body: bytes) -> web.Response:
        advertise = request.method == "GET"
        service = request.query.get("service", "") if advertise else f"git-{request.match_info['service']}"
        if service not in ("git-upload-pack", "git-receive-pack"):
            raise Refusal(403, "Only git's smart protocol is spoken here")
        repository = self._repository(request, write=service == "git-receive-pack")
        protocol = request.headers.get("Git-Protocol", "")
        answer = repository.serve_git(service.removeprefix("git-"), None if advertise else body, protocol)
        kind = "advertisement" if advertise else "result"
        headers = {"Content-Type": f"application/x-{service}-{kind}", "Cache-Control": "no-cache"}
        return web.Response(body=answer, headers=headers)

    def _page(self, request: web.Request, body: bytes) -> web.Response:
        if request.path == "/":
            return web.Response(text="<h1>A stand-in Hub</h1>", content_type="text/html")
        if request.path not in self.pages or request.method == "POST":
            raise Refusal(404, "There is no such page")
        content = self.pages[request.path]
        return _ranged(request, content, {"ETag": f'"{hash(content):x}"'})


def _in_a_thread(handler: Answer) -> Handler:
    """Run a handler in a thread, since git and files block; a refusal becomes an answer."""

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        try:
            return await asyncio.to_thread(handler, request, body)
        except Refusal as refusal:
            return web.json_response({"error": str(refusal)}, status=refusal.status, headers=refusal.headers)

    return handle


def _scopes(name: str, role: Role) -> dict[str, Any]:
    """What the Hub says of a fine-grained token."""
    scope = {"entity": {"_id": "0", "type": "user", "name": name}, "permissions": ["repo.content.read"]}
    other = {"entity": {"_id": "1", "type": "model", "name": f"{name}/other"}, "permissions": ["repo.write"]}
    return {"canReadGatedRepos": False, "global": [], "scoped": [scope, other] if role == "fine, other" else [scope]}


def token_of(request: web.Request) -> str | None:
    """The token of a request: a Bearer one, or the password of git's Basic login."""
    given = request.headers.get("Authorization", "")
    if given.startswith("Bearer "):
        return given.removeprefix("Bearer ")
    return BasicAuth.decode(given).password if given.startswith("Basic ") else None


def _refuse_a_token(request: web.Request) -> None:
    """As the storage behind the Hub does: an address there is signed, and a token has no business with it."""
    if token_of(request) is not None:
        raise Refusal(400, "Only one way to authenticate is allowed")


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in ("true", "1")


def _resolve(request: web.Request, repository: Repository) -> str:
    revision = request.match_info.get("revision", "main")
    sha = repository.resolve(revision)
    if not sha:
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return sha


def _change(repository: Repository, head: str, key: str, value: dict[str, Any]) -> tuple[str, bytes | None]:
    """One line of a commit as git takes it."""
    path: str = value["path"]
    if key == "file":
        return path, base64.b64decode(value["content"])
    if key == "lfsFile":
        file = repository.large(value["oid"])
        if not file.exists():
            raise Refusal(400, f"The pointer of {path} is to a file that was not uploaded")
        return path, pointer(value["oid"], file.stat().st_size)
    if key not in ("deletedFile", "deletedFolder"):
        raise Refusal(400, f"The stand-in knows no operation {key}")
    if path.rstrip("/") not in repository.entries(head):
        raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
    return path.rstrip("/"), None


def _card(repository: Repository, sha: str) -> dict[str, Any]:
    entry = repository.entries(sha).get("README.md")
    try:
        card = read_metadata(repository.read(entry).decode()) if entry else None
    except (yaml.YAMLError, UnicodeDecodeError):
        card = None
    return card if isinstance(card, dict) else {}


def _sibling(entry: Entry, blobs: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {"rfilename": entry.path}
    if blobs:
        facts |= {"size": entry.size, "blobId": entry.oid}
        if entry.sha256:
            facts["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    return facts


def _path_info(entry: Entry, last: Commit | None) -> dict[str, Any]:
    kind = "file" if entry.kind == "blob" else "directory"
    facts: dict[str, Any] = {"type": kind, "path": entry.path, "oid": entry.oid, "size": entry.size}
    if entry.sha256:
        facts["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    if last:
        facts["lastCommit"] = {"id": last.sha, "title": last.title, "date": last.date}
    return facts


def _ranged(request: web.Request, content: bytes, headers: dict[str, str]) -> web.Response:
    """Content, or the part of it that Range asks for."""
    headers = headers | {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    if "Range" not in request.headers:
        return web.Response(body=content, headers=headers)
    try:
        start, stop, _ = request.http_range.indices(len(content))
    except ValueError:
        start = stop = 0
    if start >= stop:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
    return web.Response(status=206, body=content[start:stop], headers=headers)
