"""A stand-in for GitHub on this machine: it keeps comments, and holds every request and answer to GitHub's description."""

from __future__ import annotations

import copy
import functools
import gzip
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from fake_actions import FakeActions
from github_description import description
from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.responses.exceptions import ResponseNotFound
from openapi_core.testing import MockRequest, MockResponse
from typing_extensions import Self

TOKEN = "ghs_ThisIsTheTokenOfTheFake0123456789"
BOT = "github-actions[bot]"
REPOSITORY = "octocat/Hello-World"


@functools.cache
def _published() -> tuple[OpenAPI, dict[str, Any]]:
    document = description()
    # The document was validated by its publisher, and checking it takes seconds.
    api = OpenAPI.from_dict(document, config=Config(spec_validator_cls=None))
    examples = {name: example["value"] for name, example in document["components"]["examples"].items()}
    return api, examples


@dataclass
class Fault:
    """What goes wrong with the next requests of one method, or with ANY, the question who we are among them.

    `status` 0 drops the connection; `done` does the work first and loses the answer only; `after` lets so many pass.
    """

    method: str
    status: int = 0
    message: str = "Server Error"
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    done: bool = False
    silence: float = 0.0
    drip: bool = False
    after: int = 0


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


@dataclass(frozen=True)
class _Answer:
    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class FakeGitHub:
    """One repository with one pull request; use it as a context manager.

    :param enterprise: answer under /api/v3, as GitHub Enterprise Server does.
    :param read_only: refuse to write, as GitHub does for the token of a fork's pull request.
    :param max_characters: the longest comment.
    :param checked: compare requests and answers with GitHub's description, which takes half of the time.
    """

    def __init__(
        self,
        *,
        enterprise: bool = False,
        read_only: bool = False,
        max_characters: int = 65_536,
        checked: bool = True,
    ) -> None:
        self.comments: list[dict[str, Any]] = []
        self.pull_requests: list[dict[str, Any]] = []
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.faults: list[Fault] = []
        self.login: str | None = BOT
        self.next_page_host = ""
        self.before_create: Callable[[], object] = lambda: None
        self.actions = FakeActions(REPOSITORY, lambda: _published()[1])
        self._root = "/api/v3" if enterprise else ""
        self._graphql = "/api/graphql" if enterprise else "/graphql"
        self._read_only = read_only
        self._checked = checked
        self._max_characters = max_characters
        self._lock = threading.RLock()
        self._number = 1_000

    def __enter__(self) -> Self:
        fake = self

        class Handler(_Handler):
            github = fake

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.actions.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.actions.stop()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """What GITHUB_API_URL would be."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._root}"

    @property
    def writes(self) -> list[Request]:
        return [request for request in self.requests if request.method != "GET" and request.path != self._graphql]

    def add_comment(self, body: str, *, author: str = BOT) -> dict[str, Any]:
        """A comment that is there already, or that somebody else makes."""
        with self._lock:
            self._number += 1
            comment = copy.deepcopy(_published()[1]["issue-comment"])
            comment.update(
                id=self._number, body=body, html_url=f"https://github.com/{REPOSITORY}/pull/7#{self._number}"
            )
            comment["user"].update(login=author, type="Bot" if author.endswith("[bot]") else "User")
            self.comments.append(comment)
            return comment

    def add_pull_request(self, number: int, *, branch: str, sha: str, owner: str = "octocat") -> None:
        """An open pull request from this branch."""
        example = copy.deepcopy(_published()[1]["pull-request-simple-items"][0])
        example.update(number=number, requested_teams=[])  # their example of a team breaks their own schema
        example["head"].update(ref=branch, sha=sha, label=f"{owner}:{branch}")
        example["head"]["repo"]["full_name"] = f"{owner}/Hello-World"
        self.pull_requests.append(example)

    def bodies(self, *, author: str = BOT) -> list[str]:
        return [comment["body"] for comment in self.comments if comment["user"]["login"] == author]

    def answer(self, request: Request) -> tuple[_Answer | None, Fault | None]:
        """Answer one request; None drops the connection."""
        self.requests.append(request)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _Answer(
                401, {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"}
            ), None
        is_graphql = request.path == self._graphql
        if not is_graphql:
            self._check(request)
        fault = self._fault("" if is_graphql else request.method)
        if fault and not fault.done:
            time.sleep(fault.silence)
            error = _Answer(fault.status, {"message": fault.message, "documentation_url": ""}, fault.headers)
            return (error if fault.status else None), fault
        answer = self._viewer(request) if is_graphql else self._do(request)
        if not is_graphql:
            self._check(request, answer)
        return (None, fault) if fault and not fault.drip else (answer, fault)

    def _fault(self, method: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.method not in (method, "ANY") or fault.times <= 0:
                    continue
                if fault.after == 0:
                    fault.times -= 1
                    return fault
                fault.after -= 1
            return None

    def _viewer(self, request: Request) -> _Answer:
        if request.body != {"query": "{viewer{login}}"}:
            self.violations.append(f"unexpected GraphQL {request.body}")
        return _Answer(200, {"data": {"viewer": {"login": self.login}}} if self.login else {"errors": []})

    def _do(self, request: Request) -> _Answer:
        parts = request.path.removeprefix(f"{self._root}/repos/{REPOSITORY}/").split("/")
        if request.method != "GET" and self._read_only:
            return _refusal(403, "Resource not accessible by integration")
        match request.method, parts:
            case "GET", ["issues", "7", "comments"]:
                return self._page(request, self.comments)
            case "GET", ["pulls"]:
                head = request.query.get("head")
                return self._page(request, [each for each in self.pull_requests if each["head"]["label"] == head])
            case "POST", ["issues", "7", "comments"]:
                self.before_create()
                return self._too_long(request) or _Answer(201, self.add_comment(request.body["body"]))
            case "PATCH" | "DELETE", ["issues", "comments", number]:
                return self._change(request, int(number))
            case _:
                with self._lock:
                    status, body, headers = self.actions.do(request.method, parts, request.query, request.body)
                return _Answer(status, copy.deepcopy(body), headers)

    def _change(self, request: Request, number: int) -> _Answer:
        with self._lock:
            comment = next((each for each in self.comments if each["id"] == number), None)
            if comment is None:
                return _refusal(404, "Not Found")
            if request.method == "DELETE":
                self.comments.remove(comment)
                return _Answer(204)
            if too_long := self._too_long(request):
                return too_long
            comment["body"] = request.body["body"]
            return _Answer(200, copy.deepcopy(comment))

    def _too_long(self, request: Request) -> _Answer | None:
        if len(request.body["body"]) <= self._max_characters:
            return None
        message = f"Body is too long (maximum is {self._max_characters} characters)"
        error = {"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": message}
        return _refusal(422, "Validation Failed", errors=[error])

    def _page(self, request: Request, items: list[dict[str, Any]]) -> _Answer:
        size, page = int(request.query.get("per_page", 30)), int(request.query.get("page", 1))
        with self._lock:
            shown = copy.deepcopy(items[(page - 1) * size : page * size])
            more = len(items) > page * size
        query = urlencode({**request.query, "page": page + 1})
        host = self.next_page_host or request.headers["host"]
        return _Answer(200, shown, {"Link": f'<http://{host}{request.path}?{query}>; rel="next"'} if more else {})

    def _check(self, request: Request, answer: _Answer | None = None) -> None:
        if not self._checked:
            return
        api, _ = _published()
        asked = MockRequest(
            "http://localhost",
            request.method.lower(),
            request.path.removeprefix(self._root),
            args=request.query,
            data=None if request.body is None else json.dumps(request.body).encode(),
        )
        try:
            if answer is None:
                api.validate_request(asked)
            else:
                data = b"" if answer.body is None else json.dumps(answer.body).encode()
                api.validate_response(asked, MockResponse(data, status_code=answer.status))
        except ResponseNotFound:
            # Refusals such as a 404 to PATCH are real, and not in the description.
            if answer and answer.status < 400:
                self.violations.append(f"{request.method} {request.path}: {answer.status} is no answer to this")
        except OpenAPIError as error:
            self.violations.append(f"{request.method} {request.path}: {str(error)[:1_000]}")


def _refusal(status: int, message: str, **more: Any) -> _Answer:
    return _Answer(status, {"message": message, "documentation_url": "https://docs.github.com/rest", **more})


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients hang up on purpose here."""


class _Handler(BaseHTTPRequestHandler):
    github: FakeGitHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65_536

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, url.path, dict(parse_qsl(url.query)), body, headers)
        answer, fault = self.github.answer(request)
        if answer is None:
            self.close_connection = True
            self.connection.close()
            return
        self._send(answer, drip=bool(fault and fault.drip))

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

    def _send(self, answer: _Answer, *, drip: bool) -> None:
        """Send in chunks, and compressed when the client takes that, as GitHub does."""
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.body is None:
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = json.dumps(answer.body).encode()
        self.send_header("Content-Type", "application/json; charset=utf-8")
        if "gzip" in self.headers.get("accept-encoding", ""):
            content = gzip.compress(content)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        size = 1 if drip else 16_384
        for start in range(0, len(content), size):
            part = content[start : start + size]
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            if drip:
                self.wfile.flush()
                time.sleep(0.05)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Say nothing on the terminal."""
