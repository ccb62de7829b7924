"""Find submissions that a teacher should look at, because their cells touch the code that marks them.

A test and the answer that it tests run in one Python process, so a skilled student can forge marks. That
takes words that no exercise needs, and this module searches for them. It executes nothing and proves nothing.
"""

import re

from nbformat import NotebookNode

READABLE = 20_000  # characters; a longer cell is listed for its length
# Suspicious anywhere: words of Python, of IPython, of the checks and of mocks.
WORDS = """
    __array_function__ __builtins__ __class__ __closure__ __code__ __defaults__ __delattr__ __eq__ __globals__
    __import__ __instancecheck__ __kwdefaults__ __main__ __ne__ __setattr__ __subclasscheck__ __subclasses__
    __torch_function__ __wrapped__ _current_frames _getframe builtins cell_contents course_teaching ctypes
    currentframe f_back f_builtins f_globals f_locals gc get_objects get_referrers getinnerframes
    getouterframes getsource getsourcelines gi_frame import_module ipykernel ipynb linecache meta_path
    path_hooks setprofile settrace tb_frame zmq

    _ih ast_node_interactivity ast_transformers custom_exceptions do_execute execute_request get_ipython
    history_manager input_transformer_manager input_transformers_cleanup input_transformers_post
    run_ast_nodes run_cell run_cell_async run_code set_custom_exc shell_handlers showsyntaxerror
    showtraceback transform_ast transform_cell user_expressions user_global_ns user_ns

    AsyncMock MagicMock Mock MonkeyPatch PropertyMock Verdict create_autospec monkeypatch
"""
OURS = r"(?<![\w.])(?:check|F|math|nn|np|torch|torchvision)"
# Suspicious in context: code in a string, the history, modules, and changes to functions of other packages.
PATTERNS = (
    r"(?<![\w.])(?:compile|eval|exec|globals)(?=\()",
    r"(?<![\w.])(?:In\[|_ii?i?\b(?= *[\[.]))",
    r"\bsys\.modules|\bfrom sys import\b.*|\bIPython\.(?:core|terminal)|\binspect\.(?:stack|trace)",
    r"\bunittest\b|\bchecks?\.verdict\b",
    rf"{OURS}(?:\.\w+)+(?= *=[^=])(?! *= *(?:True|False|None|[\d'\"]))",
    rf"(?:setattr|delattr|vars)\( *{OURS}\b",
    rf"{OURS}\.(?:__dict__|(?:\w+\.)+right\b)",
    r"\bcourse_utils\.checks\.\w+\.",
)
SUSPICIOUS = re.compile("|".join([rf"\b(?:{'|'.join(WORDS.split())})\b", *PATTERNS]), re.MULTILINE)
COMMENT = re.compile(r"^[ \t]*#.*", re.MULTILINE)


def cells_to_review(notebook: NotebookNode) -> dict[int, list[str]]:
    """Return the suspicious words of the cells that a student wrote, by the cells' numbers from 1."""
    found = {}
    for number, cell in enumerate(notebook.cells, 1):
        nbgrader = cell.metadata.get("nbgrader")
        if cell.cell_type == "code" and (nbgrader is None or nbgrader.get("solution")):
            # The lessons read their settings like this.
            source = cell.source.replace("settings_from_notebook(globals())", "")
            words = {match[0].strip() for match in SUSPICIOUS.finditer(COMMENT.sub("", source[:READABLE]))}
            words |= {f"{len(source)} characters"} if len(source) > READABLE else set()
            found |= {number: sorted(words)} if words else {}
    return found
