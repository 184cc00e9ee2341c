"""The command line as people use it: help, completion, quiet, logs for machines, Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cloudfree.cli.bars import Lines
from cloudfree.core.config import RunSettings
from cloudfree.synthetic.scenes import SyntheticScenes, write_scenes
from tests import needs
from tests.integration.products import assert_same_pixels, make, open_raw

Command = Callable[..., tuple[int, str, str]]

COMMANDS = ("bundle", "completion", "demo", "doctor", "evaluate", "models", "patches", "plan",
            "run", "status", "train")  # fmt: skip
PROGRAM = [sys.executable, "-c", "from cloudfree.cli import entry; entry()"]
_PATIENCE_S = 120
_SLOW = (
    "import time\n"
    "from cloudfree.walk import chunk\n"
    "from cloudfree.cli import entry\n"
    "write = chunk.write_chunk\n"
    "chunk.write_chunk = lambda *given: (write(*given), time.sleep(5))[0]\n"
    "entry()"
)
"""A program whose chunks stay in flight for a while after they are marked."""


def test_the_help_of_each_command_has_examples(
    cloudfree: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed, _ = cloudfree("-h")
    assert code == 0
    assert [word for word in COMMANDS if f"\n  {word} " not in printed] == []
    for name in COMMANDS:
        code, long, _ = cloudfree(name, "--help")
        assert code == 0, name
        assert cloudfree(name, "-h")[1] == long
        assert "xample" in long, name
        assert f"  cloudfree {name}" in long, name


def test_options_of_a_run_stand_under_headings(cloudfree: Command) -> None:
    _, printed, _ = cloudfree("run", "--help")
    places = [printed.index(part) for part in (
        "Area, date and scenes:", "--aoi", "--date", "Product:", "--out", "Work:", "--workers",
    )]  # fmt: skip
    assert places == sorted(places)


def test_the_help_says_the_defaults_of_settings(cloudfree: Command) -> None:
    _, printed, _ = cloudfree("run", "--help")
    said = dict(re.findall(r"--([a-z-]+)(?:(?!\n  -).|\n(?!  -))*?\[default: (.*?)\]", printed))
    defaults = RunSettings()
    assert said["bands"] == ",".join(defaults.grid.bands)
    assert float(said["resolution"]) == defaults.grid.resolution_m
    assert float(said["sar-days"]) == defaults.scenes.sar_days
    assert said["model"] == defaults.restoration.model
    assert "scheduler" not in said


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["frob"], "No such command 'frob'. See cloudfree --help"),
        (["run", "--frob"], "See cloudfree run --help"),
        (["run", "-v"], "It stands before the command: cloudfree -v COMMAND"),
        (["-q", "-v", "models"], "contradict each other"),
        (["completion", "csh"], "'bash', 'zsh', 'fish'"),
    ],
)
def test_wrong_usage_says_where_help_is(cloudfree: Command, words: list[str], hint: str) -> None:
    code, printed, complaint = cloudfree(*words)
    assert (code, printed) == (2, "")
    assert hint in complaint
    assert len(complaint.splitlines()) == 1


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``cloudfree`` is this checkout's."""
    script = tmp_path / "bin" / "cloudfree"
    script.parent.mkdir()
    root = Path(__file__).parents[2]
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(root)!r})\n"
        "from cloudfree.cli import entry\nentry()\n"
    )
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}"}


def test_bash_completes_commands_and_options(on_path: dict[str, str]) -> None:
    bash = needs.program("bash")
    program = """
source <(cloudfree completion bash)
complete -p cloudfree >&2
for typed in "cloudfree do" "cloudfree run --tls"; do
    COMP_WORDS=($typed); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
    _cloudfree_completion cloudfree
    echo "${COMPREPLY[@]}"
done
"""
    done = subprocess.run(
        [bash, "-c", program], env=on_path, capture_output=True, text=True, timeout=_PATIENCE_S,
        check=False,
    )  # fmt: skip
    if "nosort" in done.stderr and "invalid option name" in done.stderr:
        pytest.skip("this bash is older than 4.4")
    assert done.stdout.splitlines() == ["doctor", "--tls-ca --tls-cert --tls-key"], done.stderr
    assert "complete" in done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_scripts_of_other_shells_ask_the_command(cloudfree: Command, shell: str) -> None:
    code, printed, _ = cloudfree("completion", shell)
    assert code == 0
    assert f"_CLOUDFREE_COMPLETE={shell}_complete" in printed


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_their_scripts(cloudfree: Command, shell: str) -> None:
    program = needs.program(shell)
    _, printed, _ = cloudfree("completion", shell)
    subprocess.run([program, "-n"], input=printed, text=True, check=True, timeout=_PATIENCE_S)


@pytest.fixture(scope="module")
def scenes(small_scenes: SyntheticScenes) -> SyntheticScenes:
    """Small ones."""
    return small_scenes


def run_words(scenes: SyntheticScenes, out: Path, *more: str) -> list[str]:
    return [
        "run", "--aoi", str(scenes.aoi), "--date", scenes.date, "--stac", str(scenes.items),
        "--no-check",
        "--model", "baseline", "--chunk-px", "256", "--out", str(out), *more,
    ]  # fmt: skip


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *words], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )


