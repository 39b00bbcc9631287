"""Shell completion: what bash offers at Tab after the script is read; the words that ask for it."""

import dataclasses
import functools
import subprocess

import pytest

from jaxstyle.cli import main
from jaxstyle.cli.completion import SHELLS, read_shell, script
from jaxstyle.errors import InputError
from jaxstyle.settings.fields import has_flag
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.recipe import STYLE_LOSS_NAMES, Recipe


@functools.cache
def bash_script() -> str:
    return script("bash")


def offered(line: str) -> set[str]:
    """Returns what bash offers for the last word of a command line."""
    words = line.split(" ")
    code = (
        f'{bash_script()}\nCOMP_WORDS=("$@")\nCOMP_CWORD=$(($# - 1))\n'
        "_shtab_jaxstyle\nprintf '%s\\n' \"${COMPREPLY[@]}\""
    )
    found = subprocess.run(
        ["bash", "--norc", "-c", code, "bash", *words], capture_output=True, text=True, check=True
    )
    return {each.strip() for each in found.stdout.splitlines() if each.strip()}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("jaxstyle --color", {"--colors", "--color-match"}),
        ("jaxstyle --style-loss gr", {name for name in STYLE_LOSS_NAMES if name[:2] == "gr"}),
        ("jaxstyle --content a.jpg --preset book-", {"book-fast", "book-mxnet"}),
        ("jaxstyle --beta2 ", {"constant", "0.99", "increasing"}),
        ("jaxstyle --sweep tv-", {"tv-weight", "tv-form", "tv-step"}),
        ("jaxstyle --print-completion z", {"zsh"}),
        ("jaxstyle doc", {"doctor"}),
        ("jaxstyle doctor --j", {"--json"}),
    ],
)
def test_bash_offers_flags_and_their_values(line: str, words: set[str]) -> None:
    assert offered(line) == words


def test_bash_offers_files_after_flags_of_paths(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").touch()
    assert offered("jaxstyle --style photo.jpg ph") == {"photo.jpg"}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_is_told_of_every_setting(shell: str) -> None:
    text = script(shell)
    fields = dataclasses.fields(Recipe) + dataclasses.fields(Hyperparams)
    names = [each.name.replace("_", "-") for each in fields if has_flag(each)]
    assert [name for name in [*names, "doctor", "sweep-file"] if name not in text] == []


def test_the_script_is_printed(capsysbinary) -> None:
    assert main.main(["--print-completion", "bash"]) == 0
    assert capsysbinary.readouterr().out.decode().rstrip("\n") == script("bash").rstrip("\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "takes one of bash, zsh, fish, tcsh, powershell and stands alone, got nothing"),
        (["bahs"], "got 'bahs'; did you mean bash?"),
        (["bash", "--quiet"], "got 'bash --quiet'"),
    ],
)
def test_other_words_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_shell(words)
    assert message in str(caught.value)


def test_it_stands_alone(capsys) -> None:
    assert main.main(["--quiet", "--print-completion", "bash"]) == 2
    assert "--print-completion stands alone" in capsys.readouterr().err
