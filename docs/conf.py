"""The documentation's configuration; `sphinx-build -W docs docs/_build` builds it, warnings are errors."""

from __future__ import annotations

import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

sys.path.insert(0, str(Path(__file__).parents[1]))  # the checkout's memgan, installed or not

import memgan

project = "memgan"
author = "the memgan authors"
project_copyright = "the memgan authors. MIT licence"
release = version = memgan.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
smartquotes = False  # `--resume` must be found as it is typed

# Types stand in the signatures; nothing is fetched from other projects' sites, so the build works offline.
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"exclude-members": "__init__, __new__"}
napoleon_use_rtype = False
napoleon_custom_sections = ["Source"]
add_module_names = False

html_math_renderer = "mathml"  # browsers draw it themselves: MathJax would be fetched from another site
html_theme = "furo"
html_title = "memgan"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#c2410c", "color-brand-content": "#c2410c"},
    "dark_css_variables": {"color-brand-primary": "#ff8d57", "color-brand-content": "#ff8d57"},
}


def inline_equation(writer: HTML5Translator, node: nodes.Element) -> None:
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block_equation(writer: HTML5Translator, node: nodes.Element) -> None:
    writer.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def dashes(app: Sphinx, doctree: nodes.document) -> None:
    """Parameters are told as "name: what it is"; smartquotes, which are off, would make the "--" a dash."""
    for text in list(doctree.findall(nodes.Text)):
        if text.startswith(" -- "):
            text.parent.replace(text, nodes.Text(f": {text[4:]}"))


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (inline_equation, None), (block_equation, None))
    app.connect("doctree-read", dashes)
