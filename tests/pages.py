"""README, docs/ and results/ as the tests read them: files that a page shows, and commands that it tells a reader to type."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for name in ("docs", "results") for path in (ROOT / name).glob("*.md")),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HERE_DOCUMENT = re.compile(r" <<'(\w+)'(.*?)^\1$", re.MULTILINE | re.DOTALL)


def files_of(page: Path) -> dict[str, str]:
    """Content of each file a page shows; the line before it has `its/path`, perhaps more words, and ends in a colon."""
    text = page.read_text()
    shown = re.findall(r"`([\w/]+\.(?:py|yaml))`[^`\n]*:\n\n```(?:python|yaml)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return dict(shown)


def write_files_of(page: Path, folder: Path) -> None:
    for name, text in files_of(page).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def commands_of(page: Path) -> list[str]:
    """Every command of a page's shell blocks, with its variables put in, and every `python src/...` within its text."""
    text = page.read_text()
    commands = [
        command
        for language, body in BLOCK.findall(text)
        if language in ("", "sh", "bash")
        for command in _commands(HERE_DOCUMENT.sub("", body))
    ]
    return commands + [" ".join(found.split()) for found in re.findall(r"`(python src/[^`]+)`", BLOCK.sub("", text))]


def _commands(block: str) -> list[str]:
    commands, variables, begun = [], {}, ""
    for line in re.sub(r"\\\n\s*", "", block).splitlines():
        begun = f"{begun}\n{line}" if begun else line
        try:
            words = shlex.split(begun, comments=True)
        except ValueError:  # a quotation goes on in the next line
            continue
        if len(words) == 1 and re.fullmatch(r"\w+=.*", words[0], re.DOTALL):
            name, _, value = words[0].partition("=")
            variables[name] = " ".join(value.split())
        elif words:
            for name, value in variables.items():
                begun = begun.replace(f"${name}", value)
            commands.append(re.sub(r"\s+# .*$", "", begun).strip())
        begun = ""
    assert not begun, f"a quotation without an end: {begun}"
    return commands
