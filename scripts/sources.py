"""What the style checks share: which files are ours, and C code without its comments and strings."""
import pathlib
import re

# Folders at the top that hold no source: builds, output of runs, version control.
NOT_OURS = re.compile(r"build.*|out|runs|\..*")

COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def files(root, suffixes):
    """Our files with one of these suffixes (or whole names), sorted, as (path, name from the root)."""
    found = []
    for top in sorted(pathlib.Path(root).iterdir()):
        if NOT_OURS.fullmatch(top.name) and top.name != ".ci":
            continue
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and (path.suffix in suffixes or path.name in suffixes):
                found.append((path, path.relative_to(root).as_posix()))
    return found


def code(text):
    """The text with comments and the contents of strings blanked; every line keeps its number."""
    def blank(match):
        found = match[0]
        quote = found[0] if found[0] in "\"'" else ""
        inner = found[1:-1] if quote else found
        return quote + re.sub(r"[^\n]", " ", inner) + quote
    return COMMENT_OR_STRING.sub(blank, text)


def is_below(name, places):
    """Is the file one of these places, or in one of these folders (written with a slash at the end)?"""
    return any(name == place or place.endswith("/") and name.startswith(place) for place in places)


def report(complaints):
    """Print (file, line, text) triples as editors like them; the exit status."""
    for name, number, text in complaints:
        print(f"{name}:{number}: {text}")
    return 1 if complaints else 0
