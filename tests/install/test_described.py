"""Protects the manual pages and the completions: there is one for each command, with each option that --help lists, and neither
man nor any shell has anything to say against them."""

import os
import pathlib
import pty
import re
import select
import subprocess
import time

import pytest

from conftest import COMMANDS, ENVIRONMENT, run

COLLECT = pathlib.Path(__file__).with_name("collect.zsh")


def options_of(installed, *command):
    """From --help."""
    return set(re.findall(r"^  (?:-[a-z], )?--([a-z-]+)", installed.limoe(*command, "--help"), re.M))


def test_commands_are_those_of_the_help(installed):
    assert re.findall(r"^  ([a-z]+) ", installed.limoe("--help"), re.M)[: len(COMMANDS)] == COMMANDS


# ---- manual pages


def page(installed, command):
    return installed.share / "man" / "man1" / (f"limoe-{command}.1" if command else "limoe.1")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_neither_man_nor_mandoc_complains(installed, command):
    run("mandoc", "-Tlint", "-Wwarning", page(installed, command))
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page(installed, command)], capture_output=True,
                          text=True, env={**ENVIRONMENT, "LC_ALL": "C.UTF-8"}, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_has_each_option_its_default_and_its_variable(installed, command):
    shown = run("mandoc", "-Tutf8", "-Owidth=200", page(installed, command))
    shown = re.sub(r".\x08", "", shown)
    assert re.search(rf"^NAME\n +limoe-{command} (-|–) ", shown, re.M), shown[:300]
    listed = set(re.findall(r"^ {5,7}(?:-[a-z], )?--([a-z-]+)", shown, re.M))
    assert listed == options_of(installed, command)
    for section in ("SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"):
        assert f"\n{section}\n" in shown
    if command == "serve":
        flat = " ".join(shown.split())
        assert "--queue-items N items let in and not computed yet, past which requests get 429. Default: 65536." in flat
        assert "Accepted: a whole number from 1 to 1099511627776. Environment: LIMOE_QUEUE_ITEMS." in flat


def test_a_page_s_date_can_be_repeated(installed):
    text = installed.limoe("manual", "serve", env={"SOURCE_DATE_EPOCH": "86400"})
    assert text.startswith('.TH LIMOE\\-SERVE 1 "1970-01-02" "limoe ')


def test_what_is_not_there_is_said(installed):
    for arguments, message in ((["manual", "srve"], 'there is no command "srve"; did you mean "serve"?'),
                               (["manual", "serve", "embed"], 'one COMMAND at a time; found "embed" after "serve"'),
                               (["completion"], "no shell; accepted: bash, zsh, fish"),
                               (["completion", "tcsh"], 'the shell is "tcsh"; accepted: bash, zsh, fish')):
        done = subprocess.run([installed.program, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and message in done.stderr and done.stdout == ""


# ---- completions


def bash(installed, line, folder):
    """What bash offers for the last word of `line`."""
    words = [*line.split(" ")]
    quoted = " ".join(f"'{word}'" for word in words)
    script = f"complete -p limoe; COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}; _limoe; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    source = installed.share / "bash-completion" / "completions" / "limoe"
    registered, *offered = run("bash", "--norc", "-uc", f". {source}; {script}", cwd=folder).splitlines()
    assert registered == "complete -F _limoe limoe"
    return set(filter(None, offered))


def fish(installed, line, folder):
    source = installed.share / "fish" / "vendor_completions.d" / "limoe.fish"
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / ".config"), "XDG_DATA_HOME": str(folder / ".local")}
    script = f"source {source}; complete -C '{line}'"
    # --option=VALUE comes back whole.
    return {offered.split("\t")[0].split("=")[-1] for offered in run("fish", "--no-config", "-c", script, cwd=folder, env=home).splitlines()}


