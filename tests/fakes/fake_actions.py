"""The part of the stand-in for GitHub that keeps workflow runs, their artifacts, check runs, and code scanning."""

from __future__ import annotations

import base64
import copy
import gzip
import io
import json
import threading
import zipfile
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any, dict[str, str]]

_NOT_FOUND: Answer = 404, {"message": "Not Found", "documentation_url": ""}, {}
OWN_REPOSITORY, FOREIGN_REPOSITORY = 1_296_269, 9_999_999


def zipped(**files: bytes | str) -> bytes:
    """An archive as actions/upload-artifact makes one; `report_json` is report.json."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return buffer.getvalue()


class FakeActions:
    """Runs, artifacts, check runs and code scanning of one repository, and the storage on another host for downloads.

    :param examples: GitHub's own examples of its answers, by name.
    """

    def __init__(self, repository: str, examples: Callable[[], Mapping[str, Any]]) -> None:
        self.runs: dict[int, dict[str, Any]] = {}
        self.artifacts: list[dict[str, Any]] = []
        self.check_runs: list[dict[str, Any]] = []
        self.analyses: dict[tuple[str, str, str], dict[str, Any]] = {}
        """The SARIF log of each ref, commit and category; a later one takes the place of an earlier."""
        self.archives: dict[int, bytes] = {}
        self.seen_by_storage: list[Mapping[str, str]] = []
        self._repository = repository
        self._examples = examples
        self._number = 100

    def start(self) -> None:
        actions = self

        class Storage(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                actions.seen_by_storage.append({name.lower(): text for name, text in self.headers.items()})
                content = actions.archives[int(self.path.partition("?")[0].rpartition("/")[2])]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing on the terminal."""

        self._storage = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
        self._storage.daemon_threads = True
        self._storage.handle_error = lambda *_: None  # type: ignore[method-assign] # clients hang up on purpose
        threading.Thread(target=self._storage.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self._storage.shutdown()
        self._storage.server_close()

    def add_run(
        self, *, event: str = "push", branch: str = "main", sha: str = "a" * 40, repository: str = ""
    ) -> dict[str, Any]:
        """A finished workflow run; `repository` is the fork that it is of."""
        run = copy.deepcopy(self._examples()["workflow-run"])
        run.update(id=self._next(), event=event, head_branch=branch, head_sha=sha)
        run["head_repository"]["full_name"] = repository or self._repository
        self.runs[run["id"]] = run
        return run

    def add_artifact(self, run: Mapping[str, Any], name: str, archive: bytes) -> dict[str, Any]:
        """An artifact that a run has kept."""
        artifact = copy.deepcopy(self._examples()["artifact-paginated"]["artifacts"][0])
        is_own = run["head_repository"]["full_name"] == self._repository
        artifact.update(id=self._next(), name=name, size_in_bytes=len(archive))
        artifact["workflow_run"].update(
            id=run["id"],
            head_branch=run["head_branch"],
            head_sha=run["head_sha"],
            repository_id=OWN_REPOSITORY,
            head_repository_id=OWN_REPOSITORY if is_own else FOREIGN_REPOSITORY,
        )
        self.archives[artifact["id"]] = archive
        self.artifacts.append(artifact)
        return artifact

    def do(self, method: str, parts: list[str], query: Mapping[str, str], body: Any) -> Answer:
        """Answer with status, body and headers; 404 for what is not of this part."""
        return (self._get(parts, query) if method == "GET" else self._write(method, parts, body)) or _NOT_FOUND

    def _get(self, parts: list[str], query: Mapping[str, str]) -> Answer | None:
        match parts:
            case ["actions", "artifacts"]:
                return _listed("artifacts", self.artifacts, query)
            case ["actions", "runs", run, "artifacts"]:
                of_run = [each for each in self.artifacts if each["workflow_run"]["id"] == int(run)]
                return _listed("artifacts", of_run, query)
            case ["actions", "runs", run] if int(run) in self.runs:
                return 200, self.runs[int(run)], {}
            case ["actions", "artifacts", artifact, "zip"] if int(artifact) in self.archives:
                port = self._storage.server_address[1]
                return 302, None, {"Location": f"http://127.0.0.1:{port}/{artifact}?signature=secret"}
            case ["commits", sha, "check-runs"]:
                of_commit = [each for each in self.check_runs if each["head_sha"] == sha]
                return _listed("check_runs", of_commit, {"name": query["check_name"]})
        return None

    def _write(self, method: str, parts: list[str], body: Any) -> Answer | None:
        match method, parts:
            case "POST", ["check-runs"]:
                return 201, self._add_check_run(body), {}
            case "PATCH", ["check-runs", number]:
                (check_run,) = [each for each in self.check_runs if each["id"] == int(number)]
                check_run.update({name: value for name, value in body.items() if name != "output"})
                check_run["output"].update(body["output"])
                return 200, check_run, {}
            case "POST", ["code-scanning", "sarifs"]:
                log = json.loads(gzip.decompress(base64.b64decode(body["sarif"], validate=True)))
                category = log["runs"][0]["automationDetails"]["id"].rpartition("/")[0]
                self.analyses[body["ref"], body["commit_sha"], category] = log
                return 202, {**self._examples()["code-scanning-sarif-upload"]}, {}
        return None

    def _add_check_run(self, body: dict[str, Any]) -> dict[str, Any]:
        check_run = copy.deepcopy(self._examples()["check-run"])
        check_run.update({name: value for name, value in body.items() if name != "output"}, id=self._next())
        check_run["output"].update(body["output"])
        self.check_runs.append(check_run)
        return check_run

    def _next(self) -> int:
        self._number += 1
        return self._number


def _listed(name: str, items: list[dict[str, Any]], query: Mapping[str, str]) -> Answer:
    found = [each for each in reversed(items) if query.get("name") in (None, each["name"])]
    return 200, {"total_count": len(found), name: found[: int(query.get("per_page", 30))]}, {}
