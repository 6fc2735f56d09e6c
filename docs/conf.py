"""The documentation's configuration; `sphinx-build -W docs docs/_build` builds it, warnings are errors."""

from __future__ import annotations

import sys
from pathlib import Path

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

html_theme = "furo"
html_title = "memgan"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#c2410c", "color-brand-content": "#c2410c"},
    "dark_css_variables": {"color-brand-primary": "#ff8d57", "color-brand-content": "#ff8d57"},
}
