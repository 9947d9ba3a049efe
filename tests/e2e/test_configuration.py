"""Protects the configuration of `limoe serve`: which source wins, that what is printed is a file that gives the same, that
wrong values name where they are written, and that docs/configuration.md lists every option there is."""

import os
import re
import subprocess

import pytest

from conftest import BUILD, MODEL, ROOT

OK, USAGE = 0, 2
CLEARED = ("LIMOE_", "STATE_DIRECTORY", "XDG_STATE_HOME")


def limoe(*arguments, env=None, cwd=None):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
    return subprocess.run([BUILD / "limoe", *map(str, arguments)], capture_output=True, text=True, timeout=60, cwd=cwd,
                          env={**environment, **(env or {})})


def printed(*arguments, env=None, cwd=None):
    """--print-config → {name: (value, or None where it is not set; where it came from)} and the text."""
    done = limoe("serve", "--print-config", *arguments, env=env, cwd=cwd)
    assert done.returncode == OK, done.stderr
    assert done.stderr == ""
    settings = {}
    for line in done.stdout.splitlines():
        found = re.fullmatch(r'(#?)([a-z-]+) = ("(?:[^"\\]|\\.)*"|\S*) +# (.*)', line)
        if found:
            off, name, value, origin = found.groups()
            settings[name] = (None if off else value, origin)
        else:
            assert not line or line.startswith("# "), line
    return settings, done.stdout


def wrong(*arguments, env=None):
    done = limoe("serve", *arguments, env=env)
    assert done.returncode == USAGE
    assert done.stdout == ""
    assert done.stderr.startswith("limoe: ") and done.stderr.count("\n") == 1
    return done.stderr


def helped(command="serve"):
    text = limoe(command, "--help").stdout
    return text, re.findall(r"^  (?:-h, )?--([a-z-]+)", text, re.M)


def test_each_source_goes_before_the_weaker(tmp_path):
    config = tmp_path / "limoe.conf"
    config.write_text('# of this host\nport = 1001\nqueue-items = 11   # few\nlog-level = debug\nhost = "::1"')
    env = {"LIMOE_CONFIG": str(config), "LIMOE_QUEUE_ITEMS": "12", "LIMOE_LOG_LEVEL": "error", "LIMOE_MODEL": str(MODEL)}
    settings, _ = printed("--log-level", "warning", env=env)
    assert settings["port"] == ("1001", f"{config}:2")
    assert settings["host"] == ('"::1"', f"{config}:5")
    assert settings["queue-items"] == ("12", "environment: LIMOE_QUEUE_ITEMS")
    assert settings["log-level"] == ("warning", "flag: --log-level")
    assert settings["model"] == (f'"{MODEL}"', "environment: LIMOE_MODEL")
    assert settings["queue-bytes"] == ("128MiB", "default")
    assert settings["tls-key"][0] is None


def test_what_is_printed_is_a_file_that_gives_the_same(tmp_path):
    given = ["--model", 'a "b" \\ # c', "--queue-bytes", "1536KiB", "--tls-key", "k.pem", "--tls-certificate", "c.pem",
             "--dtype", "float32", "--threads", "2", "--max-batch-delay-ms", "5"]
    settings, text = printed(*given)
    config = tmp_path / "printed.conf"
    config.write_text(text)
    again, _ = printed("--config", config)
    assert {name: value for name, (value, _) in again.items()} == {name: value for name, (value, _) in settings.items()}
    assert settings["queue-bytes"][0] == "1536KiB" and settings["model"][0] == '"a \\"b\\" \\\\ # c"'
    for name, (value, origin) in again.items():
        assert origin.startswith("default" if value is None else f"{config}:")


def test_every_option_but_the_three_about_options_is_printed():
    _, names = helped()
    settings, _ = printed()
    assert set(settings) == set(names) - {"config", "print-config", "help"}


