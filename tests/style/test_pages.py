#!/usr/bin/env python3
"""What can be told of the pages without a build: nothing stands there twice, and what they point at
is there.

usage: test_pages.py SOURCE
"""
import collections
import pathlib
import re
import sys
import unittest

SOURCE = pathlib.Path(sys.argv.pop(1)).resolve()
PAGES = [*sorted(SOURCE.glob("*.md")), *sorted(SOURCE.glob("docs/*.md"))]
LONG = 50  # shorter lines may be the same by chance
TESTS = ["integration", "unit", "hostile", "crash", "fault"]

EVENT = re.compile(r'TRIB_(ERROR|WARN|INFO|DEBUG)\(\s*((?:"(?:[^"\\]|\\.)*"|\s|PRI\w+)+)')
WHO = {"coordinator": "coordinator", "client": "device", "common": "either"}


def events():
    """{id: (levels, who says it)} of what the programs log; every id comes first in its line."""
    levels, whos, late = collections.defaultdict(set), collections.defaultdict(set), []
    for folder, who in WHO.items():
        for path in sorted((SOURCE / folder).rglob("*.c")):
            for level, words in EVENT.findall(path.read_text()):
                text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', words))
                found = re.search(r"(?<!\w)id=([a-z-]+)", text)
                if found and found.start():
                    late.append(f"{path}: {text}")
                if found:
                    levels[found[1]].add(level.lower())
                    whos[found[1]].add(who)
    return {name: (sorted(levels[name]), whos[name]) for name in levels}, late


def name_of(page):
    return page.relative_to(SOURCE).as_posix()


def prose(page):
    """The lines that are not examples."""
    return [line for line in page.read_text().splitlines() if not line.startswith("    ")]