class Zsh:
    """A zsh at a terminal: its completion system works nowhere else."""

    def __init__(self, installed, folder):
        self.said = folder / "said"
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.chdir(folder)
            os.execvpe("zsh", ["zsh", "-f", "-i"], {**ENVIRONMENT, "TERM": "dumb", "HOME": str(folder), "PS1": "", "ZDOTDIR": str(folder)})
        self.pid = pid
        functions = installed.share / "zsh" / "site-functions"
        self.type(f"said={self.said}; fpath=({functions} $fpath); source {COLLECT}\n")
        self.wait()

    def type(self, text):
        os.write(self.terminal, text.encode())

    def wait(self):
        """For the end of the list. Reads what the terminal echoes meanwhile, so that zsh never waits for room."""
        echo, deadline = b"", time.monotonic() + 60
        while not (self.said.exists() and "@" in self.said.read_text().splitlines()):
            assert time.monotonic() < deadline, echo.decode(errors="replace")
            if select.select([self.terminal], [], [], 0.02)[0]:
                echo += os.read(self.terminal, 65536)

    def offers(self, line):
        self.said.unlink()
        self.type(line + "\x18\x14")
        self.wait()
        return {word for word in self.said.read_text().splitlines() if word not in ("", "@")}

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shell")
    (folder / "one picture.png").touch()
    (folder / "models").mkdir()
    return folder


@pytest.fixture(scope="module", params=["bash", "zsh", "fish"])
def offers(request, installed, folder):
    """line -> what the shell offers for its last word."""
    if request.param != "zsh":
        shell = {"bash": bash, "fish": fish}[request.param]
        yield lambda line: shell(installed, line, folder)
        return
    shell = Zsh(installed, folder)
    yield shell.offers
    shell.close()


def test_a_shell_offers_the_commands(offers):
    assert offers("limoe ") >= set(COMMANDS)
    assert offers("limoe emb") == {"embed"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_shell_offers_each_option_of_a_command(offers, installed, command):
    assert {word.rstrip("=") for word in offers(f"limoe {command} --") if word.startswith("--")} == {
        f"--{name}" for name in options_of(installed, command)}


def test_a_shell_offers_values(offers):
    assert offers("limoe serve --log-format ") == {"text", "json"}
    assert offers("limoe serve --port 1 --dtype fl") == {"float32"}
    assert offers("limoe completion ") >= {"bash", "zsh", "fish"}
    assert offers("limoe manual in") == {"inspect"}
    assert offers("limoe serve --port ") == set()


def test_a_shell_offers_files_where_a_file_is_meant(offers):
    assert {word.rstrip("/").replace("\\", "") for word in offers("limoe classify --labels a one")} == {"one picture.png"}
    assert {word.rstrip("/") for word in offers("limoe embed --model ")} - {".config", ".local"} == {"models"}
    assert {word.rstrip("/") for word in offers("limoe inspect m")} == {"models"}


def test_tab_completes_in_a_bash_at_a_terminal(installed, folder):
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe("bash", ["bash", "--norc", "-i"], {**ENVIRONMENT, "TERM": "dumb", "PS1": "$ "})
    lines = [f". {installed.share}/bash-completion/completions/limoe", "limoe serve --log-level=de\tport\x01#"]  # ^A#: a comment
    try:
        echo, deadline = "", time.monotonic() + 60
        os.write(terminal, "".join(f"{line}\n" for line in lines).encode())
        while "limoe serve --log-level=debug port" not in echo:
            assert time.monotonic() < deadline, echo
            if select.select([terminal], [], [], 0.1)[0]:
                echo += os.read(terminal, 65536).decode(errors="replace")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def test_a_value_behind_an_equals_sign_is_completed(installed, folder):
    """bash makes three words of it, which is easily got wrong."""
    assert bash(installed, "limoe serve --log-level = de", folder) == {"debug"}
    assert bash(installed, "limoe serve --log-level =", folder) == {"error", "warning", "info", "debug"}
    assert fish(installed, "limoe serve --log-level=de", folder) == {"debug"}
