# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running tools: what comes back, and what is said when it does not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import DeadlineExceeded, MissingDependency, ToolFailed
from ansible_collections.poolwright.virt.plugins.module_utils.process import Limits, find_tool, reading_from_tool, run_tool, writing_to_tool

# Seconds: more than anything here takes on any machine, and less than what is told to take for ever.
LONG = 300.0
FOR_EVER = 3600


def python(program: str, timeout: float = LONG, limits: Limits | None = None) -> str:
    return run_tool([sys.executable, "-c", program], timeout=timeout, phase="test", obj="thing", limits=limits)


def test_standard_output_comes_back_whatever_bytes_it_has() -> None:
    assert python("import os; os.write(1, b'a\\xffb')") == "a\ufffdb"


def test_no_shell_reads_the_arguments() -> None:
    assert run_tool(["echo", "$HOME; ls *"], timeout=LONG, phase="test") == "$HOME; ls *\n"


def test_a_failure_carries_the_tools_own_words() -> None:
    with pytest.raises(ToolFailed, match=r"thing: .* ended with status 3: no room") as caught:
        python("import sys; sys.stderr.write('no room\\n'); sys.exit(3)")
    assert (caught.value.phase, caught.value.obj) == ("test", "thing")


def test_standard_output_speaks_where_standard_error_is_silent() -> None:
    with pytest.raises(ToolFailed, match="status 1: said here"):
        python("import sys; print('said here'); sys.exit(1)")


def test_a_tool_that_runs_too_long_is_stopped() -> None:
    with pytest.raises(DeadlineExceeded, match="was stopped"):
        python(f"import time; time.sleep({FOR_EVER})", timeout=0.3)


def test_a_missing_tool_is_named_with_its_package() -> None:
    with pytest.raises(MissingDependency, match="install the package some-package"):
        find_tool("no-such-tool", "some-package")
    with pytest.raises(MissingDependency, match="no-such-tool"):
        run_tool(["no-such-tool"], timeout=LONG, phase="test")


def test_memory_is_limited() -> None:
    with pytest.raises(ToolFailed, match="MemoryError"):
        python("bytearray(1 << 30)", limits=Limits(address_space=1 << 29))
    assert python("print(len(bytearray(1 << 20)))", limits=Limits()) == "1048576\n"


def test_processor_time_is_limited() -> None:
    with pytest.raises(ToolFailed, match="status -"):
        python("while True: pass", limits=Limits(cpu_seconds=1))


def test_tools_get_nothing_of_the_controllers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    said = python("import os; print(sorted(os.environ))")
    assert "SECRET" not in said
    assert "LANG'" not in said


def test_standard_input_is_closed_to_tools() -> None:
    assert python("import sys; print(len(sys.stdin.read()))") == "0\n"


def test_a_tool_ends_with_the_run_that_was_killed(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    tool = ["sh", "-c", f"echo $$ > {told}; exec sleep {FOR_EVER}"]
    program = f"from {run_tool.__module__} import run_tool; run_tool({tool!r}, timeout={FOR_EVER}, phase='test')"
    run = subprocess.Popen([sys.executable, "-c", program], env={"PYTHONPATH": ":".join(entry for entry in sys.path if entry)})
    until = time.monotonic() + LONG
    while not told.exists() or not told.read_text():
        assert time.monotonic() < until, "the tool did not start"
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    stat = Path(f"/proc/{told.read_text().strip()}/stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until, "the tool goes on"
        time.sleep(0.01)


def test_one_that_must_not_be_cut_off_goes_on_to_its_end(tmp_path: Path) -> None:
    started, done = tmp_path / "started", tmp_path / "done"
    tool = ["sh", "-c", f"touch {started}; while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; touch {done}"]
    program = f"from {run_tool.__module__} import run_tool; run_tool({tool!r}, timeout={FOR_EVER}, phase='test', ends_itself=True)"
    run = subprocess.Popen([sys.executable, "-c", program], env={"PYTHONPATH": ":".join(entry for entry in sys.path if entry)})
    until = time.monotonic() + LONG
    while not started.exists():
        assert time.monotonic() < until, "the tool did not start"
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    (tmp_path / "go").touch()
    while not done.exists():
        assert time.monotonic() < until, "the tool was cut off"
        time.sleep(0.01)


# --- streams


def test_a_tools_output_is_a_stream() -> None:
    with reading_from_tool([sys.executable, "-c", "print('x' * 200000, end='')"], timeout=LONG, phase="test") as stream:
        assert stream.read() == b"x" * 200000


def test_what_fails_after_its_output_is_said_at_the_end() -> None:
    program = "import sys; print('half'); sys.stderr.write('lost the rest'); sys.exit(4)"
    with pytest.raises(ToolFailed, match="status 4: lost the rest"), reading_from_tool([sys.executable, "-c", program], timeout=LONG, phase="test") as stream:
        assert stream.read() == b"half\n"


def test_a_tools_input_is_a_stream(tmp_path: Path) -> None:
    program = f"import sys; open({str(tmp_path / 'out')!r}, 'wb').write(sys.stdin.buffer.read())"
    with writing_to_tool([sys.executable, "-c", program], timeout=LONG, phase="test") as stream:
        stream.write(b"y" * 200000)
    assert (tmp_path / "out").read_bytes() == b"y" * 200000


@pytest.mark.parametrize(("end", "said"), [("sys.stderr.write('no room'); sys.exit(5)", "status 5: no room"), ("pass", "a part of its input")])
def test_a_tool_that_stops_reading_has_failed(end: str, said: str) -> None:
    program = f"import sys; sys.stdin.buffer.read(1); {end}"
    with pytest.raises(ToolFailed, match=said), writing_to_tool([sys.executable, "-c", program], timeout=LONG, phase="test") as stream:
        for _time in range(100):
            stream.write(b"z" * 100000)


def test_an_error_while_a_stream_is_used_comes_through_and_leaves_no_process() -> None:
    before = time.monotonic()
    for way in (reading_from_tool, writing_to_tool):
        with pytest.raises(KeyError), way(["cat"], timeout=FOR_EVER, phase="test"):
            raise KeyError("made up")
    assert time.monotonic() - before < LONG


def test_a_stream_has_a_deadline_too() -> None:
    before = time.monotonic()
    with pytest.raises(DeadlineExceeded), reading_from_tool(["sleep", str(FOR_EVER)], timeout=0.5, phase="test") as stream:
        stream.read()
    with pytest.raises(DeadlineExceeded), writing_to_tool(["sleep", str(FOR_EVER)], timeout=0.5, phase="test") as stream:
        for _time in range(100):
            stream.write(b"z" * 100000)
    assert time.monotonic() - before < LONG
