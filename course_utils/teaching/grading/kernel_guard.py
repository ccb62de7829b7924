"""Lives in a submission's kernel from before its first cell, and puts back what its tests rely on.

Before each test, names that were redefined, hooks that were set and functions of the course that were
changed by the cells before it are put back or named. All of this runs beside the student's code, which
can reach it: it keeps honest mistakes and simple tricks from changing marks, not a determined attack.
"""

import builtins
import functools
import importlib
import inspect
import os
import sys
import types

SHELLS_OWN = ("get_ipython", "display", "exit", "quit", "open")
# What a course's module may have besides functions and classes.
CALLABLE = (functools._lru_cache_wrapper, types.BuiltinFunctionType, types.GenericAlias)

# Before each test this text is run anew; what was remembered before the first cell is in the first guard.
_first = sys.modules["_guard"] if __name__ == "_guard again" else None
_builtins = dict(vars(builtins)) if _first is None else _first._builtins
_remembered: list[tuple[object, type, dict, dict]] = [] if _first is None else _first._remembered
_methods: dict[tuple[type, str], object] = {} if _first is None else _first._methods
_compiled: dict[str, types.CodeType] = {}


def remember(shell) -> None:
    """Keep the methods of IPython and its kernel, so that they can be put back before a test."""
    for thing in (shell, getattr(shell, "kernel", None), shell.compile, shell.input_transformer_manager):
        for kind in type(thing).__mro__:
            if kind.__module__.split(".")[0] in ("IPython", "ipykernel"):
                for key, value in vars(kind).items():
                    if isinstance(value, types.FunctionType):
                        _methods[kind, key] = value
        if thing is not None:
            handlers = dict(getattr(thing, "shell_handlers", {}))
            _remembered.append((thing, type(thing), dict(vars(thing)), handlers))


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
    _put_back_methods()
    shell.ast_transformers[:] = []
    shell.input_transformers_post[:] = []
    shell.input_transformer_manager = type(shell.input_transformer_manager)()
    shell.custom_exceptions = ()
    sys.settrace(None)
    sys.setprofile(None)
    for module, name, alias in imports:
        shell.user_ns[alias] = getattr(importlib.import_module(module), name)
    return changed_functions(package)


def _put_back_methods() -> None:
    for (kind, name), method in _methods.items():
        if vars(kind).get(name) is not method:
            setattr(kind, name, method)
    names = {name for _, name in _methods}
    for thing, kind, own, handlers in _remembered:
        if type(thing) is not kind:
            thing.__class__ = kind
        for name in names & set(vars(thing)):  # what hides a method
            if name not in own:
                del vars(thing)[name]
            elif vars(thing)[name] is not own[name]:
                vars(thing)[name] = own[name]
        if handlers:
            thing.shell_handlers.clear()
            thing.shell_handlers.update(handlers)


def changed_functions(package: str) -> list[str]:
    """Return the functions of the loaded modules of the course that are not what their files say.

    Args:
        package: The folder of course_utils.
    """
    changed = []
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] != "course_utils" or name in ("course_utils.__main__", "course_utils"):
            continue
        parent, _, last = name.rpartition(".")
        if type(module) is not types.ModuleType or getattr(sys.modules[parent], last, None) is not module:
            changed.append(name)
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
    """Return what can be called in a module, and neither the course nor an installed library has written."""
    places = (package, sys.prefix, sys.base_prefix, os.path.dirname(os.__file__))
    places = tuple(os.path.join(os.path.realpath(place), "") for place in places)
    elsewhere = set()
    for name, thing in list(found.items()):
        known = isinstance(thing, (type, types.FunctionType, *CALLABLE)) or type(thing).__module__ == "typing"
        if (callable(thing) and not known) or getattr(thing, "__module__", "") == "__main__":
            elsewhere.add(name)  # an object, or a class of a cell, that passes for a function
        while isinstance(thing, (types.FunctionType, CALLABLE[0])):  # what decorators wrap is looked at, too
            code = getattr(thing, "__code__", None)
            if code and not os.path.realpath(code.co_filename).startswith(places):
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
        if not code.co_flags & inspect.CO_NEWLOCALS:  # the body of a class
            if isinstance(thing, type):
                different |= {f"{code.co_name}.{name}" for name in _differences(vars(thing), code)}
            else:
                different.add(code.co_name)
            continue
        thing = getattr(thing, "__func__", None) or getattr(thing, "fget", None) or thing
        while isinstance(thing, (types.FunctionType, CALLABLE[0])) and hasattr(thing, "__wrapped__"):
            thing = thing.__wrapped__
        if not isinstance(thing, types.FunctionType) or thing.__code__ != code:
            different.add(code.co_name)
    return different
