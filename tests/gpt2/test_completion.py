"""`gpt2 --completion`: what a real bash completes with the script."""

import shlex
import shutil
import subprocess
import sys

import pytest

from gpt2.cli import main
from gpt2.commands.completion import SHELLS
from gpt2.config import PRESETS


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "gpt2.bash"
    done = subprocess.run([sys.executable, "-m", "gpt2", "--completion", "bash"], capture_output=True, text=True, check=True)
    path.write_text(done.stdout, "utf-8")
    return path


def completed(script, folder, *words):
    """What bash offers for the last of the words, in a folder."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    inside = f"""
        source {shlex.quote(str(script))}
        COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}
        $(complete -p gpt2 | grep -o '_shtab_[a-z0-9_]*')
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run([bash, "--norc", "-c", inside], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_it_knows_commands_flags_and_what_they_may_be(script, tmp_path):
    assert completed(script, tmp_path, "gpt2", "t") == {"train", "tokenize"}
    assert "--learning-rate" in completed(script, tmp_path, "gpt2", "train", "--l")
    assert completed(script, tmp_path, "gpt2", "train", "--preset", "") == set(PRESETS)
    assert completed(script, tmp_path, "gpt2", "export", "--weights", "") == {"int8"}


def test_files_are_completed_where_a_file_may_stand(script, tmp_path):
    (tmp_path / "my.txt").touch()
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    for words in (["train", "--data", "m"], ["train", "--out", "m"], ["sample", "my"], ["eval", "x", "--data", "m"]):
        assert "my.txt" in completed(script, tmp_path, "gpt2", *words), words
    assert "my.txt" not in completed(script, tmp_path, "gpt2", "train", "--steps", "m")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script(shell, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--completion", shell])
    assert end.value.code == 0
    assert "gpt2" in capsys.readouterr().out


def test_without_shtab_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as end:
        main(["--completion", "bash"])
    assert end.value.code == 2
    assert "pip install 'tinygrad2[completion]'" in capsys.readouterr().err


def test_another_shell_is_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        main(["--completion", "cmd"])
    assert "cmd" in capsys.readouterr().err
