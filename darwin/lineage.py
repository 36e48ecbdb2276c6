"""The lineage repository: the only place that makes commits, merges and branches.

Commits are made as plain objects first; ``Memory.record`` then moves the refs that make them real, in one
transaction with the records. Dates are derived from the order of birth, so that equal runs give equal commits.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from git import Git, Repo
from git.exc import GitCommandError, InvalidGitRepositoryError, NoSuchPathError

from darwin.errors import DarwinError, MainMoved, UsageError
from darwin.memory.memory import Memory, move_refs
from darwin.memory.notes import LINES, RECORDS, Entries, commit_text, store_object, store_tree
from darwin.memory.records import Individual

MAIN = "refs/heads/main"
GENESIS = 1735689600
"""Seconds since 1970 of the base's commit; each later one is a minute on."""
DARWIN = "darwin <darwin@agents.invalid>"
GENOME_FILE = "genome.toml"
EXCLUDED = (
    *("/darwin.toml", "/agents.toml", "/hint.md", "/prompts/", "/memory/", "/artifacts/"),
    *("/damaged/", "/run.log*", "__pycache__/"),
)
"""What git leaves alone in a workspace."""
SAMPLED = ("17", "85", "c3", "f9")
"""Folders of loose objects that are counted."""

PACKS = 20
"""Packs from which all are made one."""

GRACE = "1.minute.ago"
"""Objects that nothing refers to are left for so long: another git may be about to refer to them."""

LARGEST_FILE = 1 << 20
"""Bytes; a larger file in a genome's folder is not a training script."""


def read_genome(folder: Path) -> dict[str, bytes]:
    """The genome in a folder: ``genome.toml`` and every Python file, path -> content.

    Raises:
        UsageError: no folder, no ``genome.toml``, or a file that is a link or larger than 1 MiB.
    """
    if not folder.is_dir():
        raise UsageError(f"--genome {folder}: there is no such folder.")
    if not (folder / GENOME_FILE).is_file():
        raise UsageError(
            f"{folder} has no {GENOME_FILE}, which says what may be rewritten and how to train it."
        )
    files = {}
    for path in [folder / GENOME_FILE, *sorted(folder.rglob("*.py"))]:
        relative = path.relative_to(folder)
        folders = relative.parts[:-1]
        if path.name.startswith(".") or any(part.startswith((".", "__")) for part in folders):
            continue
        if not path.is_file() or any((folder / part / "pyvenv.cfg").exists() for part in folders[:1]):
            continue
        if path.is_symlink() or path.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{path} is a link or larger than 1 MiB, and so no part of a genome.")
        files[relative.as_posix()] = path.read_bytes()
    return files


def text_files(files: Mapping[str, bytes]) -> dict[str, str]:
    """The same files as text. Raises UsageError naming one that is not UTF-8."""
    texts = {}
    for path, data in files.items():
        try:
            texts[path] = data.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"{path} in the genome is not UTF-8 text (byte {error.start}).") from error
    return texts


def one_line(text: str, limit: int = 72) -> str:
    """Untrusted text as one printable line: control and direction characters gone, cut at ``limit``."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def paragraph(text: str) -> str:
    """Untrusted text as a paragraph of a commit message that git never takes for a trailer."""
    lines = [one_line(line, 500) for line in text.splitlines()]
    return "\n".join(f"  {line}" if re.match(r"^[\w-]+:", line) else line for line in lines).strip()


def configure(repo: Repo) -> None:
    """Settings of a workspace's repository."""
    with repo.config_writer() as config:
        config.set_value("notes", "displayRef", "refs/notes/darwin")
        config.set_value("core", "autocrlf", "false")
        config.set_value("commit", "gpgsign", "false")
        config.set_value("gc", "auto", "0")