@pytest.mark.parametrize("arguments, env, message", [
    (["--port", "65536"], {}, '--port is "65536"; accepted: a whole number from 0 to 65535'),
    ([], {"LIMOE_PORT": "tcp://10.0.0.1:80"}, 'LIMOE_PORT is "tcp://10.0.0.1:80"; accepted: a whole number from 0'),
    (["--log-level", "loud"], {}, "accepted: error, warning, info, debug"),
    (["--queue-bytes", "1TB"], {}, "perhaps with KiB, MiB or GiB, from 1 to 1024GiB"),
    (["--idle-timeout", "0"], {}, "accepted: a whole number of seconds from 1 to 86400"),
    (["--tls-key", "k.pem"], {}, "tls-key is set and tls-certificate is not; accepted: both or neither"),
    ([], {"LIMOE_TLS_CERTIFICATE": "c.pem"}, "tls-certificate is set and tls-key is not"),
    (["--conections", "5"], {}, "did you mean --connections?"),
    (["--config", "/nowhere/limoe.conf"], {}, "/nowhere/limoe.conf: No such file or directory"),
    (["--config", "/dev/zero"], {}, "/dev/zero: more than 65536 bytes"),
    (["model"], {}, 'unexpected argument "model"'),
    (["--state-dir", "x" * 20000], {}, "texts of more than 16384 bytes in all"),
])
def test_wrong_values_name_where_they_are_written(arguments, env, message):
    assert message in wrong(*arguments, env=env)


@pytest.mark.parametrize("text, message", [
    (b"\nprot = 1\n", ':2: serve has no option "prot"; did you mean port?'),
    (b"port = 1\nport = 2\n", ":2: port was set in line 1 already"),
    (b"port 1\n", ':1: "port" is not followed by "="'),
    (b"config = x\n", ":1: config is accepted on the command line alone"),
    (b"# fine\nthreads = many", ':2: threads is "many"; accepted: a whole number from 1 to 1024'),
    (b"host = a\0b", ":1: byte 9 of the line is the control character 0x00"),
])
def test_wrong_files_are_refused_by_line(tmp_path, text, message):
    config = tmp_path / "limoe.conf"
    config.write_bytes(text)
    assert f"{config}{message}" in wrong("--config", config)


def test_classifiers_are_kept_where_the_system_says(tmp_path):
    def state_dir(env):
        return printed(env={"HOME": "", **env})[0]["state-dir"][0]

    assert state_dir({}) == '"./limoe-state"'
    assert state_dir({"HOME": "/h"}) == '"/h/.local/state/limoe"'
    assert state_dir({"HOME": "/h", "XDG_STATE_HOME": "/x"}) == '"/x/limoe"'
    assert state_dir({"HOME": "/h", "XDG_STATE_HOME": "not/absolute"}) == '"/h/.local/state/limoe"'
    assert state_dir({"XDG_STATE_HOME": "/x", "STATE_DIRECTORY": "/s:/t"}) == '"/s"'
    assert state_dir({"STATE_DIRECTORY": "/s", "LIMOE_STATE_DIR": "/e"}) == '"/e"'


def test_the_environment_configures_the_other_commands(tmp_path):
    for command in (["embed", "--text", "x"], ["classify", "--labels", "a", "x.png"]):
        done = limoe(*command, env={"LIMOE_DTYPE": "int4"})
        assert done.returncode == USAGE
        assert 'LIMOE_DTYPE is "int4"; accepted: auto, float32, bfloat16, int8' in done.stderr
        done = limoe(*command, "--threads", "1", env={"LIMOE_THREADS": "0"})
        assert 'LIMOE_THREADS is "0"; accepted: a whole number from 1 to 1024' in done.stderr
    by_environment = limoe("inspect", "--json", env={"LIMOE_MODEL": str(MODEL)})
    by_flag = limoe("inspect", "--json", "--model", MODEL, env={"LIMOE_MODEL": str(tmp_path)})
    by_operand = limoe("inspect", "--json", MODEL, "--model", tmp_path)
    assert by_environment.returncode == OK, by_environment.stderr
    assert by_environment.stdout == by_flag.stdout == by_operand.stdout


def test_the_document_lists_what_help_lists():
    text, names = helped()
    assert len(names) == len(set(names)) and max(map(len, text.splitlines())) <= 100
    document = (ROOT / "docs" / "configuration.md").read_text()
    table = document.split("## Options of `limoe serve`")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `--([a-z-]+)` \| (.*?) \| (.*?) \|$", table, re.M)
    assert [name for name, _, _ in rows] == [name for name in names if name != "help"]
    settings, _ = printed(env={"HOME": ""})
    for name, default, _ in rows:
        value = settings.get(name, (None, ""))[0]
        if value is not None and name != "state-dir":
            assert default == f"`{value.strip(chr(34))}`", name
