"""Whatever a crash or a stray hand does to a workspace: it is named, set aside, rebuilt, and the run goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from darwin.begin import ANCESTOR, create
from darwin.check import problems
from darwin.cli import exit_code
from darwin.cli.memory import check, rebuild
from darwin.cli.read import status
from darwin.config import Config, save
from darwin.memory import MemoryFault
from darwin.memory.notes import RECORDS, Notes
from darwin.memory.requests import Asking, Kind, Request
from darwin.rescue import rescue
from darwin.workspace import locked, open_workspace
from tests.evolve.killed import in_child, kill_at, run
from tests.evolve.laboratory import start
from tests.evolve.test_evolve import git, story
from tests.exhaustive import few

GENERATIONS = 2
AGENTS = '[[agent]]\nkind = "rules"\n' * 2
REQUEST = Request(
    id="file-optim-py",
    kind=Kind.FILE,
    wanted="optim.py",
    askings=(Asking(agent="Ada", child="g001-ada-1", ordinal=1, reason="A place for optimizers."),),
)
CHILD = "memory/individuals/g001-ada-1.json"


@pytest.fixture(scope="module")
def half(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose run was killed in the second generation, before the batch was settled.

    It has an agents.toml, a decision that merged a script and a request that waits.
    """
    folder = tmp_path_factory.mktemp("half") / "w"
    agents = folder.with_name("agents.toml")
    agents.write_text(AGENTS)
    create(folder, Config(data=str(text), agents=agents.name, workers=1), ANCESTOR, agents)
    assert run(folder, text, 1)[0] == 0
    memory = open_workspace(folder).memory
    memory.record(REQUEST)
    assert len(memory.decisions) == 1, "nothing was merged in the first generation: take another seed"
    assert run(folder, text, GENERATIONS, kill_at("begin settle"))[0] < 0
    return folder


