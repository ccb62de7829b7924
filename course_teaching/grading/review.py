"""Submissions that a person should look at, because their cells touch what gives them their marks.

A test and the answer that it tests run in one Python, so that marks can be forged by whoever knows how.
What it takes - the checks, IPython's internals, `sys.modules`, `gc`, frames, mocks - is nothing that an
exercise asks for. Its words are looked for here; nothing is executed, and nothing is proved.
"""

import ast
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from course_utils import checks

# Characters of a cell, and of all cells that a student wrote; what is beyond them is named for its length.
READABLE, ALL_READABLE = 20_000, 200_000
# Lines of all these cells that IPython may rewrite, such as %time; after each, it reads the whole cell again.
ALL_MAGICS = 50
MAGIC = re.compile(r"\s*[%!?,;/]|.*(?:=\s*[%!]|\?\s*$)")
WORD = re.compile(r"[\w.]+")
# Names, with what they belong to, that no answer needs.
MODULES = WORD.findall(
    """
    IPython.core IPython.terminal IPython.utils __main__ builtins course_utils.checks
    course_teaching
    ctypes gc importlib.import_module inspect.currentframe
    inspect.getinnerframes inspect.getouterframes inspect.getsource inspect.getsourcelines inspect.stack
    inspect.trace inspect.unwrap ipykernel linecache mock sys.meta_path sys.modules sys.monitoring
    sys.path_hooks sys.setprofile sys.settrace unittest.mock zmq
    """
)
# Names that tell enough, whatever they belong to: of Python, of IPython, of the checks and of mocks.
WORDS = set(
    WORD.findall(
        """
        __builtins__ __closure__ __code__ __defaults__ __delattr__ __globals__ __kwdefaults__ __setattr__
        __subclasses__ __wrapped__ _current_frames _getframe cell_contents f_back f_builtins f_globals
        f_locals get_objects get_referrers gi_frame tb_frame

        _ih ast_node_interactivity ast_transformers custom_exceptions do_execute execute_request get_ipython
        history_manager input_transformer_manager input_transformers_cleanup input_transformers_post
        run_ast_nodes run_cell run_cell_async run_code set_custom_exc shell_handlers showsyntaxerror
        showtraceback transform_ast transform_cell user_expressions user_global_ns user_ns

        AsyncMock MagicMock Mock MonkeyPatch PropertyMock Verdict create_autospec monkeypatch
        """
    )
)
# These only where they stand alone: `model.eval()` and `torch.compile` are harmless.
BARE_NAMES = {"In", "__import__", "_i", "_ii", "_iii", "compile", "eval", "exec", "globals"}
# Methods that let an object pass for another one.
DISGUISES = {"__bool__", "__class__", "__eq__", "__instancecheck__", "__ne__", "__subclasscheck__"}
DISGUISES |= {"__array_function__", "__array_ufunc__", "__torch_function__"}
HISTORY = {"In", "_i", "_ii", "_iii"}
# Some modules have the name of their check, which the front door gives.
CHECK_MODULES = {path.stem for path in Path(checks.__file__).parent.glob("*.py")} - set(checks.__all__)
# What IPython makes of %matplotlib, and of a question mark.
MAGICS = re.compile(
    r"get_ipython\(\)\.(run_line_magic|magic)\(['\"](matplotlib|config|time|timeit|pip|pinfo2?)\b"
)
DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def cells_to_review(notebook: NotebookNode) -> dict[int, list[str]]:
    """Return for each cell that a student wrote, and that touches what marks rest on, the words that do.

    The cells' numbers in the notebook are from 1, and the words sorted; empty for nearly all.
    """
    trees, own, words, left, magics = [], {}, {}, ALL_READABLE, ALL_MAGICS
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "code":
            continue
        nbgrader = cell.metadata.get("nbgrader")
        is_own, length = nbgrader is None or bool(nbgrader.get("solution")), len(cell.source)
        if is_own and length > min(READABLE, left):
            words[number] = {f"{length} characters"}
            continue
        lines = sum(bool(MAGIC.match(line)) for line in cell.source.splitlines()) if is_own else 0
        left, magics = left - length * is_own, magics - lines
        if lines and magics < 0:
            words[number] = {f"more than {ALL_MAGICS} magics"}
        elif (tree := _parse(cell.source)) is not None:
            trees.append(tree)
            own |= {number: tree} if is_own else {}
    imported = _imported(trees)
    words |= {number: _words(tree, imported) for number, tree in own.items()}
    return {number: sorted(words[number]) for number in sorted(words) if words[number]}


