"""README and docs/ as the tests read them: files that a page shows, and commands that it tells a reader to type."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files_of(page: Path) -> dict[str, str]:
    """Content of each file a page shows: a paragraph ends in `its/path`, perhaps with more behind it, and a colon."""
    text = page.read_text()
    shown = re.findall(r"`([\w/]+\.(?:py|yaml))`[^`\n]*:\n\n```(?:python|yaml)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return dict(shown)


def commands_of(page: Path) -> list[str]:
    """Every line of a page's shell blocks, continued ones as one, and every `python src/...` within its text."""
    text = page.read_text()
    blocks = [body for language, body in BLOCK.findall(text) if language in ("", "sh", "bash")]
    prose = BLOCK.sub("", text)
    lines = [line.strip() for body in blocks for line in re.sub(r"\\\n\s*", "", body).splitlines()]
    return [line for line in lines if line and not line.startswith("#")] + [
        " ".join(command.split()) for command in re.findall(r"`(python src/[^`]+)`", prose)
    ]
