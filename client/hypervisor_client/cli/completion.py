"""Completion for bash, zsh and fish, from the parser itself."""

from __future__ import annotations

import argparse
from argparse import Namespace

from hypervisor_client.cli.parser import build
from hypervisor_client.cli.session import Session


def script(session: Session, given: Namespace) -> None:
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[given.shell]())


def _commands() -> dict[str, tuple[str, list[str]]]:
    """Return each command with its help, its options and its fixed arguments."""
    parser = build()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    return {name: (helps[name], _words(sub)) for name, sub in commands.choices.items()}


def _words(parser: argparse.ArgumentParser) -> list[str]:
    words = ["--json", "--context"]
    for action in parser._actions:
        if action.help is not argparse.SUPPRESS:
            words += [o for o in action.option_strings if o.startswith("--")]
        if not action.option_strings:
            words += map(str, action.choices or ())
    return words


def _bash() -> str:
    cases = "\n".join(
        f"        {name}) words='{' '.join(words)}' ;;" for name, (_, words) in _commands().items()
    )
    names = " ".join(_commands())
    return f"""\
_hv() {{
    local word words= command=
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        [[ "$word" == -* ]] || {{ command=$word; break; }}
    done
    case "$command" in
        '') words='{names} --json --context --version --help' ;;
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _hv hv"""


def _zsh() -> str:
    return f"autoload -U +X bashcompinit && bashcompinit\n{_bash()}"


def _fish() -> str:
    lines = ["complete -c hv -f"]
    for name, (text, words) in _commands().items():
        quoted = text.replace("'", "\\'")
        lines.append(f"complete -c hv -n __fish_use_subcommand -a {name} -d '{quoted}'")
        on = f"complete -c hv -n '__fish_seen_subcommand_from {name}'"
        lines += [
            f"{on} -l {word[2:]}" if word.startswith("--") else f"{on} -a {word}" for word in words
        ]
    return "\n".join(lines)
