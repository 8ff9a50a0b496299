"""GitHub's published OpenAPI description, fetched once and cut to the endpoints that Savepoint uses.

Run it as a program to fetch the description before tests that have no network.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

PACKAGE = "@octokit/openapi@23.0.2"
_MEMBER = "package/generated/api.github.com.json"
_ENDPOINTS = {
    "/repos/{owner}/{repo}/issues/{issue_number}/comments": ("get", "post"),
    "/repos/{owner}/{repo}/issues/comments/{comment_id}": ("patch", "delete"),
    "/repos/{owner}/{repo}/pulls": ("get",),
    "/repos/{owner}/{repo}/actions/artifacts": ("get",),
    "/repos/{owner}/{repo}/actions/artifacts/{artifact_id}/{archive_format}": ("get",),
    "/repos/{owner}/{repo}/actions/runs/{run_id}": ("get",),
    "/repos/{owner}/{repo}/actions/runs/{run_id}/artifacts": ("get",),
    "/repos/{owner}/{repo}/check-runs": ("post",),
    "/repos/{owner}/{repo}/check-runs/{check_run_id}": ("patch",),
    "/repos/{owner}/{repo}/commits/{ref}/check-runs": ("get",),
    "/repos/{owner}/{repo}/code-scanning/sarifs": ("post",),
}
_DIGEST = hashlib.sha256(repr(_ENDPOINTS).encode()).hexdigest()[:8]  # of what was cut out


def description() -> dict[str, Any]:
    """Return the cut description, from the cache directory when it was fetched before."""
    cache = _cache()
    if not cache.exists():
        whole = _fetch()
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(_cut(whole)), encoding="utf-8")
        partial.replace(cache)  # at once, because several workers may come here together
    return json.loads(cache.read_text(encoding="utf-8"))


def _cache() -> Path:
    home = os.environ.get("SAVEPOINT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "savepoint"
    return Path(home).expanduser() / "github-description" / f"{PACKAGE.rpartition('@')[2]}-{_DIGEST}.json"


def _fetch() -> dict[str, Any]:
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(
            "GitHub's OpenAPI description is needed and npm is not installed. Install Node.js (Debian: apt-get install "
            f"npm), then run: python {Path(__file__).name}. It runs: npm pack {PACKAGE}"
        )
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=folder, check=True, timeout=300, capture_output=True)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as tar:
            member = tar.extractfile(_MEMBER)
            assert member is not None, f"{PACKAGE} has no {_MEMBER}"
            return json.load(member)


def _cut(whole: dict[str, Any]) -> dict[str, Any]:
    """Keep our endpoints and what they refer to."""
    paths = {}
    for path, methods in _ENDPOINTS.items():
        item = whole["paths"][path]
        paths[path] = {key: value for key, value in item.items() if key in methods or key == "parameters"}
    cut = {"openapi": whole["openapi"], "info": whole["info"], "servers": [{"url": "/"}], "paths": paths}
    todo, kept = [cut], set()
    while todo:
        for reference in _references(todo.pop()):
            if reference not in kept:
                kept.add(reference)
                todo.append(_at(whole, reference))
    components: dict[str, Any] = {}
    for reference in kept:
        _, group, name = reference.removeprefix("#/").split("/")
        components.setdefault(group, {})[name] = _at(whole, reference)
    return {**cut, "components": components}


def _references(node: object) -> list[str]:
    if isinstance(node, list):
        return [reference for each in node for reference in _references(each)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [reference for each in node.values() for reference in _references(each)]


def _at(whole: dict[str, Any], reference: str) -> Any:
    node: Any = whole
    for key in reference.removeprefix("#/").split("/"):
        node = node[key]
    return node


if __name__ == "__main__":
    print(f"{len(description()['paths'])} endpoints of GitHub's API are described in {_cache()}")
