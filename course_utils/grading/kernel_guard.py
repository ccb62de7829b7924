"""Lives in a submission's kernel from before its first cell, and puts back what its tests rely on.

Before each test, names that were redefined, hooks that were set and functions of the course that were
changed by the cells before it are put back or named. All of this runs beside the student's code, which
can reach it: it keeps honest mistakes and simple tricks from changing marks, not a determined attack.
"""

import builtins
import importlib
import inspect
import os
import sys
import types

PATCHED = ("run_cell", "run_cell_async", "run_code", "run_ast_nodes", "showtraceback", "showsyntaxerror")
SHELLS_OWN = ("get_ipython", "display", "exit", "quit", "open")

_builtins = dict(vars(builtins))
_methods: dict[tuple[type, str], object] = {}
_compiled: dict[str, types.CodeType] = {}


def remember(shell) -> None:
    """Keep the methods of IPython that a test needs, so that they can be put back."""
    for kind in type(shell).__mro__:
        for name in PATCHED:
            if name in vars(kind):
                _methods[kind, name] = vars(kind)[name]


def block_sockets() -> None:
    """Refuse connections in this process, where the network cannot be taken away from it.

    Whoever wants to undo this can.
    """
    import socket

    def refuse(self, address, *arguments):
        if self.family == getattr(socket, "AF_UNIX", None) or address[0] in ("127.0.0.1", "::1", "localhost"):
            return connect(self, address)
        raise OSError(101, "Network is unreachable: submissions run without one")

    def refuse_to_look_up(host, *arguments, **options):
        raise socket.gaierror(-2, "Name or service not known: submissions run without a network")

    connect = socket.socket.connect
    socket.socket.connect = refuse
    socket.getaddrinfo = refuse_to_look_up


def restore(shell, package: str, imports: list[list[str]]) -> list[str]:
    """Put back what a test relies on.

    Args:
        shell: IPython's own.
        package: The folder of course_utils.
        imports: For each name to bind again: a module, the name in it and what the notebook calls it.

    Returns:
        The functions of the course that were changed, for example course_utils.checks.head.
    """
    vars(builtins).update({name: value for name, value in _builtins.items() if name != "_"})
    for name in set(shell.user_ns) & set(_builtins) - set(SHELLS_OWN):
        if callable(shell.user_ns[name]) and shell.user_ns[name] is not _builtins[name]:
            del shell.user_ns[name]
    for (kind, name), method in _methods.items():
        if vars(kind).get(name) is not method:
            setattr(kind, name, method)
        vars(shell).pop(name, None)
    shell.ast_transformers[:] = []
    shell.input_transformers_post[:] = []
    shell.input_transformer_manager = type(shell.input_transformer_manager)()
    shell.custom_exceptions = ()
    sys.settrace(None)
    sys.setprofile(None)
    for module, name, alias in imports:
        shell.user_ns[alias] = getattr(importlib.import_module(module), name)
    return changed_functions(package)


def changed_functions(package: str) -> list[str]:
    """Return the functions of the loaded modules of the course that are not what their files say.

    Args:
        package: The folder of course_utils.
    """
    changed = []
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] != "course_utils" or name in ("course_utils.__main__", "course_utils"):
            continue
        path = os.path.join(os.path.dirname(package), *name.split("."))
        path = os.path.join(path, "__init__.py") if os.path.isdir(path) else path + ".py"
        try:
            if path not in _compiled:
                with open(path, encoding="utf-8") as file:
                    _compiled[path] = compile(file.read(), path, "exec", dont_inherit=True)
        except OSError:
            changed.append(name)
            continue
        different = _differences(vars(module), _compiled[path]) | _from_elsewhere(vars(module), package)
        changed += [f"{name}.{function}" for function in sorted(different)]
    return changed


def _from_elsewhere(found: dict, package: str) -> set[str]:
    """Return the functions of a module that neither the course nor an installed library has written."""
    places = (package, sys.prefix, sys.base_prefix, os.path.dirname(os.__file__))
    places = tuple(os.path.join(os.path.realpath(place), "") for place in places)
    elsewhere = set()
    for name, thing in list(found.items()):
        while isinstance(thing, types.FunctionType):  # what decorators wrap is looked at, too
            if not os.path.realpath(thing.__code__.co_filename).startswith(places):
                elsewhere.add(name)
            thing = getattr(thing, "__wrapped__", None)
    return elsewhere


def _differences(found: dict, written: types.CodeType) -> set[str]:
    """Return the functions, and methods of classes, whose code is not what the file says."""
    different = set()
    for code in written.co_consts:
        if not isinstance(code, types.CodeType) or code.co_name.startswith("<"):
            continue
        thing = found.get(code.co_name)
        if isinstance(thing, type) and not code.co_flags & inspect.CO_NEWLOCALS:
            different |= {f"{code.co_name}.{name}" for name in _differences(vars(thing), code)}
            continue
        thing = getattr(thing, "__func__", None) or getattr(thing, "fget", None) or thing
        thing = inspect.unwrap(thing) if callable(thing) else thing
        if isinstance(thing, types.FunctionType) and thing.__code__ == code:
            continue
        if thing is None or isinstance(thing, (types.FunctionType, types.BuiltinFunctionType)):
            different.add(code.co_name)
    return different