def _parse(source: str) -> ast.Module | None:
    """Return a cell's tree; None if it is no Python, and so does not run."""
    source = re.sub(r"^%%.*", "", source.lstrip())  # the rest of the cell is Python, for %%time
    # The lessons read their settings so.
    source = source.replace("settings_from_notebook(globals())", "settings_from_notebook()")
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(MAGICS.sub("print('", TransformerManager().transform_cell(source)))
    except (SyntaxError, ValueError, RuntimeError, MemoryError):  # the last two if it is nested too deeply
        return None


def _imported(trees: Iterable[ast.Module]) -> dict[str, str]:
    """Return what imported names stand for: `np` for numpy, `check` for course_utils.checks."""
    imported = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                imported[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return imported


def _words(tree: ast.Module, imported: Mapping[str, str]) -> set[str]:
    nodes = list(ast.walk(tree))  # no NodeVisitor, which goes as deep as an expression is nested
    arguments = {node.arg for node in nodes if isinstance(node, ast.arg)}
    imported = {name: full for name, full in imported.items() if name not in arguments}
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)} | arguments
    # Parts of a longer name, which is looked at once, as a whole.
    parts = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    # A setting, such as torch.backends.cudnn.benchmark = True, is a plain value.
    assigned = [node for node in nodes if isinstance(node, ast.Assign | ast.AnnAssign)]
    assigned = [node for node in assigned if isinstance(node.value, ast.Constant)]
    plain = {id(target) for node in assigned for target in getattr(node, "targets", None) or [node.target]}
    found = set()
    for node in nodes:
        match node:
            case ast.Import() | ast.ImportFrom():
                module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
                names = {module + alias.name for alias in node.names} - {"course_utils.checks"}
                found |= {word for name in names for word in _touched(name)}
            case ast.Name(ctx=ast.Load()) | ast.Attribute() if id(node) not in parts:
                name, is_imported = _full_name(node, imported)
                # The name of a module counts if it was imported: `mock` may be anything.
                found |= _touched(name) if is_imported else set(name.split(".")) & WORDS
                if isinstance(node, ast.Name):
                    found |= {node.id} & BARE_NAMES - (stored & HISTORY)
                elif not isinstance(node.ctx, ast.Load):
                    found |= {node.attr} & DISGUISES
                    if (is_imported and id(node) not in plain) or name.startswith("course_utils."):
                        found.add(name)
                elif is_imported and "__dict__" in name.split("."):
                    found.add(name)
            case ast.Name(ctx=ast.Store()):
                found |= {node.id} & DISGUISES
            case ast.Constant(value=str(text)):
                if DOTTED.fullmatch(text):
                    found |= (_touched(text) if "." in text else {text} & WORDS) | {text} & DISGUISES
                if text.strip().endswith(".ipynb"):
                    found.add(".ipynb")
            case ast.FunctionDef():
                found |= {node.name} & DISGUISES
            case ast.Call(func=ast.Name(id="setattr" | "delattr" | "vars" as function), args=[first, *_]):
                name, is_imported = _full_name(first, imported)
                if is_imported:
                    found.add(f"{function}({name})")
    return found


def _full_name(node: ast.AST, imported: Mapping[str, str]) -> tuple[str, bool]:
    """Return the full name of an attribute, and whether it was imported.

    nn.Linear is torch.nn.Linear; of `f().x` it is `.x`.
    """
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    root = node.id if isinstance(node, ast.Name) else ""
    return ".".join([imported.get(root, root), *reversed(parts)]), root in imported


def _touched(name: str) -> set[str]:
    """Return which of the words a full name has in it."""
    words = set(name.split(".")) & WORDS
    words |= {module for module in MODULES if f"{name}.".startswith(f"{module}.")}
    check = name.removeprefix("course_utils.checks.")
    # A check that is called, or asked for help, is what it is there for.
    if check != name and check not in CHECK_MODULES and re.fullmatch(r"[a-z]\w*", check):
        words.discard("course_utils.checks")
    return words
