"""One client for GitHub's REST API: retries that honour GitHub's limits, within a total of seconds and of requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from pytest_savepoint.settings import Secret
from requests.auth import AuthBase
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential
from urllib3.exceptions import HTTPError

from savepoint_ci.github.errors import GitHubError, UnsureError
from savepoint_ci.report.text import clean_line, cut

__all__ = ["MAX_REQUESTS", "Client"]

MAX_REQUESTS = 120
"""The most that one run may ask of the 1,000 requests per hour that a workflow's token has; usually it is 3 or 4."""

TOTAL_SECONDS = 120.0
_ATTEMPTS = 6
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 20.0
_MAX_BYTES = 32 * 1024 * 1024
_SECONDARY_LIMIT_SECONDS = 60.0
_PER_PAGE = 100
_BACKOFF = wait_random_exponential(multiplier=1, max=20)


class _TryAgainError(Exception):
    """A fault that may pass; `wait` is what GitHub asked for, in seconds."""

    def __init__(self, error: GitHubError, wait: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait = wait


@dataclass(frozen=True, kw_only=True)
class _Question:
    """One request; one that creates something is not repeatable, and one for a file says how large it may be."""

    method: str
    url: str
    query: dict[str, str | int] | None = None
    body: dict[str, Any] | None = None
    repeatable: bool = True
    file_limit: int | None = None


class _Bearer(AuthBase):
    """Puts the token on each request; given as `auth`, because a ~/.netrc would replace a plain header."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token.reveal()}"
        return request


class Client:
    """Speaks to GitHub's API; proxies and certificates are taken from the environment.

    :param url: the API's address, such as https://api.github.com or https://host/api/v3.
    :param seconds: after so many, waits included, nothing is tried any more.
    :param read_seconds: how long one answer may keep silent.
    :param sleep: how to wait; with `clock` it lets time be given.
    :param clock: the seconds of a clock that never goes back.
    """

    def __init__(
        self,
        url: str,
        token: Secret,
        *,
        seconds: float = TOTAL_SECONDS,
        read_seconds: float = _READ_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api_url = url.rstrip("/")
        self._sleep = sleep
        self._clock = clock
        self._deadline = clock() + seconds
        self._read_seconds = read_seconds
        self._requests_left = MAX_REQUESTS
        self._session = requests.Session()
        self._session.auth = _Bearer(token)
        self._session.max_redirects = 3
        self._session.headers.update(
            {
                "Accept": "application/vnd.github+json",
                "Accept-Encoding": "identity",
                "X-GitHub-Api-Version": "2022-11-28",
                "User-Agent": "savepoint",
            }
        )

    def get(self, path: str, **query: str | int) -> Any:
        """Return what is at `path`.

        :raises GitHubError: when GitHub refuses, or cannot be reached within the client's time.
        """
        return self._ask("GET", self._api_url + path, query=query)[0]

    def pages(self, path: str, **query: str | int) -> Iterator[Any]:
        """Return the items of a list, over all its pages."""
        url: str | None = self._api_url + path
        parameters: dict[str, str | int] = {**query, "per_page": _PER_PAGE}
        while url:
            items, url = self._ask("GET", url, query=parameters)
            yield from items
            parameters = {}  # the address of the next page carries them

    def post(self, path: str, body: dict[str, Any], *, repeatable: bool = False) -> Any:
        """Create something.

        :param repeatable: done twice it is as good as once, so what got lost is asked again.
        :raises UnsureError: when it may have been created although no answer came; look before asking again.
        """
        return self._ask("POST", self._api_url + path, body=body, repeatable=repeatable)[0]

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        """Change something."""
        return self._ask("PATCH", self._api_url + path, body=body)[0]

    def delete(self, path: str) -> None:
        """Remove something; that it is gone already is as good."""
        try:
            self._ask("DELETE", self._api_url + path)
        except GitHubError as error:
            if error.status != requests.codes.not_found:
                raise

    def download(self, path: str, *, limit: int) -> bytes:
        """Return a file of at most `limit` bytes; GitHub leads to its storage, which never sees the token.

        :raises GitHubError: when it is larger, GitHub refuses, or cannot be reached within the client's time.
        """
        content: bytes = self._ask("GET", self._api_url + path, file_limit=limit)[0]
        return content

    def login(self) -> str:
        """Return the name under which the token writes, such as `github-actions[bot]`.

        Only GraphQL tells it to every kind of token; REST refuses the question to a workflow's own.
        """
        base = self._api_url.removesuffix("/v3")
        answer, _ = self._ask("POST", f"{base}/graphql", body={"query": "{viewer{login}}"})
        try:
            return str(answer["data"]["viewer"]["login"])
        except (KeyError, TypeError):
            raise GitHubError(f"GitHub does not say whose token this is: {cut(str(answer), 200)}") from None

    def _ask(self, method: str, url: str, **more: Any) -> tuple[Any, str | None]:
        """Return the answer and the address of the next page."""
        retrying = Retrying(
            retry=retry_if_exception_type(_TryAgainError),
            wait=_wait,
            stop=self._gives_up,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(self._once, _Question(method=method, url=url, **more))
        except _TryAgainError as fault:
            raise fault.error from None

    def _once(self, asked: _Question) -> tuple[Any, str | None]:
        if self._requests_left <= 0:
            raise GitHubError(f"{MAX_REQUESTS} requests were not enough; GitHub is left alone now.")
        self._requests_left -= 1
        what = f"{asked.method} {urlsplit(asked.url).path}"
        try:
            with self._session.request(
                asked.method, asked.url, params=asked.query, json=asked.body, timeout=self._timeout(), stream=True
            ) as response:
                content = self._read(response, asked.file_limit or _MAX_BYTES)
        except (requests.RequestException, HTTPError, OSError) as fault:
            # The class says enough; the text of such an error may hold a proxy's password.
            raise _lost(
                GitHubError(f"{what}: no answer ({type(fault).__name__})."), repeatable=asked.repeatable
            ) from None
        if asked.file_limit and response.ok:
            return content, None
        answer = _json(content)
        if response.ok and (content == b"" or answer is not None):
            return answer, self._next_page(response)
        raise _refused(what, response, answer, repeatable=asked.repeatable)

    def _timeout(self) -> tuple[float, float]:
        left = max(self._deadline - self._clock(), 0.1)
        return min(_CONNECT_SECONDS, left), min(self._read_seconds, left)

    def _read(self, response: requests.Response, limit: int) -> bytes:
        """Read the body as it comes; a time-out per read would not end an answer that drips, nor a compressed one."""
        content = bytearray()
        while part := response.raw.read1(65_536):
            content += part
            if len(content) > limit:
                raise GitHubError(f"{urlsplit(response.url).path}: the answer has more than {limit:,} bytes.")
            if self._clock() > self._deadline:
                raise requests.exceptions.ContentDecodingError
        return bytes(content)

    def _next_page(self, response: requests.Response) -> str | None:
        url = response.links.get("next", {}).get("url")
        if url and urlsplit(url)[:2] != urlsplit(self._api_url)[:2]:
            raise GitHubError("GitHub's next page is on another host; the token is not sent there.")
        return url

    def _gives_up(self, state: RetryCallState) -> bool:
        return state.attempt_number >= _ATTEMPTS or self._clock() + state.upcoming_sleep > self._deadline


def _wait(state: RetryCallState) -> float:
    fault = state.outcome.exception() if state.outcome else None
    asked = fault.wait if isinstance(fault, _TryAgainError) else None
    return _BACKOFF(state) if asked is None else asked


def _refused(what: str, response: requests.Response, answer: Any, *, repeatable: bool) -> Exception:
    message = answer.get("message", "") if isinstance(answer, dict) else ""
    details = answer.get("errors", "") if isinstance(answer, dict) else ""
    said = cut(clean_line(f"{message} {details or ''}"), 500)
    error = GitHubError(f"{what}: GitHub answered {response.status_code}: {said}", response.status_code)
    if response.status_code in (403, 429):
        wait = _asked_wait(response, message)
        if wait is not None:
            # A limit is no refusal, although GitHub sends 403 for it too.
            return _TryAgainError(GitHubError(str(error), requests.codes.too_many_requests), wait)
    if response.ok or response.status_code >= 500:
        return _lost(error, repeatable=repeatable)
    return error


def _lost(error: GitHubError, *, repeatable: bool) -> Exception:
    return _TryAgainError(error) if repeatable else UnsureError(str(error), error.status)


def _asked_wait(response: requests.Response, message: str) -> float | None:
    """Return the seconds that a rate limit asks for, None when the answer is a plain refusal."""
    headers = response.headers
    if headers.get("retry-after", "").isdigit():
        return float(headers["retry-after"])
    if headers.get("x-ratelimit-remaining") == "0" and headers.get("x-ratelimit-reset", "").isdigit():
        return max(float(headers["x-ratelimit-reset"]) - _server_time(headers), 0) + 1
    if response.status_code == requests.codes.too_many_requests or "rate limit" in message.lower():
        return _SECONDARY_LIMIT_SECONDS
    return None


def _server_time(headers: Mapping[str, str]) -> float:
    """Return GitHub's own time, because this machine's clock may be wrong."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return time.time()


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
