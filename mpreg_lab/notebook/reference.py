"""docs/magics.md: every magic with its arguments, made from what the magics read themselves."""

from __future__ import annotations

from collections.abc import Iterator

from .commands import COMMANDS
from .fault_lines import FAULTS
from .magics import FUNCTIONS, WORKFLOW
from .options import Argument, Syntax
from .settings import NONE, SETTINGS, Settings

__all__ = ["reference"]

_TOP = """# Magics

`%load_ext mpreg_lab` gives a notebook three magics, and no names: what they bind is said on their lines.
This page is made from the code by `python scripts/magics.py --write`; a test compares the two.

```python
%load_ext mpreg_lab
%mpreg start ingest=csv work=gpu
```
```python
%%mpreg_functions
def words(text): return text.split()
def count(rows): return len(rows)
```
```python
%%mpreg_workflow -o run
rows  = words("to be or not to be")  @ "csv"
total = count(rows)                  @ "gpu"
```

Nothing is imported here. `%mpreg start` binds the variable `cluster` (`--as lab` another), so that
`@cluster.function`, `cluster.run(...)` and all the rest of Python are there as well.

`--help` behind any of them tells all about it, as does `%%mpreg_workflow?`.

## Tab and Shift-Tab

In a `%%mpreg_workflow` cell Tab completes

| where | with what |
| --- | --- |
| `rows = pa` | functions of the cluster, whoever registered them |
| `rows = parse(` | parameters that can be given by name, other steps of the cell, variables of the notebook |
| `@ gp`, `@ "gp` | resources |
| <code>&#124; re</code>, <code>&#124; retry(3, </code>, <code>&#124; on(</code> | options, `backoff=`, nodes |
| the last line | steps |

and, on the lines of all magics, options, clusters, nodes, commands, faults and settings. In other strings and in
comments it offers nothing.

Shift-Tab on a function shows its signature, its docstring, who has it and what they hold, whether or not the notebook
ever saw its code; on `retry`, `timeout`, `wait_for` and `on` what they do.

## A cell that is run again

| you run again | |
| --- | --- |
| `%mpreg start 3` | the cluster of the same name is stopped, and a line says so; its functions go with it |
| `cluster = LocalCluster(3)` | the cluster that `cluster` held is stopped, unless something else of yours holds it |
| `LocalCluster(3, name="lab")` | the cluster of the same name is stopped |
| `%%mpreg_functions` | the functions are replaced on their nodes |

A kernel that ends takes its clusters with it, those in processes of their own too.

What a notebook has merely shown, `Out[5]` or `_`, does not hold a cluster: if it was that alone, a line says that the
cluster was stopped.
"""

_WHY = """A function that is given to named nodes stays with these; else it goes to every node that holds the resources,
also to nodes that are added later. The magic is called after what is in the cell, not after a node: one cell may give
several functions to several nodes, and most cells name no node at all. All else in the cell is run as well, so imports
and helpers may stand there. Errors have the lines of the cell.
"""


def reference() -> str:
    """The page."""
    return "\n".join(_parts())


def _parts() -> Iterator[str]:
    yield _TOP
    yield from _syntax(WORKFLOW, 2)
    yield "How the lines of the cell are written is told in [notation.md](notation.md).\n"
    yield from _syntax(FUNCTIONS, 2)
    yield _WHY
    yield "## %mpreg\n"
    yield "| command | what it does |"
    yield "| --- | --- |"
    for command in COMMANDS.values():
        usage = command.syntax.usage.removesuffix(" [options]")
        yield f"| [`{_cell(usage)}`](#mpreg-{command.name}) | {_does(command.syntax)} |"
    yield ""
    for name, command in COMMANDS.items():
        yield from _syntax(command.syntax, 3)
        if name == "faults":
            yield from _faults()
        if name == "config":
            yield from _settings()


def _syntax(syntax: Syntax, level: int) -> Iterator[str]:
    yield f"{'#' * level} {syntax.magic}\n"
    yield f"{syntax.does}\n"
    yield f"```\n{syntax.usage}\n```\n"
    yield "| | |"
    yield "| --- | --- |"
    for argument in (*syntax.positionals, *syntax.options):
        yield f"| `{_cell(argument.written)}` | {_cell(_text(argument))} |"
    yield ""
    if syntax.examples:
        yield "| for example | |"
        yield "| --- | --- |"
        for example, what in syntax.examples:
            yield f"| `{_cell(example)}` | {_cell(what)} |"
        yield ""


def _faults() -> Iterator[str]:
    yield "`at SECONDS` before a fault has it happen so much later. What faults do is told in [faults.md](faults.md).\n"
    yield "| fault | what happens |"
    yield "| --- | --- |"
    for fault in FAULTS.values():
        optional = (f"[{option.written}]" for option in fault.syntax.options if option.flags != ("--help",))
        words = " ".join([fault.syntax.usage.removesuffix(" [options]").removeprefix("%mpreg faults "), *optional])
        yield f"| `{_cell(words)}` | {_does(fault.syntax)} |"
    yield ""


def _settings() -> Iterator[str]:
    yield f"`{NONE}` takes the setting away where the table says so.\n"
    yield "| setting | at first | what it is | example |"
    yield "| --- | --- | --- | --- |"
    for key, setting in SETTINGS.items():
        first = getattr(Settings(), key)
        shown = NONE if first is None else f"{first:g}" if isinstance(first, float) else str(first)
        yield f"| `{key}` | {shown} | {_cell(setting.text)} | `%mpreg config {key} {setting.example}` |"
    yield ""


def _does(syntax: Syntax) -> str:
    return _cell(syntax.does.rstrip("."))


def _text(argument: Argument) -> str:
    choices = f": {' or '.join(f'`{choice}`' for choice in argument.choices)}" if argument.choices else ""
    default = f" (default: `{argument.default}`)" if argument.default else ""
    return argument.text + choices + default


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
