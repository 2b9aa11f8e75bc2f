"""Settings of the guide: `make docs` builds it into build/docs, and every warning is an error."""

import builtins
import inspect
from importlib import metadata
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

project = "preftune"
author = "The preftune authors"
release = metadata.version("preftune")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "preftune"
exclude_patterns = ["*.head.md"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
nitpicky = False  # types of other packages have no page here


def _as_called(_app: Sphinx, _what: str, name: str, method: Any, *_: object) -> tuple[str, str] | None:
    """Return arguments and result of a resource's method as a call has them: it is bound by a table, without a self."""
    if not name.startswith("preftune.client.tables.F") or not callable(method) or inspect.isclass(method):
        return None
    signature = inspect.signature(method)
    return stringify_signature(signature, show_return_annotation=False), str(signature.return_annotation)


def _leave_builtins(_app: Sphinx, document: nodes.document) -> None:
    """Leave `bytes` in a signature without a link: Sphinx would also find every attribute of that name."""
    for reference in list(document.findall(addnodes.pending_xref)):
        if reference.get("refdomain") == "py" and hasattr(builtins, reference["reftarget"]):
            reference.replace_self(reference.children)


def setup(app: Sphinx) -> None:
    """Have Sphinx ask for signatures and for references."""
    app.connect("autodoc-process-signature", _as_called)
    app.connect("doctree-read", _leave_builtins)