def anchors(page):
    """What a link may name behind '#': a heading in small letters, with '-' for each blank."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def keys_of(rows):
    above = ""
    for row in rows:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        above = cells[0] or above
        told = cells[1:-1] if cells[0] else cells[1:]
        yield (above, *told[:2 if len(cells) > 4 else 1])


class PagesTest(unittest.TestCase):
    def test_no_line_stands_twice_in_a_page(self):
        self.assertGreater(len(PAGES), 10)
        for page in PAGES:
            counts = collections.Counter(line for line in prose(page)
                                         if len(line) >= LONG and not set(line) <= set("|-: "))
            with self.subTest(page=name_of(page)):
                self.assertEqual([line for line, count in counts.items() if count > 1], [])

    def test_no_row_stands_twice_in_a_table(self):
        """By its first cells, which say what it is about; an empty one is that of the row above."""
        tables = 0
        for page in PAGES:
            for table in re.findall(r"(?:^\|.*\|\n)+", page.read_text(), re.MULTILINE):
                tables += 1
                with self.subTest(page=name_of(page), table=table[:60]):
                    counts = collections.Counter(keys_of(table.splitlines()))
                    self.assertEqual([key for key, count in counts.items() if count > 1], [])
        self.assertGreater(tables, 30)

    def test_links_lead_somewhere(self):
        links = 0
        for page in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", "\n".join(prose(page))):
                if re.match(r"[a-z]+:", target):
                    continue
                links += 1
                path, _, anchor = target.partition("#")
                other = (page.parent / path).resolve() if path else page
                with self.subTest(page=name_of(page), link=target):
                    self.assertTrue(other.exists())
                    if anchor:
                        self.assertIn(anchor, anchors(other))
        self.assertGreater(links, 50)

    def test_the_events_are_those_of_the_logs(self):
        told, late = events()
        self.assertEqual(late, [], "a log of objects knows an id that comes first")
        page = (SOURCE / "docs/events.md").read_text()
        rows = re.findall(r"^\| `([a-z-]+)` \| ([a-z, ]+) \| ([a-z, ]+) \| .+ \|$", page, re.MULTILINE)
        self.assertEqual([name for name, _, _ in rows], sorted(told))
        for name, levels, who in rows:
            with self.subTest(id=name):
                self.assertEqual(levels.split(", "), told[name][0])
                whos = told[name][1]
                if "either" in whos:  # code that both have: the page knows who uses it
                    self.assertTrue(who == "either" or whos - {"either"} <= set(who.split(", ")))
                else:
                    self.assertEqual(who.split(", "), sorted(whos))

    def test_what_pages_say_is_logged_is(self):
        told, _ = events()
        for page in PAGES:
            for name in re.findall(r"`id=([a-z-]+)[` ]", page.read_text()):
                with self.subTest(page=name_of(page)):
                    self.assertIn(name, told)

    def test_each_code_and_reason_is_explained_once(self):
        """What a label may be: in the tables of docs/operating.md behind the heading about it."""
        text = (SOURCE / "docs/operating.md").read_text()
        text = text[text.index("\n## When something is refused\n"):]
        tables = re.findall(r"^\| (code|reason) \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
        named = [re.findall(r"`(\w+)`", "\n".join(row.split(" | ")[0] for row in rows.splitlines()))
                 for _, rows in tables]
        codes = re.findall(r'= "(\w+)"', (SOURCE / "common/wire/code.c").read_text())
        closed = (SOURCE / "common/wire/channel.c").read_text()
        closed = re.search(r"trib_close_reason_text.*?\n}", closed, re.DOTALL)[0]
        rounds = (SOURCE / "coordinator/round.c").read_text()
        rounds = re.search(r"trib_round_reason_name.*?\n}", rounds, re.DOTALL)[0]
        wanted = [set(codes) - {"NONE", "MODEL_INSTALLED"}, set(re.findall(r'= "(\w+)"', closed)),
                  set(re.findall(r'_\w+: return (?:"(\w+)"|TRIB_ROUND_(\w+));', rounds))]
        wanted[2] = {(name or constant.lower()) for name, constant in wanted[2]} - {"none"}
        self.assertEqual([sorted(names) for names in named], [sorted(names) for names in wanted])

    def test_the_keys_of_the_coordinator_are_all_there(self):
        """Those of tributary.ini, in the order of the code's table, with their defaults."""
        code = (SOURCE / "coordinator/identity.c").read_text()
        words = dict(re.findall(r"#define (\w+) +(\S+)",
                                (SOURCE / "coordinator/identity.h").read_text() + code))
        table = code[code.index("trib_conf_key keys[] = {"):]
        wanted = []
        for section, name, default in re.findall(
                r'{"(\w+)",\s*"(\w+)",\s*TRIB_CONF_\w+,\s*offsetof\([^)]*\),\s*("[^"]*"|\w+(?:\(\w+\))?),',
                table[:table.index("\n};")]):
            default = re.sub(r"AS_TEXT\((\w+)\)", r"\1", default)
            wanted.append((f"{section}.{name}", words.get(default, default).strip('"')))
        self.assertEqual(len(wanted), table[:table.index("\n};")].count("offsetof("))
        text = (SOURCE / "docs/operating.md").read_text()
        text = text[text.index("\n### Configuration\n"):text.index("\n### Roles\n")]
        told = re.findall(r"^\| `(\w+\.\w+)` \| (?:`(.*?)`)? ?\| \S.* \|$", text, re.MULTILINE)
        self.assertEqual(told, wanted)

    def test_the_threat_model_names_tests_that_there_are(self):
        """A short name is that of a test's file; others are paths, below tests/ or tests/hostile/."""
        text = (SOURCE / "docs/threat-model.md").read_text()
        table = text[text.index("| who | tries to |"):]
        rows = table[:table.index("\n\n")].splitlines()[2:]
        self.assertGreater(len(rows), 15)
        for row in rows:
            _, _, mechanism, tests = [cell.strip() for cell in row.strip("|").split(" | ")]
            names = re.findall(r"`([^`]+)`", tests)
            with self.subTest(row=row[:60]):
                self.assertTrue(names or "**nothing**" in mechanism)
            for name in names:
                with self.subTest(test=name):
                    self.assertTrue(self.are_there(name))

    def are_there(self, name):
        braces = re.fullmatch(r"(.*)\{(.*)\}(.*)", name)
        if braces:
            return all(self.are_there(braces[1] + one + braces[3]) for one in braces[2].split(","))
        folder, _, base = name.rpartition("/")
        if folder.startswith("tests/"):
            return (SOURCE / name).exists()
        if folder == "cases":
            return (SOURCE / "tests/hostile" / name).exists()
        base = base.removeprefix("test_")
        return any((SOURCE / f"tests/{one}/test_{base}.{end}").exists()
                   for one in ([folder] if folder else TESTS) for end in ["c", "py"])


if __name__ == "__main__":
    unittest.main()
