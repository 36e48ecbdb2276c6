"""The command line: a file per command, each of which parses, calls one function and prints."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable

import typer
from git.exc import GitCommandError, GitError, ODBError
from rich.console import Console
from rich.text import Text
from typer import TyperException

from darwin.agents.errors import AgentError
from darwin.cli import agents, image, memory, requests, sandbox
from darwin.cli.ablate import ablate
from darwin.cli.audit import audit
from darwin.cli.calibrate import calibrate
from darwin.cli.compare import compare, trials
from darwin.cli.cost import cost
from darwin.cli.doctor import doctor
from darwin.cli.evolve import evolve
from darwin.cli.export import export
from darwin.cli.init import init
from darwin.cli.lessons import lessons
from darwin.cli.prepare import prepare
from darwin.cli.read import diff, log, show, status
from darwin.cli.report import report
from darwin.cli.review import revert, review
from darwin.cli.sample import sample
from darwin.cli.tell import tell
from darwin.errors import DarwinError, UsageError
from darwin.memory import MemoryFault, UnknownName
from darwin.memory.notes import one_sentence
from darwin.sandbox import SandboxError
from darwin.sandbox.errors import ContractError, DatasetError, EngineError

app = typer.Typer(
    name="darwin",
    help="Independent agents rewrite one another's training scripts; what is proven better waits for you to merge it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    *(evolve, init, prepare, review, revert, tell, report, status, log, show, diff, sample, export),
    *(lessons, trials, compare, ablate, cost, audit, calibrate, doctor),
):
    app.command()(command)
app.add_typer(agents.app, name="agents")
app.add_typer(image.app, name="image", help="The image that agents and trials run from.")
app.add_typer(requests.app, name="requests")
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(memory.app, name="memory")


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 something failed, 2 the user can mend it by asking differently."""
    logging.getLogger("git").setLevel(logging.CRITICAL)
    sys.exit(exit_code(lambda: app(standalone_mode=False)))


def exit_code(command: Callable[[], object]) -> int:
    """Run a command and return its exit code; what failed is said in one sentence."""
    try:
        code = command()
    except typer.Exit as stop:
        code = stop.exit_code
    except TyperException as error:
        code = _fail(error.format_message(), 2)
    except (UsageError, UnknownName, ContractError, DatasetError, EngineError, AgentError) as error:
        code = _fail(str(error), 2)
    except (DarwinError, MemoryFault, SandboxError) as error:
        code = _fail(str(error), 1)
    except (GitError, ODBError) as error:
        code = _fail(f"git failed: {_git_said(error)} Look further: darwin memory check", 1)
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 1
    except OSError as error:
        code = _fail(_system_said(error), 1)
    if code == 130:
        _fail("Interrupted; all that was measured is kept.", 130)
    return code if isinstance(code, int) else 0


def _system_said(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"{os.strerror(error.errno)}. What was said is kept: make room, then give the same command again."
        )
    return f"{error.filename or 'The system'}: {error.strerror or error}."


def _git_said(error: GitError | ODBError) -> str:
    if isinstance(error, GitCommandError):
        return one_sentence(error)
    return f"{type(error).__name__} {str(error).strip()}."


def _fail(message: str, code: int) -> int:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text("darwin: ", style="bold red") + Text(message))
    return code
