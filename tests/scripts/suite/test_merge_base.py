from __future__ import annotations

import pytest
from savepoint_ci.suite.merge_base import Git, NoBaseError, find_base


def base_of(repository, environ=None, compare_to=""):
    environ = environ or repository.environ
    return find_base(Git(repository.folder, environ), compare_to=compare_to, environ=environ)


@pytest.fixture
def pull_request(repository):
    """main and a branch, the branch merged as GitHub does; main had moved on before, and moved on after."""
    first = repository.commit({"app.py": "a = 1\n"}, "first")
    repository.git("checkout", "--quiet", "-b", "change")
    repository.commit({"new.py": "b = 1\n"}, "change")
    head = repository.commit({"new.py": "b = 2\n"}, "change")
    repository.git("checkout", "--quiet", "main")
    base = repository.commit({"other.py": "c = 1\n"}, "others")
    repository.git("checkout", "--quiet", "--detach", "main")
    repository.git("merge", "--quiet", "--no-ff", "--message", "merge", "change")
    merge = repository.git("rev-parse", "HEAD")
    repository.git("update-ref", "refs/pull/1/merge", merge)
    repository.git("checkout", "--quiet", "main")
    repository.commit({"later.py": "d = 1\n"}, "later")
    return {"first": first, "head": head, "base": base, "merge": merge}


@pytest.mark.parametrize("depth", [1, 2, None])
def test_merge_commit_is_compared_with_its_first_parent(pull_request, checkout, pull_request_environ, depth):
    environ = pull_request_environ(base=pull_request["first"], head=pull_request["head"], sha=pull_request["merge"])
    assert base_of(checkout("refs/pull/1/merge", depth), environ) == pull_request["base"]


def test_first_parent_is_fetched_without_its_history(pull_request, checkout, pull_request_environ):
    environ = pull_request_environ(base=pull_request["base"], head=pull_request["head"], sha=pull_request["merge"])
    made = checkout("refs/pull/1/merge")
    base_of(made, environ)
    assert made.git("rev-list", "--all", "--count") == "1"
    assert made.git("rev-list", "--count", pull_request["base"]) == "1"


@pytest.mark.parametrize("depth", [1, None])
def test_checked_out_head_is_compared_with_its_merge_base(pull_request, checkout, pull_request_environ, depth):
    environ = pull_request_environ(base=pull_request["base"], head=pull_request["head"], sha=pull_request["merge"])
    assert base_of(checkout("change", depth), environ) == pull_request["first"]


def test_long_branch_is_deepened_in_steps(repository, checkout, pull_request_environ):
    first = repository.commit({"app.py": "a = 1\n"})
    repository.git("checkout", "--quiet", "-b", "change")
    for _ in range(60):
        repository.git("commit", "--quiet", "--allow-empty", "--message", "more")
    head = repository.git("rev-parse", "HEAD")
    environ = pull_request_environ(base=first, head=head, sha=head)
    assert base_of(checkout("change"), environ) == first


def test_base_branch_is_fetched_when_the_event_names_no_commit(pull_request, checkout):
    made = checkout("change")
    assert base_of(made, {**made.environ, "GITHUB_BASE_REF": "main"}) == pull_request["first"]


@pytest.mark.parametrize("name", ["main", "origin/main"])
def test_compare_to_is_fetched_and_goes_before_the_event(pull_request, checkout, pull_request_environ, name):
    environ = pull_request_environ(base=pull_request["base"], head=pull_request["head"], sha=pull_request["merge"])
    assert base_of(checkout("change"), environ, compare_to=name) == pull_request["first"]


def test_compare_to_takes_an_expression_of_git(repository):
    first = repository.commit()
    repository.commit()
    assert base_of(repository, compare_to="HEAD~1") == first


def test_clone_is_compared_with_the_default_branch(pull_request, repository, tmp_path):
    repository.git("clone", "--quiet", f"file://{repository.folder}", str(tmp_path / "clone"))
    clone = type(repository)(tmp_path / "clone", home=tmp_path)
    clone.git("checkout", "--quiet", "change")
    assert base_of(clone) == pull_request["first"]


def test_merge_of_a_branch_that_is_no_pull_request_is_not_taken_for_one(pull_request, checkout):
    made = checkout("refs/pull/1/merge", None)
    with pytest.raises(NoBaseError, match="this is no pull request"):
        base_of(made)


def test_unreachable_remote_names_fetch_depth(pull_request, checkout, pull_request_environ, repository):
    environ = pull_request_environ(base=pull_request["base"], head=pull_request["head"], sha=pull_request["merge"])
    made = checkout("refs/pull/1/merge")
    made.git("remote", "set-url", "origin", f"file://{repository.folder}-gone")
    with pytest.raises(NoBaseError, match="Check out with fetch-depth: 0"):
        base_of(made, environ)


def test_credentials_in_a_remote_url_are_not_shown(pull_request, checkout, pull_request_environ):
    environ = pull_request_environ(base=pull_request["base"], head=pull_request["head"], sha=pull_request["merge"])
    made = checkout("refs/pull/1/merge")
    made.git("remote", "set-url", "origin", "http://user:hunter2@127.0.0.1:1/r.git")
    with pytest.raises(NoBaseError) as caught:
        base_of(made, environ)
    assert "hunter2" not in str(caught.value)


def test_unrelated_histories_have_no_base(repository):
    repository.commit()
    repository.git("checkout", "--quiet", "--orphan", "other")
    repository.commit({"a.py": "a = 1\n"})
    repository.git("remote", "add", "origin", f"file://{repository.folder}")
    with pytest.raises(NoBaseError, match="have no common ancestor"):
        base_of(repository, compare_to="main")


def test_name_that_is_an_option_is_refused(repository):
    repository.commit()
    with pytest.raises(NoBaseError, match="no name of a branch"):
        base_of(repository, compare_to="--output=hacked")
    assert not (repository.folder / "hacked").exists()


def test_name_that_does_not_exist_is_told(repository):
    repository.commit()
    with pytest.raises(NoBaseError, match="nowhere is not in this checkout and could not be fetched"):
        base_of(repository, compare_to="nowhere")


def test_unreadable_event_is_told(repository, tmp_path):
    repository.commit()
    (tmp_path / "event.json").write_text("garbage")
    environ = {**repository.environ, "GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(tmp_path / "event.json")}
    with pytest.raises(NoBaseError, match="not an event as GitHub documents it"):
        base_of(repository, environ)


def test_folder_without_git_is_told(tmp_path, repository):
    (tmp_path / "plain").mkdir()
    with pytest.raises(NoBaseError, match="not in a git repository"):
        base_of(type(repository)(tmp_path / "plain", home=tmp_path), repository.environ)


def test_repository_without_a_commit_is_told(repository):
    with pytest.raises(NoBaseError, match="no commit yet"):
        base_of(repository)