@pytest.fixture(scope="module")
def whole(half: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The family tree that an undamaged run ends with."""
    folder = tmp_path_factory.mktemp("whole") / "w"
    shutil.copytree(half, folder)
    assert run(folder, text, GENERATIONS)[0] == 0
    return story(folder)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(os.urandom(200))


def foreign(path: Path) -> None:
    path.write_text('{"schema": 1, "id": "somebody-else", "letter": "dear"}\n')


def note(data: bytes, kind: str = "individuals") -> Callable[[Path], None]:
    """Replaces a child's whole record in git, or the one decision or request that there is."""

    def damage(folder: Path) -> None:
        memory, repo = open_workspace(folder).memory, open_workspace(folder).lineage.repo
        path = memory.individuals["g001-ada-1"].commit
        if kind != "individuals":
            (file,) = (folder / "memory" / kind).iterdir()
            path = f"{kind}/{file.name}"
        updates = Notes(repo).stage({path: data}, {})
        repo.git.update_ref(RECORDS, updates[RECORDS])

    return damage


def the_only(kind: str, act: Callable[[Path], None]) -> Callable[[Path], None]:
    """In the file of the one decision or request that there is."""

    def damage(folder: Path) -> None:
        (file,) = (folder / "memory" / kind).iterdir()
        act(file)

    return damage


def without_note(folder: Path) -> None:
    commit = json.loads((folder / CHILD).read_text())["commit"]
    git(folder, "notes", f"--ref={RECORDS}", "remove", commit)


def broken_object(folder: Path) -> None:
    commit = json.loads((folder / CHILD).read_text())["commit"]
    name = git(folder, "rev-parse", f"{RECORDS}:{commit[:2]}/{commit[2:]}").strip()
    path = folder / ".git/objects" / name[:2] / name[2:]
    path.chmod(0o644)
    empty(path)


def in_file(path: str, act: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda folder: act(folder / path)


def gone(path: Path) -> None:
    path.unlink()


def packed(act: Callable[[Path], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        git(folder, "pack-refs", "--all")
        act(folder / ".git/packed-refs")

    return damage


NOTHING = "there is nothing to say"
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "record file truncated": (in_file(CHILD, truncate), "g001-ada-1.json was damaged"),
    "record file empty": (in_file(CHILD, empty), "g001-ada-1.json was damaged"),
    "record file garbled": (in_file(CHILD, garble), "g001-ada-1.json was damaged"),
    "record file missing": (in_file(CHILD, gone), "file(s) of memory/ anew"),
    "record file of somebody else": (in_file(CHILD, foreign), "g001-ada-1.json was damaged"),
    "foreign file among records": (
        in_file("memory/individuals/letter.json", foreign),
        "letter.json was damaged or no record",
    ),
    "run file garbled": (in_file("memory/run.json", garble), "run.json was damaged"),
    "lessons empty": (in_file("memory/lessons.json", empty), "lessons.json was damaged"),
    "note truncated": (note(b'{"schema": 1, "id": "g0'), "was damaged (kept as"),
    "note empty": (note(b""), "was damaged (kept as"),
    "note garbled": (note(b"\xff\x00rubbish"), "was damaged (kept as"),
    "note foreign": (note(b"Reviewed-by: somebody\n"), "was damaged (kept as"),
    "note missing": (without_note, "1 record(s) were written anew from memory/"),
    "note's object broken": (broken_object, "was damaged (kept as"),
    "records ref empty": (in_file(f".git/{RECORDS}", empty), "refs/notes/darwin-records was damaged"),
    "records ref garbled": (in_file(f".git/{RECORDS}", garble), "refs/notes/darwin-records was damaged"),
    "records ref missing": (in_file(f".git/{RECORDS}", gone), "refs/notes/darwin-records was lost"),
    "readable notes' ref empty": (in_file(".git/refs/notes/darwin", empty), "Wrote refs/notes/darwin anew"),
    "main empty": (in_file(".git/refs/heads/main", empty), "refs/heads/main was damaged"),
    "main garbled": (in_file(".git/refs/heads/main", garble), "refs/heads/main was damaged"),
    "main missing": (in_file(".git/refs/heads/main", gone), "Set 1 git ref(s) back"),
    "an individual's ref empty": (
        in_file(".git/refs/darwin/individuals/g001-ada-1", empty),
        "refs/darwin/individuals/g001-ada-1 was damaged",
    ),
    "packed refs truncated": (packed(truncate), "packed-refs was damaged"),
    "packed refs empty": (packed(empty), "refs/notes/darwin-records was lost"),
    "packed refs garbled": (packed(garble), "packed-refs was damaged"),
    "HEAD empty": (in_file(".git/HEAD", empty), ".git/HEAD was damaged"),
    "git's config garbled": (in_file(".git/config", garble), ".git/config was damaged"),
    "git's config missing": (in_file(".git/config", gone), ".git/config was damaged (it was missing)"),
    "index garbled": (in_file(".git/index", garble), ".git/index was damaged"),
    "index missing": (in_file(".git/index", gone), ".git/index was missing"),
    "lock of the index left": (in_file(".git/index.lock", empty), "Removed index.lock"),
    "lock of darwin garbled": (in_file(".git/darwin.lock", garble), NOTHING),
    "darwin.toml truncated": (in_file("darwin.toml", truncate), "darwin.toml was damaged"),
    "darwin.toml empty": (in_file("darwin.toml", empty), "darwin.toml was damaged"),
    "darwin.toml garbled": (in_file("darwin.toml", lambda p: p.write_bytes(b"\0" * 300)), "darwin.toml was damaged"),
    "darwin.toml missing": (in_file("darwin.toml", gone), "darwin.toml was damaged (it was missing)"),
    "agents.toml truncated": (in_file("agents.toml", truncate), "agents.toml was damaged"),
    "agents.toml empty": (in_file("agents.toml", empty), "agents.toml was damaged"),
    "agents.toml garbled": (in_file("agents.toml", lambda p: p.write_bytes(b"\0" * 300)), "agents.toml was damaged"),
    "agents.toml missing": (in_file("agents.toml", gone), "agents.toml was damaged (it was missing)"),
    "decision file truncated": (the_only("decisions", truncate), ".json was damaged"),
    "decision file missing": (the_only("decisions", gone), "file(s) of memory/ anew"),
    "foreign file among decisions": (in_file("memory/decisions/letter.json", foreign), "letter.json was damaged or no"),
    "decision's note garbled": (note(b"\xff\x00rubbish", "decisions"), "was damaged (kept as"),
    "decision's note empty": (note(b"", "decisions"), "was damaged (kept as"),
    "request file garbled": (the_only("requests", garble), "file-optim-py.json was damaged"),
    "request file missing": (the_only("requests", gone), "file(s) of memory/ anew"),
    "foreign file among requests": (in_file("memory/requests/letter.json", foreign), "letter.json was damaged or no"),
    "request's note truncated": (note(b'{"schema": 1, "id": "fil', "requests"), "was damaged (kept as"),
}  # fmt: skip
ALWAYS = (
    *("record file truncated", "record file missing", "run file garbled", "note garbled", "note missing"),
    *("records ref garbled", "main missing", "packed refs garbled", "index garbled", "darwin.toml missing"),
    *("agents.toml truncated", "decision's note garbled", "request file garbled"),
)
ASIDE = ("damaged (kept as", "was damaged or no record")


@pytest.mark.parametrize("kind", few(DAMAGES, *ALWAYS))
def test_damage_is_named_set_aside_and_rebuilt_and_the_run_goes_on(half, whole, text, tmp_path, kind):
    act, words = DAMAGES[kind]
    folder = tmp_path / "w"
    shutil.copytree(half, folder)
    act(folder)
    code, said = run(folder, text, GENERATIONS)
    assert code == 0, said
    if words == NOTHING:
        assert not any(sign in said for sign in ("damaged", "lock", "Removed", "Set "))
    else:
        assert words in said
    kept = [p for p in (folder / "damaged").rglob("*") if p.is_file()]
    assert bool(kept) == any(sign in said for sign in ASIDE)
    assert all(str(p) in said for p in kept if "git/objects" not in str(p))
    assert story(folder) == whole
    assert problems(open_workspace(folder)) == []
    assert git(folder, "status", "--porcelain") == ""
    memory = open_workspace(folder).memory
    assert memory.requests == {REQUEST.id: REQUEST} and len(memory.decisions) >= 1


@pytest.fixture
def on_own_data(half, text, tmp_path) -> tuple[Path, Path]:
    """The workspace over prepared data that can be damaged, and those."""
    folder, data = tmp_path / "w", tmp_path / "data"
    shutil.copytree(half, folder)
    shutil.copytree(text, data)
    toml = folder / "darwin.toml"
    toml.write_text(toml.read_text().replace(str(text), str(data)))
    return folder, data


DATA = {
    "train.bin truncated": (
        "train.bin",
        lambda p: p.write_bytes(p.read_bytes()[:1000]),
        "The data in {data} are not those this evolution was begun with.",
    ),
    "val.bin of another text": (
        "val.bin",
        lambda p: p.write_bytes(bytes(p.stat().st_size)),
        "are not those this evolution",
    ),
    "test.bin empty": ("test.bin", empty, "test.bin is empty."),
    "val.bin missing": (
        "val.bin",
        gone,
        "val.bin cannot be read: No such file or directory. Prepare the data again.",
    ),
    "meta.json truncated": ("meta.json", truncate, "meta.json is not JSON"),
    "meta.json foreign": ("meta.json", foreign, 'meta.json: "kind" must be "tokens".'),
    "meta.json missing": (
        "meta.json",
        gone,
        "The data of this workspace are gone: {data}. Give --text or --data",
    ),
}


def goes_on(folder: Path, text: Path, whole: dict[str, str]) -> None:
    """The run is ended, and comes to the same as one that nobody disturbed."""
    code, said = run(folder, text, GENERATIONS)
    assert code == 0, said
    assert story(folder) == whole


@pytest.mark.parametrize("kind", few(DATA, "train.bin truncated", "meta.json missing"))
def test_damaged_data_are_named_and_the_run_goes_on_once_they_are_back(on_own_data, whole, text, kind):
    """They are no record: git has none of them, so that they are not rebuilt, and nothing is trained on others."""
    (folder, data), (name, act, words) = on_own_data, DATA[kind]
    before = story(folder)
    act(data / name)
    code, said = run(folder, text, GENERATIONS)
    assert code == 2 and words.format(data=data) in said.splitlines()[-1], said
    assert story(folder) == before
    shutil.copy(text / name, data / name)
    goes_on(folder, text, whole)


def test_settings_of_another_evolution_are_refused_and_left_as_they_are(half, text, tmp_path):
    folder = tmp_path / "w"
    shutil.copytree(half, folder)
    save(Config(data=str(text), agents="agents.toml", workers=1, seed=7), folder / "darwin.toml")
    others, before = (folder / "darwin.toml").read_text(), story(folder)
    code, said = run(folder, text, GENERATIONS)
    assert code == 2 and "darwin.toml says seed = 7, but this evolution was begun with 1" in said
    (folder / "darwin.toml").write_text('{"dear": "somebody"}\n')
    code, said = run(folder, text, GENERATIONS)
    assert code == 2 and "darwin.toml cannot be read" in said and "Traceback" not in said
    (folder / "darwin.toml").write_text(others.replace("seed = 7", "seed = 1"))
    (folder / "agents.toml").write_text(AGENTS + '[[agent]]\nkind = "rules"\n')
    code, said = run(folder, text, GENERATIONS)
    assert code == 2 and "this evolution was begun with 2 others" in said
    assert story(folder) == before and not (folder / "damaged").exists()


def test_memory_check_names_what_is_wrong_and_rebuild_mends_it(half, tmp_path):
    folder = tmp_path / "w"
    shutil.copytree(half, folder)
    code, said = in_child(lambda: rebuild(folder))
    assert code == 0, said
    code, said = in_child(lambda: check(folder))
    everyone = len(open_workspace(folder).memory.individuals)
    assert (code, said) == (0, f"Sound: {everyone} individuals, in git and in memory/.\n")
    garble(folder / CHILD)
    gone(folder / "memory/lessons.json")
    git(folder, "update-ref", "refs/heads/agents/ada", "main~0")
    git(folder, "update-ref", "-d", "refs/darwin/individuals/g001-ada-1")
    code, said = in_child(lambda: check(folder, json=True))
    found = json.loads(said)
    wrong = {(one["kind"], one["where"]) for one in found["problems"]}
    assert code == 1 and not found["sound"]
    assert wrong >= {
        ("file", CHILD),
        ("file", "memory/lessons.json"),
        ("ref", "refs/darwin/individuals/g001-ada-1"),
    }
    code, said = in_child(lambda: rebuild(folder))
    assert code == 0 and said.splitlines()[-1] == "Sound."
    assert in_child(lambda: check(folder))[0] == 0


def test_files_that_an_earlier_darwin_wrote_say_the_same_without_the_fields_that_came_later(half, tmp_path):
    folder = tmp_path / "w"
    shutil.copytree(half, folder)
    assert in_child(lambda: rebuild(folder))[0] == 0
    record = json.loads((folder / CHILD).read_text())
    for later in ("earlier", "requests", "repairs"):
        assert not record.pop(later)
    (folder / CHILD).write_text(json.dumps(record))
    assert in_child(lambda: check(folder))[0] == 0

    record["subject"] = "Something else"
    (folder / CHILD).write_text(json.dumps(record))
    code, said = in_child(lambda: check(folder))
    assert code == 1 and f"file   {CHILD}: differs from git" in said


def test_records_that_are_nowhere_any_more_are_named_and_nothing_is_begun_anew(half, text, tmp_path):
    folder = tmp_path / "w"
    shutil.copytree(half, folder)
    note(b"rubbish")(folder)
    gone(folder / CHILD)
    shutil.rmtree(folder / ".git/logs")
    code, said = run(folder, text, GENERATIONS)
    assert code == 1 and said.count("\n") == 1
    assert "is damaged and neither memory/ nor an earlier state of the notes has it" in said


def test_a_workspace_of_a_newer_darwin_is_left_as_it_is(half, text, tmp_path):
    folder = tmp_path / "w"
    shutil.copytree(half, folder)
    note(b'{"schema": 99, "id": "g001-ada-1", "aura": 3}\n')(folder)
    before = git(folder, "for-each-ref")
    code, said = run(folder, text, GENERATIONS)
    assert (code, said.count("\n")) == (1, 1)
    assert "written by a newer darwin (record format 99" in said and "Upgrade darwin" in said
    assert git(folder, "for-each-ref") == before
    with pytest.raises(MemoryFault, match="newer darwin"):
        open_workspace(folder)


def test_a_workspace_moved_or_copied_goes_on_where_it_was(half, whole, text, tmp_path):
    one, two = tmp_path / "copied", tmp_path / "far" / "moved"
    shutil.copytree(half, one)
    two.parent.mkdir()
    shutil.copytree(half, tmp_path / "x")
    (tmp_path / "x").rename(two)
    for folder in (one, two):
        goes_on(folder, text, whole)


def test_two_runs_in_one_workspace_are_one_too_many(half, text, tmp_path):
    folder = tmp_path / "w"
    shutil.copytree(half, folder)
    before = story(folder)
    with locked(folder):
        code, said = in_child(lambda: rebuild(folder))
        assert code == 2 and f"is in use by process {os.getpid()}" in said
        assert in_child(lambda: status(folder))[0] == 0
    assert story(folder) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_a_read_only_workspace_can_be_read_and_says_that_it_cannot_be_written(half, tmp_path_factory):
    folder = Path("/tmp") / f"darwin-read-only-{os.getpid()}"
    shutil.copytree(half, folder)
    try:
        subprocess.run(["chmod", "-R", "a+rX,a-w", str(folder)], check=True)

        def as_nobody(act: Callable[[], object]) -> Callable[[], object]:
            def body() -> object:
                os.environ |= {"HOME": "/", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory"}
                os.environ["GIT_CONFIG_VALUE_0"] = "*"
                os.setgid(65534)
                os.setuid(65534)
                return exit_code(act)

            return body

        code, said = in_child(as_nobody(lambda: status(folder)))
        assert code == 0 and "generations complete" in said
        assert in_child(as_nobody(lambda: check(folder, json=True)))[1].startswith("{")
        code, said = in_child(as_nobody(lambda: rebuild(folder)))
        assert (code, said.count("\n")) == (2, 1)
        assert "cannot be written to: Permission denied" in said
    finally:
        shutil.rmtree(folder)


def test_a_persons_own_mistake_in_darwin_toml_is_told_and_not_mended(half, text, tmp_path):
    folder = tmp_path / "w"
    shutil.copytree(half, folder)
    toml = folder / "darwin.toml"
    toml.write_text(toml.read_text() + "\n[gaet]\nx = 1\n")
    mine = toml.read_text()
    code, said = run(folder, text, GENERATIONS)
    assert code == 2 and 'unknown setting "gaet.x"' in said
    assert toml.read_text() == mine


def test_start_mends_before_it_opens(half, text, tmp_path):
    folder = tmp_path / "w"
    shutil.copytree(half, folder)
    garble(folder / ".git/HEAD")
    assert start(folder, text).run.generation == 1


def test_nothing_is_called_damaged_in_a_sound_workspace_named_from_where_one_stands(
    half, tmp_path, monkeypatch
):
    shutil.copytree(half, tmp_path / "w")
    monkeypatch.chdir(tmp_path)
    assert rescue(Path("w")) == []
    assert not Path("w/damaged").exists()
