"""Numbers into a page: its words stay, what stands between two marks is made from stored results."""

from __future__ import annotations

from pathlib import Path

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.files import write_atomically


def fill(page: Path, name: str, text: str) -> None:
    """Put ``text`` between the page's marks ``<!-- name -->`` and ``<!-- end name -->``.

    Raises:
        DataError: the page lacks a mark.
    """
    old = page.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    if old.count(start) != 1 or old.count(end) != 1:
        raise DataError(f"{page} must hold the marks {start} and {end} once each")
    before, _, rest = old.partition(start)
    after = rest.partition(end)[2]
    with write_atomically(page) as temporary:
        temporary.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def markdown(head: list[str], body: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
