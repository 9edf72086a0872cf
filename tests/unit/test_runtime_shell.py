from __future__ import annotations

import asyncio
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from flownb.errors import CommandError, ExpressionError, NodeError
from flownb.model.nodes import ShellNode
from flownb.runtimes.base import Printed
from flownb.runtimes.shell import ShellRuntime
from tests.nodes import node_of, run_node, scope_of


def run(body: str, **fields: object) -> object:
    return run_node(ShellRuntime(0.3), node_of(ShellNode, body, **fields), scope_of())


def error_of(body: str, **fields: object) -> CommandError:
    with pytest.raises(CommandError) as caught:
        run(body, **fields)
    return caught.value


def open_files() -> list[str]:
    """Return what this process has open; the folder that it lists for that is gone when it is looked at."""
    return sorted(f"{entry.name}:{entry.readlink()}" for entry in Path("/proc/self/fd").iterdir() if entry.exists())


def is_running(number: int) -> bool:
    try:
        return str(psutil.Process(number).status()) != str(psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def zombies() -> list[int]:
    return [child.pid for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(
    "body, fields, value",
    [
        ("echo hi", {}, "hi"),
        ("printf 'hi\\n\\n'", {}, "hi\n"),
        ("printf 'hi\\r\\n'", {}, "hi"),
        ("true", {}, ""),
        ("echo err >&2; echo out", {}, "out"),
        ("printf 'a\\xffb'", {}, "a�b"),
        ("echo ä€😀", {}, "ä€😀"),
        ("echo '{\"a\": [1]}'", {"output": "json"}, {"a": [1]}),
        ("printf 'a\\r\\n\\nb\\n'", {"output": "lines"}, ["a", "", "b"]),
        ("true", {"output": "lines"}, []),
        ("echo", {"output": "lines"}, []),
        ("echo $FOO-$PORT", {"env": {"FOO": "a b", "PORT": 80}}, "a b-80"),
        ("pwd", {"cwd": "/usr"}, "/usr"),
        ("set +o pipefail; yes | head -n1", {}, "y"),
        ("pwd", {}, "/tmp"),
        ("read line || echo none", {}, "none"),
        ("[[ $- == *e* && $- == *u* ]] && shopt -o pipefail | cut -f2", {}, "on"),
    ],
)
def test_the_value_is_what_it_printed(body: str, fields: dict[str, object], value: object) -> None:
    assert run(body, **fields) == value


def test_a_script_cannot_read_what_is_typed() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"typed\n")
    saved = os.dup(0)
    os.dup2(reader, 0)
    try:
        assert run("cat") == ""
    finally:
        os.dup2(saved, 0)
        for number in (saved, reader, writer):
            os.close(number)


def test_values_are_quoted_and_properties_are_templates() -> None:
    node = node_of(ShellNode, 'printf %s {{ v }}; printf %s "$X"; pwd', env={"X": "{{ v }}"}, cwd="{{ folder }}")
    nasty = "a'b\"c $(id) `id` \\ \n*"

    value = run_node(ShellRuntime(), node, scope_of({"v": nasty, "folder": "/usr"}))

    assert value == nasty + nasty + "/usr"


def test_a_script_and_a_value_of_any_size_reach_bash() -> None:
    assert run(": " + "x" * (3 << 20) + "\necho done") == "done"
    big = "y" * (1 << 20)
    assert run_node(ShellRuntime(), node_of(ShellNode, "printf %s {{ v }}"), scope_of({"v": big})) == big


def test_output_larger_than_any_pipe_is_read_whole() -> None:
    assert run("head -c 5000000 /dev/zero | tr '\\0' x; head -c 5000000 /dev/zero >&2") == "x" * 5_000_000


def test_the_script_does_not_show_in_the_list_of_processes() -> None:
    assert "made-up-secret" not in str(run("true made-up-secret; tr '\\0' ' ' < /proc/$$/cmdline"))


def test_output_is_shown_line_by_line_while_it_comes_without_secrets() -> None:
    shown: list[tuple[Printed, bool]] = []
    gate = Path("/tmp") / f"flownb-gate-{os.getpid()}-{threading.get_ident()}"
    body = f"echo one; while [ ! -e {gate} ]; do sleep 0.01; done; printf 's3'; sleep 0.05; printf 'cret end'; echo two s3cret >&2"

    def show(printed: Printed) -> None:
        shown.append((printed, gate.exists()))
        gate.touch()

    try:
        value = run_node(ShellRuntime(), node_of(ShellNode, body), scope_of(printed=show, secrets=("s3cret",)))
    finally:
        gate.unlink(missing_ok=True)

    assert shown[0] == (Printed("stdout", "one\n"), False)
    assert {printed for printed, _ in shown[1:]} == {Printed("stdout", "••• end"), Printed("stderr", "two •••\n")}
    assert value == "one\ns3cret end"


def test_a_script_does_not_depend_on_who_looks_at_it(capfd: pytest.CaptureFixture[str]) -> None:
    def show(_: Printed) -> None:
        raise BrokenPipeError("nobody looks")

    value = run_node(ShellRuntime(), node_of(ShellNode, "echo a; sleep 0.1; echo b"), scope_of(printed=show))
    assert value == "a\nb"
    assert capfd.readouterr().err.count("BrokenPipeError: nobody looks") == 1


def test_characters_cut_by_a_read_are_put_together() -> None:
    shown: list[Printed] = []
    scope = scope_of(printed=shown.append)
    run_node(ShellRuntime(), node_of(ShellNode, "printf '\\xe2\\x82'; sleep 0.05; printf '\\xac'"), scope)

    assert shown == [Printed("stdout", "€")]


@pytest.mark.parametrize(
    "body, message, code",
    [
        ("echo why >&2; exit 3", "exit code 3: why", 3),
        ("false", "exit code 1", 1),
        ("false | true", "exit code 1", 1),
        ("echo $nothing", "exit code 1: In[7]:12: nothing: unbound variable", 1),
        ("true\nno_such_command", "exit code 127: In[7]:13: no_such_command: command not found", 127),
        ("kill -KILL $$", "killed by SIGKILL", -9),
        ("bash -c 'kill -TERM $$'", "exit code 143 (SIGTERM)", 143),
        ("yes | head -n1", "exit code 141 (SIGPIPE)", 141),
        ("echo a\nif", "exit code 2: In[7]:14: syntax error: unexpected end of file", 2),
    ],
)
def test_a_script_that_fails_says_how(body: str, message: str, code: int) -> None:
    error = error_of(body)

    assert error.message.startswith(message)
    assert error.exit_code == code


def test_a_failure_without_a_word_is_explained() -> None:
    assert "set -euo pipefail" in error_of("false").hint
    assert error_of("echo why >&2; false").hint == ""


def test_the_error_holds_no_half_of_a_secret_however_long_the_last_line_is() -> None:
    node = node_of(ShellNode, "{ printf s3cretlong; head -c 65530 /dev/zero | tr '\\0' z; } >&2; exit 3")
    with pytest.raises(CommandError) as caught:
        run_node(ShellRuntime(), node, scope_of(secrets=("s3cretlong",)))
    assert "•••zzz" in str(caught.value)
    assert "long" not in str(caught.value)


def test_the_error_holds_no_secret() -> None:
    node = node_of(ShellNode, "echo s3cret >&2; exit 1")
    with pytest.raises(CommandError) as caught:
        run_node(ShellRuntime(), node, scope_of(secrets=("s3cret",)))

    assert caught.value.message == "exit code 1: •••"


def test_a_line_that_a_template_made_has_no_line_of_the_person() -> None:
    node = node_of(ShellNode, "{% for x in some %}\nnope {{ x }}\n{% endfor %}")
    with pytest.raises(CommandError) as caught:
        run_node(ShellRuntime(), node, scope_of({"some": [1, 2]}))

    assert "In[7]: line 2 of the script: nope: command not found" in caught.value.message


def test_what_is_no_json_is_an_error() -> None:
    with pytest.raises(NodeError) as caught:
        run("echo '[1,'; echo x", output="json")

    assert caught.value.message == "`output: json`: what was printed is no JSON: expecting value at column 1 in line 2"


def test_a_missing_folder_is_an_error_that_names_it() -> None:
    with pytest.raises(NodeError) as caught:
        run("pwd", cwd="no/such")

    assert caught.value.message == "`cwd`: there is no folder /tmp/no/such"


def test_a_missing_bash_is_an_error_that_says_so() -> None:
    with pytest.raises(NodeError) as caught:
        run_node(ShellRuntime(), node_of(ShellNode, "pwd"), scope_of(environment={"PATH": "/nowhere"}))

    assert caught.value.message == "bash was not found"


def test_a_value_inside_single_quotes_is_refused() -> None:
    with pytest.raises(ExpressionError):
        run_node(ShellRuntime(), node_of(ShellNode, "echo '{{ v }}'"), scope_of({"v": "$(id)"}))


@pytest.mark.parametrize("prelude", ["", "set -a\n", "export __flownb_1 || true\n"])
@pytest.mark.parametrize("options", ["", "allexport", "xtrace:allexport"])
def test_no_command_inherits_a_value(prelude: str, options: str) -> None:
    body = (
        prelude
        + "echo {{ v }} | wc -c; env; tr '\\0' '\\n' < /proc/self/environ; tr '\\0' ' ' < /proc/$$/cmdline; for f in /proc/$$/fd/*; do case $f in */[012]) ;; *) cat /proc/self/fd/${f##*/} || true;; esac; done"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "__flownb_1": "of the environment",
        **({"SHELLOPTS": options} if options else {}),
    }
    shown: list[Printed] = []

    value = run_node(
        ShellRuntime(),
        node_of(ShellNode, body),
        scope_of({"v": "made-up-secret"}, environment=environment, printed=shown.append),
    )

    assert str(value).startswith("15\n")
    assert "PATH=" in str(value)
    assert "made-up-secret" not in str(value)
    printed = "".join(str(line.data) for line in shown if line.mime == "stderr")
    assert "mapfile" not in printed
    assert ("+ echo made-up-secret" in printed) == ("xtrace" in options)  # What the person asked for.


def test_a_value_is_missed_where_another_shell_gets_the_function() -> None:
    error = error_with("f() { echo {{ v }}; }; export -f f; bash -c f", {"v": "x"})

    assert error.exit_code == 127
    assert "{{ v }}: parameter not set" in error.message


def error_with(body: str, values: dict[str, object]) -> CommandError:
    with pytest.raises(CommandError) as caught:
        run_node(ShellRuntime(), node_of(ShellNode, body), scope_of(values))
    return caught.value


def test_lines_keep_their_numbers_and_values_their_names() -> None:
    body = "echo $LINENO $0 {{ v }} >&2\n\nnope {{ v }}"
    assert error_with(body, {"v": "a\nb"}).message == "exit code 127: In[7]:14: nope: command not found"
    assert run_node(ShellRuntime(), node_of(ShellNode, "echo $LINENO; echo {{ v }}"), scope_of({"v": "x"})) == "1\nx"
    shown: list[Printed] = []
    with pytest.raises(CommandError):
        run_node(ShellRuntime(), node_of(ShellNode, "fi; echo {{ v }}"), scope_of({"v": "x"}, printed=shown.append))
    printed = "".join(str(line.data) for line in shown)
    assert "In[7]:12: syntax error near unexpected token `fi'" in printed
    assert "flownb" not in printed


def test_values_of_megabytes_and_lists_of_any_length_reach_bash() -> None:
    big = "y\n€" * (1 << 20)
    body = (
        'echo "${#x}" {{ v }} > /dev/null; x={{ v }}; printf %s "${#x}"; f() { echo " $#"; }; f {{ many }} {{ empty }}'
    )
    scope = scope_of({"v": big, "many": ["a b"] * 20_000, "empty": []}, environment={**os.environ, "x": ""})
    assert run_node(ShellRuntime(), node_of(ShellNode, body, env={"LC_ALL": "C.UTF-8"}), scope) == f"{len(big)} 20000"


def test_a_script_cannot_read_what_is_typed_also_where_it_has_values() -> None:
    assert run_node(ShellRuntime(), node_of(ShellNode, "cat; echo {{ v }}"), scope_of({"v": "x"})) == "x"


def test_a_process_left_behind_neither_holds_the_node_nor_survives_it() -> None:
    number = int(str(run("sleep 60 & echo $!")))

    assert not is_running(number)


def test_a_process_left_behind_that_closed_its_output_is_ended_too() -> None:
    number = int(str(run("sleep 60 > /dev/null 2>&1 & echo $!")))

    assert not is_running(number)


def test_a_process_left_behind_that_ignores_sigterm_is_killed() -> None:
    number = int(str(run("(trap '' TERM; echo ready; while :; do sleep 0.1; done) & sleep 0.1; echo $!")).split()[-1])

    assert not is_running(number)


def test_a_process_that_left_the_group_is_let_be_and_does_not_hold_the_node() -> None:
    number = int(str(run("setsid sleep 60 & echo $!")))
    try:
        assert is_running(number)
    finally:
        os.kill(number, signal.SIGKILL)


def test_output_after_the_end_of_bash_is_still_read() -> None:
    assert run("echo a > >(sleep 0.05; cat)") == "a"


@pytest.mark.parametrize(
    "trap",
    ["", "trap '' TERM; ", "trap 'sleep 60' TERM; "],
    ids=["ordinary", "ignores SIGTERM", "lingers on SIGTERM"],
)
def test_cancelling_ends_the_whole_tree(trap: str, tmp_path: Path) -> None:
    body = f"{trap}(bash -c '{trap.replace(chr(39), chr(34))}echo $$ > c; sleep 60; sleep 60') & echo $! > b; echo $$ > a; wait; sleep 60"
    before = open_files()

    async def main() -> list[int]:
        node = node_of(ShellNode, body)
        task = asyncio.create_task(ShellRuntime(0.2).run(node, scope_of(folder=tmp_path)))
        while not all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in "abc"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        numbers = [int((tmp_path / name).read_text()) for name in "abc"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return [number for number in numbers if is_running(number)]

    assert asyncio.run(main()) == []
    assert open_files() == before
    assert zombies() == []


def test_sigterm_comes_first_and_what_is_printed_then_is_shown(tmp_path: Path) -> None:
    shown: list[Printed] = []
    body = "trap 'echo tidied; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    with pytest.raises(TimeoutError):
        run_node(ShellRuntime(20), node_of(ShellNode, body), scope_of(printed=shown.append), 0.2)

    assert Printed("stdout", "tidied\n") in shown


def test_cancelling_twice_kills_at_once() -> None:
    async def main() -> None:
        started = asyncio.Event()
        scope = scope_of(printed=lambda _: started.set())
        body = "trap '' TERM; echo ready; while :; do sleep 0.01; done"
        task = asyncio.create_task(ShellRuntime(60).run(node_of(ShellNode, body), scope))
        await started.wait()
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_nothing_is_left_open_after_many_scripts_at_once() -> None:
    before = open_files()

    async def main() -> list[object]:
        runtime = ShellRuntime()
        return await asyncio.gather(
            *(runtime.run(node_of(ShellNode, "echo {{ n }}"), scope_of({"n": n})) for n in range(30))
        )

    assert asyncio.run(main()) == [str(n) for n in range(30)]
    assert open_files() == before
    assert zombies() == []


def test_nothing_is_left_open_after_a_script_that_could_not_start() -> None:
    before = open_files()
    with pytest.raises(ValueError, match="null byte"):
        run("true", env={"X": "a\0b"})

    assert open_files() == before


def test_it_runs_on_a_loop_in_another_thread() -> None:
    values: list[object] = []
    thread = threading.Thread(target=lambda: values.append(run("echo hi")))
    thread.start()
    thread.join()

    assert values == ["hi"]


def test_a_stopped_process_can_be_ended() -> None:
    with pytest.raises(TimeoutError):
        run_node(ShellRuntime(0.1), node_of(ShellNode, "kill -STOP $$"), scope_of(), 0.1)
    assert zombies() == []


def test_where_the_system_has_no_pidfd_a_thread_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.delattr(os, "memfd_create")

    assert run("echo hi; exit 0") == "hi"
    assert error_of("exit 3").exit_code == 3
    with pytest.raises(TimeoutError):
        run_node(ShellRuntime(), node_of(ShellNode, "sleep 60"), scope_of(), 0.1)
    assert zombies() == []


# Secrets on the screen.


@pytest.mark.parametrize("where", ["", " >&2"])
@pytest.mark.parametrize(
    "script",
    [
        "printf hun; sleep 0.1; echo ter2hunter2",
        "set -x; : {{ s }}; echo ok",
        "printf 'x %s' {{ s }}",
        "printf '%s\\r' 10 {{ s }} 20; echo",
        'v={{ s }}; printf %s "${v:0:3}"; sleep 0.1; echo "${v:3}"',
        "echo {{ s }} | base64",
        "printf '%q\\n' {{ s }}",
        "printf 'y%.0s' {1..65530}; echo {{ s }}",
    ],
)
def test_a_secret_is_not_on_the_screen_however_it_is_written(script: str, where: str) -> None:
    shown: list[Printed] = []
    scope = scope_of({"s": "hunter2hunter2"}, printed=shown.append, secrets=("hunter2hunter2",))
    node = node_of(ShellNode, f"{{ {script}; }}{where}")
    run_node(ShellRuntime(), node, scope)
    for mime in ("stdout", "stderr"):
        text = "".join(str(printed.data) for printed in shown if printed.mime == mime)
        assert "hunter2" not in text
        assert "aHVudGVyMmh1bnRlcjI" not in text
    assert "•••" in "".join(str(printed.data) for printed in shown)


def test_what_was_held_back_is_shown_when_the_script_is_stopped() -> None:
    shown: list[Printed] = []
    scope = scope_of(printed=shown.append, secrets=("hunter2",))
    with pytest.raises(TimeoutError):
        run_node(ShellRuntime(0.1), node_of(ShellNode, "echo a hunt; printf hunt; sleep 9"), scope, limit_s=0.5)
    assert "".join(str(printed.data) for printed in shown).startswith("a hunt\n")


def test_a_child_inherits_no_secret_that_the_script_does_not_name() -> None:
    environment = {"PATH": os.environ["PATH"], "TOKEN": "hunter2", "OTHER": "x"}

    def names(script: str, **fields: object) -> str:
        scope = replace(scope_of({"s": "hunter2"}, environment=environment), secrets=frozenset({"TOKEN"}))
        return str(run_node(ShellRuntime(), node_of(ShellNode, f"{script}env | cut -d= -f1", **fields), scope))

    assert "TOKEN" not in names("")
    assert "OTHER" in names("")
    assert "TOKEN" in names(": $TOKEN\n")
    assert "KEY" in names("", env={"KEY": "{{ s }}"})
