"""How the documentation is built: ``nox -s docs``."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "span_trio"
author = "The span_trio authors"
project_copyright = author
version = release = installed_version("span-trio")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_click",
    "sphinxcontrib_trio",
    "from_the_code",  # _ext/from_the_code.py
]
exclude_patterns = ["_build"]

# What no link can be found for is an error (with -W). Names of other projects are no
# links: a build needs no network.
nitpicky = True
nitpick_ignore_regex = [
    ("py:(class|obj)", r"collections\.abc\.(Async)?(Generator|Iterable|Iterator)"),
    ("py:(class|obj)", r"collections\.abc\.(Awaitable|Callable|Collection)"),
    ("py:(class|obj)", r"collections\.abc\.(Mapping|Sequence)"),
    ("py:(class|obj)", r"collections\.(Counter|deque)"),
    ("py:(class|obj)", r"datetime\.(datetime|timedelta)"),
    ("py:(class|obj)", r"os\.PathLike"),
    ("py:(class|obj)", r"ssl\.SSLContext"),
    ("py:(class|obj)", r"trio\.Nursery"),
    ("py:(class|obj)", r"types\.EllipsisType"),
    ("py:(class|obj)", r"trio\.abc\.Stream"),
    ("py:class", r"span_trio\.(broadcast\.[VE]|frozenmap\.(K|V_co))"),  # type variables
]

# Docstrings are plain prose with Google's sections; what stands in single backticks is
# a name.
default_role = "py:obj"
autodoc_use_legacy_class_based = True  # what sphinxcontrib-trio extends
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {
    "Audit": "~span_trio.auditor.Audit",
    "Authorise": "~span_trio.commands.Authorise",
    "Demand": "~span_trio.homie.Demand",
    "Dialer": "~span_trio.link.Dialer",
    "Fallback": "~span_trio.homie.Fallback",
    "Format": "~span_trio.homie.Format",
    "Value": "~span_trio.homie.Value",
}
python_display_short_literal_types = True
python_maximum_signature_line_length = 100

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
highlight_language = "text"

html_theme = "furo"
html_title = "span_trio"
html_show_sourcelink = False
html_copy_source = False