class Lineage:
    """The family tree of one workspace, in its git repository."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo

    @classmethod
    def create(cls, folder: Path) -> Lineage:
        """Make an empty repository; darwin's commits need no hooks, signing or line-end changes."""
        git = Git(folder)
        git.init(
            "--quiet", "--initial-branch=main", "--template=", "--object-format=sha1"
        )  # no hooks or excludes of the user's
        repo = Repo(folder)
        configure(repo)
        exclude = Path(repo.git_dir) / "info" / "exclude"
        exclude.parent.mkdir(exist_ok=True)
        exclude.write_text("".join(f"{name}\n" for name in EXCLUDED))
        return cls(repo)

    @classmethod
    def open(cls, folder: Path) -> Lineage:
        """Open the repository of a workspace. Raises UsageError when there is none."""
        try:
            return cls(Repo(folder))
        except (InvalidGitRepositoryError, NoSuchPathError) as error:
            raise UsageError(
                f"{folder} has no git repository that git can read. If it had one: darwin memory rebuild -C {folder}"
            ) from error

    def tree(self, files: Mapping[str, bytes]) -> str:
        """Store files as a git tree and return its id: a genome's identity."""
        folders: dict[str, Entries] = {"": {}}
        for path, data in files.items():
            parts = PurePosixPath(path)
            for parent in parts.parents:
                folders.setdefault("" if str(parent) == "." else str(parent), {})
            where = "" if str(parts.parent) == "." else str(parts.parent)
            folders[where][parts.name] = ("100644", store_object(self.repo, "blob", data))
        for name in sorted(folders, key=lambda f: -f.count("/")):
            if name:
                above, _, last = name.rpartition("/")
                folders[above][last] = ("40000", store_tree(self.repo, folders[name]))
        return store_tree(self.repo, folders[""])

    def files(self, commit: str) -> dict[str, bytes]:
        """The genome at a commit, path -> content."""
        tree = self.repo.commit(commit).tree
        return {str(b.path): b.data_stream.read() for b in tree.traverse() if b.type == "blob"}  # type: ignore[union-attr]

    def commit(
        self,
        files: Mapping[str, bytes],
        parents: Iterable[str],
        *,
        ordinal: int,
        author: str | None,
        subject: str,
        body: Iterable[str] = (),
        trailers: Iterable[tuple[str, str]] = (),
        signature: str | None = None,
    ) -> tuple[str, str]:
        """Make a commit object (no ref moves yet) and return (commit id, tree id).

        Its author is the agent ``author``, or the person whose identity ``signature`` is, or darwin.
        """
        tree = self.tree(files)
        date = f"{GENESIS + 60 * ordinal} +0000"
        who = f"{one_line(author)} <{author.lower()}@agents.invalid>" if author else signature or DARWIN
        paragraphs = [one_line(subject), *(paragraph(p) for p in body)]
        block = "\n".join(f"{key}: {one_line(value, 200)}" for key, value in trailers)
        message = "\n\n".join(p for p in [*paragraphs, block] if p)
        text = commit_text(tree, tuple(parents), f"{who} {date}", f"{DARWIN} {date}", message)
        return store_object(self.repo, "commit", text), tree

    def merge_commit(
        self,
        main: str,
        contender: Individual,
        *,
        ordinal: int,
        person: str,
        reason: str,
        reverts: Individual | None = None,
    ) -> str:
        """A merge of the contender into ``main``: two parents, and exactly the contender's tree.

        With ``reverts`` it takes that merge back, and the contender is the script from before it.
        """
        date = f"{GENESIS + 60 * ordinal + 30} +0000"
        operator, subject = "merge", f"Merge {contender.id}: {contender.subject}"
        if reverts is not None:
            operator, subject = "revert", f"Revert {reverts.id}, back to {contender.id}: {reverts.subject}"
        trailers = f"Darwin-Operator: {operator}\nDarwin-Generation: {contender.generation}"
        message = "\n\n".join(p for p in [one_line(subject), paragraph(reason), trailers] if p)
        text = commit_text(
            contender.tree, (main, contender.commit), f"{person} {date}", f"{DARWIN} {date}", message
        )
        return store_object(self.repo, "commit", text)

    def person(self) -> str:
        """The person's git identity, ``Name <email>``."""
        reader = self.repo.config_reader()
        name = str(reader.get_value("user", "name", os.environ.get("USER", "somebody")))
        email = str(reader.get_value("user", "email", "somebody@localhost"))
        plain = [re.sub("[<>]", "", one_line(text)).strip() for text in (name, email)]
        return f"{plain[0] or 'somebody'} <{plain[1] or 'somebody@localhost'}>"

    def diff(self, before: str, after: str) -> str:
        """``git diff`` between two commits' genomes, as text."""
        return str(self.repo.git.diff("--no-color", "--no-ext-diff", "--no-textconv", before, after))

    def refuse_moved(self, expected: str) -> None:
        """Raise MainMoved when ``main`` is not at the commit that the records say: somebody else moved it."""
        found = self.repo.git.rev_parse("--verify", MAIN)
        if found != expected:
            raise MainMoved(
                f"main was moved to {found[:10]} by somebody else, and moves only by a decision. What was decided "
                f"waits until main is back: {_give_back(self.repo, expected)}"
            )

    def check_out(self, previous: str | None, main: str) -> bool:
        """Bring the files beside ``.git`` to ``main``, unless a person changed them or is on a branch; False if so.

        Args:
            previous: the commit they were at before, or None for a new workspace.
        """
        git = self.repo.git
        if self.repo.head.is_detached or self.repo.head.reference.path != MAIN:
            return False
        if previous is not None and git.diff("--name-only", previous, "--"):
            return False
        git.read_tree("--reset", "-u", main)
        return True

    def repair(self, memory: Memory) -> list[str]:
        """Undo what a killed run left half done: stale lock files, refs that do not say what the records say.

        Call with the workspace locked. Returns one sentence for each thing mended.
        """
        done = []
        git_dir = Path(self.repo.git_dir)
        locks = [
            git_dir / "index.lock",
            git_dir / "packed-refs.lock",
            git_dir / "HEAD.lock",
            git_dir / "config.lock",
        ]
        for lock in [*locks, *(git_dir / "refs").rglob("*.lock")]:
            if lock.is_file():
                lock.unlink()
                done.append(f"Removed {lock.name}, left by a run that was killed.")
        if not memory.begun:
            return done
        expected = refs_of(memory)
        rows = self.repo.git.for_each_ref("--format=%(refname) %(objectname)").splitlines()
        actual = dict(row.split(" ", 1) for row in rows)
        wrong = {ref: oid for ref, oid in expected.items() if actual.get(ref) != oid}
        before = actual.get(MAIN)
        if MAIN in wrong and before is not None:
            self._refuse_foreign(memory.run.main, before)
        if memory.mend_lines():
            done.append("Wrote refs/notes/darwin anew.")
        if wrong:
            move_refs(self.repo, wrong)
            done.append(
                f"Set {len(wrong)} git ref(s) back to what the records say ({', '.join(sorted(wrong)[:3])})."
            )
        if not (git_dir / "index").exists():
            self.repo.git.read_tree(memory.run.main)
        if MAIN in wrong and before is not None:
            self.check_out(before, memory.run.main)
        elif self._behind(memory):
            self.repo.git.read_tree("--reset", "-u", memory.run.main)
            done.append("Checked out main, which a killed run had merged but not written to the folder.")
        return done

    def pack(self, most: int) -> bool:
        """Pack what is referred to and remove what no longer is (earlier states of the notes), where more than ``most``
        objects are loose; True if so. Call with the workspace locked.

        Their number is estimated from a few of the 256 folders they are spread over, as git itself does.
        """
        objects = Path(self.repo.common_dir) / "objects"
        seen = [objects / name for name in SAMPLED if (objects / name).is_dir()]
        if 256 // len(SAMPLED) * sum(1 for folder in seen for _ in folder.iterdir()) <= most:
            return False
        git = self.repo.git
        git.reflog("expire", "--expire=now", RECORDS, LINES)
        git.pack_refs("--all")
        many = len(list((objects / "pack").glob("*.pack"))) >= PACKS
        git.repack("-d", "-q", *(["-a"] if many else []))
        git.prune(f"--expire={GRACE}")
        return True

    def shows(self, commit: str) -> bool:
        """Whether the files beside ``.git`` are those of a commit."""
        return not self.repo.git.diff("--name-only", commit, "--")

    def _refuse_foreign(self, ours: str, theirs: str) -> None:
        """Raise UsageError when somebody has committed to main: what a person wrote is never moved away from."""
        authors = self.repo.git.log("--format=%ce", f"{ours}..{theirs}").splitlines()
        if any(email != DARWIN.rpartition("<")[2].rstrip(">") for email in authors):
            raise UsageError(
                f"main holds a commit that darwin did not make ({theirs[:10]}), and main moves only by an approved "
                f"merge. Keep it on a branch and give main back: {_give_back(self.repo, ours)}"
            )

    def _behind(self, memory: Memory) -> bool:
        """Whether the checked-out files, or those that a killed checkout left, are those before the last merge."""
        git, main = self.repo.git, memory.run.main
        if self.repo.head.is_detached or self.repo.head.reference.path != MAIN:
            return False
        try:
            old, new = (set(git.diff("--name-only", c, "--").splitlines()) for c in (main, f"{main}^1"))
        except GitCommandError:
            return False
        return bool(old) and not old & new


def _give_back(repo: Repo, ours: str) -> str:
    """The commands that keep what somebody put on main, and bring main back to a commit."""
    where = f"git -C {shlex.quote(str(repo.working_dir))}"
    return f"{where} branch mine main && {where} reset --keep {ours[:10]}"


def individual_ref(identifier: str) -> str:
    """The ref that keeps an individual for ever."""
    return f"refs/darwin/individuals/{identifier}"


def agent_ref(name: str) -> str:
    """The branch of the individual that an agent owns."""
    return f"refs/heads/agents/{name.lower()}"


def population_refs(population: Mapping[str, str], memory: Memory) -> dict[str, str]:
    """Each agent's branch, {ref: commit}."""
    return {agent_ref(agent): memory.individuals[i].commit for agent, i in population.items()}


def refs_of(memory: Memory) -> dict[str, str]:
    """Every ref that follows from the records."""
    refs = {individual_ref(i.id): i.commit for i in memory.individuals.values()}
    return refs | population_refs(memory.run.population, memory) | {MAIN: memory.run.main}


def require_git() -> None:
    """Raise DarwinError when there is no usable git."""
    if Git().version_info < (2, 28):
        raise DarwinError("git 2.28 or newer is needed (for --initial-branch). Upgrade git.")
