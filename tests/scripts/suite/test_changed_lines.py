from __future__ import annotations

import pytest
from savepoint_ci.suite.changed_lines import changed_lines

LINES = "".join(f"x{number} = {number}\n" for number in range(1, 11))


def changes(repository, folder=None):
    return changed_lines(folder or repository.folder, compare_to="main", environ=repository.environ)


@pytest.fixture
def change(repository):
    """Commit files on main, then other files on a branch, and tell what changed."""

    def make(before, after):
        repository.commit(before)
        repository.git("checkout", "--quiet", "-b", "change")
        repository.commit(after)
        return changes(repository)

    return make


def test_added_and_rewritten_lines_are_found(change):
    after = LINES.replace("x3 = 3\n", "x3 = 33\nx33 = 3\n") + "x11 = 11\n"
    assert change({"app.py": LINES}, {"app.py": after}) == {"app.py": [3, 4, 12]}


def test_new_file_is_changed_as_a_whole(change):
    assert change({"app.py": LINES}, {"new.py": "a = 1\nb = 2\n"}) == {"new.py": [1, 2]}


def test_deleted_lines_and_files_have_no_changed_lines(change, repository):
    repository.commit({"gone.py": LINES})
    (repository.folder / "gone.py").unlink()
    assert change({"app.py": LINES}, {"app.py": LINES.replace("x3 = 3\n", "")}) == {}


def test_renamed_file_has_only_its_rewritten_lines(change, repository):
    repository.commit({"old name.py": LINES})
    repository.git("checkout", "--quiet", "-b", "rename")
    (repository.folder / "old name.py").unlink()
    repository.commit({"new name.py": LINES.replace("x9 = 9", "x9 = 99")})
    assert changes(repository) == {"new name.py": [9]}


def test_any_file_name_is_read(change):
    names = [
        "with space.py", "ünïcødé.py", "日本.py", 'quo"te.py', "back\\slash.py", "tab\there.py", "new\nline.py", "b/b/a.py",
        "$(touch hacked).py", "-rf.py", "a b/c d.py", "+++ b.py", "\x01\x7f.py",
    ]  # fmt: skip
    found = change(dict.fromkeys(names, LINES), dict.fromkeys(names, LINES + "y = 1\n"))
    assert found == {name: [11] for name in names}


def test_content_that_looks_like_a_diff_is_content(change):
    text = '"""\n++ b/other.py\n@@ -1 +1,99 @@\ndiff --git a/x b/x\n"""\n'
    assert change({"app.py": ""}, {"app.py": text}) == {"app.py": [1, 2, 3, 4, 5]}


def test_binary_files_have_no_lines(change):
    assert change({"a.bin": b"\0\1"}, {"a.bin": b"\0\2", "b.bin": b"\0"}) == {}


def test_mode_change_has_no_lines(change, repository):
    repository.commit({"run.py": LINES})
    (repository.folder / "run.py").chmod(0o755)
    assert change({}, {}) == {}


def test_last_line_without_its_end_is_counted(change):
    assert change({"app.py": "a = 1"}, {"app.py": "a = 1\nb = 2"}) == {"app.py": [1, 2]}


def test_windows_line_ends_and_form_feeds_do_not_shift_lines(change):
    before = LINES.replace("\n", "\r\n").replace("x2", "\fx2")
    assert change({"app.py": before}, {"app.py": before + "y = 1\r\n"}) == {"app.py": [11]}


def test_lines_of_a_subfolder_project_are_relative_to_it(change, repository):
    before = {"services/api/app.py": LINES, "shared/lib.py": LINES}
    change(before, dict.fromkeys(before, LINES + "y = 1\n"))
    found = changes(repository, repository.folder / "services" / "api")
    assert found == {"app.py": [11], "../../shared/lib.py": [11]}


def test_uncommitted_change_counts_because_it_was_tested(repository):
    repository.commit({"app.py": LINES})
    repository.write({"app.py": LINES + "y = 1\n"})
    assert changes(repository) == {"app.py": [11]}


def test_changes_of_others_on_the_base_do_not_count(repository):
    repository.commit({"app.py": LINES})
    repository.git("checkout", "--quiet", "-b", "change")
    repository.commit({"app.py": LINES + "y = 1\n"})
    repository.git("checkout", "--quiet", "main")
    repository.commit({"other.py": LINES})
    repository.git("checkout", "--quiet", "change")
    assert changes(repository) == {"app.py": [11]}


@pytest.mark.parametrize(
    "settings",
    [
        ["diff.noprefix=true", "diff.relative=true", "diff.renames=false", "color.ui=always", "diff.context=9"],
        ["diff.mnemonicPrefix=true", "diff.external=false", "core.quotePath=true", "diff.interHunkContext=9"],
        ["diff.srcPrefix=x/", "diff.dstPrefix=y/", "core.pager=false", "diff.algorithm=histogram"],
    ],
)
def test_git_configuration_of_the_caller_does_not_matter(repository, settings):
    for setting in settings:
        repository.git("config", *setting.split("=", 1))
    repository.commit({"pkg/öld.py": LINES})
    repository.git("checkout", "--quiet", "-b", "rename")
    (repository.folder / "pkg" / "öld.py").unlink()
    repository.commit({"pkg/new.py": LINES.replace("x1 =", "z1 =").replace("x8 =", "z8 =")})
    assert changes(repository, repository.folder / "pkg") == {"new.py": [1, 8]}


def test_submodule_has_no_lines(change, repository, tmp_path):
    repository.git("config", "diff.submodule", "log")
    repository.commit({"app.py": LINES})
    commit = repository.git("rev-parse", "HEAD")
    repository.git("checkout", "--quiet", "-b", "module")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},vendor")
    repository.git("commit", "--quiet", "--message", "module")
    assert changes(repository) == {}