def test_progress_is_lines_without_a_terminal_and_nothing_when_quiet(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    loud = call(*run_words(scenes, tmp_path / "out"))
    assert loud.returncode == 0, loud.stderr
    assert "\x1b" not in loud.stderr
    assert "restore: 100% of 156,600 px in " in loud.stderr
    assert len(loud.stderr.splitlines()) <= 30
    quiet = call("-q", *run_words(scenes, tmp_path / "out", "--overwrite"))
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert "preview.png" in quiet.stdout


def test_json_logs_are_one_object_a_line(scenes: SyntheticScenes, tmp_path: Path) -> None:
    done = call("--log-json", "-v", *run_words(scenes, tmp_path / "out", "--workers", "2"))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"cloudfree.scenes.catalog", "cloudfree.engine.prepare"} <= {
        line["logger"] for line in lines
    }
    assert all(set(line) >= {"time", "level", "message"} for line in lines)
    refused = call("--log-json", "plan", "--aoi", "nowhere", "--date", "2024-06-15")
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "cannot read the area" in json.loads(line)["message"]


def on_a_terminal(words: list[str], **environment: str) -> str:
    """Return what a command says on a terminal."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(
        [*PROGRAM, *words], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**kept, "TERM": "xterm", **environment},
    ) as process:  # fmt: skip
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 4096):
                said += part
        except OSError:  # Linux says so at the end of a terminal
            pass
        process.wait(timeout=_PATIENCE_S)
    os.close(ours)
    return said.decode(errors="replace")


def test_colours_are_for_terminals_and_never_with_no_color(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    green = "\x1b[32m"
    assert f"{green}ok" in on_a_terminal(["doctor", "--offline"])
    plain = on_a_terminal(["doctor", "--offline"], NO_COLOR="1")
    assert "ok" in plain
    assert "\x1b[" not in plain
    bars = on_a_terminal(run_words(scenes, tmp_path / "out"), NO_COLOR="1")
    assert "restore" in bars
    assert "━" in bars  # a bar that is drawn again and again, without colours
    assert "\x1b[3" not in bars.replace("\x1b[?25", "")


def test_a_line_is_said_at_each_tenth_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines().track("restore", 1000, "px") as advance:
        for _ in range(200):
            advance(5)
    with Lines().track("none", 0, "px"):
        pass
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" of ")[0] for line in lines] == [
        f"restore: {tenth}0%" for tenth in range(1, 11)
    ]
    assert "to go" in lines[0]
    assert "to go" not in lines[-1]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScenes:
    """Scenes of some 20 chunks."""
    return write_scenes(tmp_path_factory.mktemp("wide"), seed=7, size_px=1536)


def marks(out: Path) -> int:
    return len(list((out / "ledger" / "marks").glob("*.json")))


def start(
    scenes: SyntheticScenes, out: Path, *more: str, program: Sequence[str] = PROGRAM
) -> subprocess.Popen[str]:
    """Return a run that has finished a few chunks, in a process group of its own."""
    run = subprocess.Popen(
        [*program, *run_words(scenes, out, *more)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + _PATIENCE_S
    while marks(out) < 2:
        assert run.poll() is None, "it ended before it was interrupted"
        assert time.monotonic() < end
        time.sleep(0.02)
    return run


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ctrl_c_finishes_what_is_in_flight_and_says_how_to_go_on(
    wide: SyntheticScenes, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = start(wide, out, "--workers", "2", "--overwrite")
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to its workers, too
    _, said = run.communicate(timeout=_PATIENCE_S)
    assert run.returncode == 130, said
    assert "Traceback" not in said
    assert "Ctrl-C again to stop now" in said
    done, last = marks(out), said.splitlines()[-1]
    assert f"told to stop; {done} chunks are done. Go on with: cloudfree run" in last
    assert "--overwrite" not in last
    make(tmp_path / "whole", aoi=wide.aoi, date=wide.date, stac=wide.items)
    outcome = make(out, aoi=wide.aoi, date=wide.date, stac=wide.items, chunk_px=256)
    assert outcome.chunks_resumed == done
    assert_same_pixels(open_raw(tmp_path / "whole"), open_raw(out))


def test_a_second_ctrl_c_ends_at_once(scenes: SyntheticScenes, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = start(scenes, out, program=[sys.executable, "-c", _SLOW])
    run.send_signal(signal.SIGINT)
    assert run.stderr is not None
    while "Ctrl-C again" not in (line := run.stderr.readline()):
        assert line, "it ended without a word"
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=_PATIENCE_S)
    assert run.returncode == 130
    assert "Traceback" not in said
    assert "Go on with: cloudfree run" in said.splitlines()[-1]
    assert not (out / "run.json").exists()


def test_other_commands_are_interrupted_in_one_line() -> None:
    code = (
        "import os, signal; from cloudfree.cli import entry, main\n"
        "@main.command('wait')\n"
        "def wait(): os.kill(os.getpid(), signal.SIGINT)\n"
        "entry()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "wait"], capture_output=True, text=True, check=False,
        timeout=_PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 130
    assert done.stderr.strip() == "cloudfree: interrupted"
