"""What to run before a change goes in: `nox`. One session: `nox -s lint`. A list: `nox -l`."""

import os
import shutil
import sys
from pathlib import Path

import nox
from python_discovery import get_interpreter  # how nox itself looks for Pythons

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests", "coverage"]

HERE = Path(__file__).parent
PROJECT = nox.project.load_toml(HERE / "pyproject.toml")


def pythons_here() -> list[str]:
    """The supported Pythons that this machine has.

    Looked up by hand, since a missing one shall neither fail (nox does that under CI) nor count as
    a session that was run.
    """
    if "PYENV_VERSION" not in os.environ and (root := os.environ.get("PYENV_ROOT")):
        # pyenv's `python3.13` on PATH refuses to run unless 3.13 is "selected": select them all.
        versions = sorted(path.name for path in Path(root, "versions").glob("3.*"))
        os.environ["PYENV_VERSION"] = ":".join(versions)
    found = [v for v in nox.project.python_versions(PROJECT) if get_interpreter(v)]
    if not found:
        sys.exit("noxfile.py: none of the Pythons that pyproject.toml names is on this machine")
    return found


PYTHONS = pythons_here()
MEASURED = PYTHONS[-1]  # one run is enough to measure coverage, and the newest Python is fastest


def install(session: nox.Session, *, group: str | None = None) -> None:
    """Install the package in place, all it can use, and the tools of a group, as locked."""
    tools = nox.project.dependency_groups(PROJECT, group) if group else ()
    session.install("-c", "requirements.lock", "-e", ".[cli,simulator,test]", *tools)


def files(*patterns: str) -> list[str]:
    return [str(p.relative_to(HERE)) for pattern in patterns for p in sorted(HERE.glob(pattern))]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All unit tests, on every supported Python found here, each in an order of its own; `-- ARGS` go to pytest.

    On the newest Python they are measured for `coverage`, and hypothesis makes more examples there.
    """
    install(session, group="coverage")
    which, given = ["--all"], {"SPAN_TRIO_ORDER": str(session.python)}
    if session.python == MEASURED:
        session.run("coverage", "erase")
        which, given = ["--all", "--cov", "--cov-report="], {**given, "SPAN_TRIO_HYPOTHESIS": "ci"}
    elif session.python == os.environ.get("SPAN_TRIO_TESTED"):  # there, what `pytest` alone runs has been run
        which = ["-m", "slow"]
    session.run("pytest", *which, *session.posargs, env={name: os.environ.get(name, given[name]) for name in given})


@nox.session
def order(session: nox.Session) -> None:
    """All unit tests in ten orders of chance, or in those of `-- SEED …`."""
    install(session)
    for seed in session.posargs or map(str, range(10)):
        session.run("pytest", "--all", env={"SPAN_TRIO_ORDER": seed})


@nox.session
def alone(session: nox.Session) -> None:
    """Every file of unit tests by itself."""
    install(session)
    for file in files("tests/unit/**/test_*.py"):
        session.run("pytest", "--numprocesses=0", "-q", file, silent=True)


@nox.session(python=MEASURED)
def coverage(session: nox.Session) -> None:
    """Coverage of the last `tests`: 95 % of the package, every branch of the pure core."""
    install(session)
    session.run("coverage", "report", "--fail-under=95")
    core = "--include=span_trio/homie/*,span_trio/span/*"
    session.run("coverage", "report", core, "--fail-under=100")


def find_mosquitto(session: nox.Session) -> dict[str, str]:
    """The environment in which it is found; without it the session ends."""
    # Debian keeps it in /usr/sbin, which not every user has on PATH.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    if not shutil.which("mosquitto", path=path):
        complain = session.error if os.environ.get("CI") else session.skip
        complain("mosquitto is not installed")
    return {"PATH": path}


@nox.session
def integration(session: nox.Session) -> None:
    """Tests against a real mosquitto (Debian: `apt-get install mosquitto`)."""
    env = find_mosquitto(session)
    install(session)
    session.run("pytest", "--numprocesses=0", "tests/integration", *session.posargs, env=env)


@nox.session
def faults(session: nox.Session) -> None:
    """Brokers, links, panels and commands under faults for real: prints tables; `-- --quick` for the short rows."""
    env = find_mosquitto(session)
    install(session)
    session.run("python", "-m", "tests.faults.run", *session.posargs, env=env)
    quick = [argument for argument in session.posargs if argument == "--quick"]
    session.run("python", "-m", "tests.faults.commands", *quick, env=env)


@nox.session
def fuzz(session: nox.Session) -> None:
    """The state machine under fire: `-- --steps 200000`, `-- --minutes 5`, `-- --mutations`."""
    install(session)
    session.run("python", "-m", "tests.fuzz.run", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Mistakes put into the library, to see whether a test notices: `-- PATHS`, for use before a release."""
    install(session)
    env = {"SPAN_TRIO_HYPOTHESIS": "ci"}
    session.run("python", "-m", "tests.mutants.run", *(session.posargs or ["--help"]), env=env)


@nox.session
def examples(session: nox.Session) -> None:
    """The examples of README.md and docs/, run as they stand there."""
    install(session, group="docs")
    session.run("pytest", "--numprocesses=0", "tests/examples", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, to docs/_build/html; a warning is an error."""
    install(session, group="docs")
    shutil.rmtree(HERE / "docs" / "_build", ignore_errors=True)
    session.run("sphinx-build", "-W", "-n", "-b", "html", "docs", "docs/_build/html", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, async pitfalls, and the floors."""
    install(session, group="lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run(
        "flake8-async",
        "--enable=ASYNC",
        # 127: "httpx2 instead of httpx", a choice that is confined to rest/. 124, 910, 911: a callback may be async
        # without a need; that what is public is a checkpoint is tested. 102: tests/unit/test_exceptions_in_flight.py
        # is stricter.
        "--disable=ASYNC102,ASYNC127,ASYNC124,ASYNC910,ASYNC911",
        *(file for file in files("span_trio/**/*.py") if "async " in (HERE / file).read_text()),  # it takes its time
        log=False,  # the command alone is a screenful
    )
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Both mypy and pyright, strict; and no public name without a known type."""
    install(session, group="types")
    session.run("mypy", "span_trio", "tests/typing")
    session.run("pyright")
    session.run("pyright", "--ignoreexternal", "--verifytypes", "span_trio")


@nox.session
def bench(session: nox.Session) -> None:
    """Every benchmark in turn."""
    install(session)
    for script in files("tests/bench/bench_*.py"):
        session.run("python", script, *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Write requirements.lock anew; `-- --upgrade` for the newest versions of everything."""
    session.install("uv")
    # One file for every Python and system; no index in it, so that anybody's will do.
    session.run(
        "uv", "pip", "compile", "pyproject.toml", "--universal", "--python-version=3.11",
        "--all-extras", "--group=dev", "--output-file=requirements.lock", "--quiet",
        "--custom-compile-command=nox -s lock    (newer versions: nox -s lock -- --upgrade)",
        *session.posargs,
    )  # fmt: skip
