#!/usr/bin/env python3
"""Writes src/serving/engines/unicode_tables.cpp and unicode_folds.cpp: what Python's str methods know of characters.

The text vectorisers of scikit-learn are defined by them (lower(), the \\w and \\s of re, NFKD without marks).
"""

import pathlib
import sys
import textwrap
import unicodedata

OUT = pathlib.Path(__file__).resolve().parents[1] / "src" / "serving" / "engines"
CHARACTERS = [c for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]


def ranges(wanted):
    out = []
    for c in CHARACTERS:
        if not wanted(chr(c)):
            continue
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def lower_groups():
    """[first, last, step, distance to the lower letter]."""
    out = []
    for c in CHARACTERS:
        low = chr(c).lower()
        if low == chr(c) or len(low) != 1:
            continue
        distance = ord(low) - c
        if out and out[-1][3] == distance:
            first, last, step, _ = out[-1]
            if c - last == step or (first == last and c - last == 2):
                out[-1][1:3] = [c, c - last]
                continue
        out.append([c, c, 1, distance])
    return out


def final_sigma(before):
    return (before + "Σ").lower()[-1] == "ς"


def cased(c):
    return final_sigma(c)


def ignorable(c):
    """Passed over when a word's end is looked for."""
    return final_sigma("A" + c) and not final_sigma(c)


def folded(c):
    return "".join(x for x in unicodedata.normalize("NFKD", c) if not unicodedata.combining(x))


def folds():
    """Of each character that is folded: how far it is from the one before, and what it becomes."""
    out, last = [], 0
    for c in CHARACTERS:
        if 0xAC00 <= c < 0xD7A4:  # Hangul syllables are taken apart by arithmetic
            continue
        to = folded(chr(c))
        if to != chr(c):
            out.append(f"{c - last:x}={' '.join(f'{ord(x):x}' for x in to)};")
            last = c
    return "".join(out)


def rows(name, kind, items):
    text = ", ".join("{" + ", ".join(f"{x:#x}" if x >= 0 else f"-{-x:#x}" for x in item) + "}" for item in items)
    lines = textwrap.wrap(text, 116, break_long_words=False)
    return f"const std::array<{kind}, {len(items)}> {name}{{{{\n" + "\n".join("    " + x for x in lines) + "\n}};\n"


def main():
    version = unicodedata.unidata_version
    head = f"// Made by scripts/unicode_tables.py from Unicode {version}; do not edit.\n"
    head += '#include "serving/engines/unicode_tables.h"\n\nnamespace mr::serving::unicode {\n\n// clang-format off\n'
    tail = "// clang-format on\n\n}  // namespace mr::serving::unicode\n"
    tables = [
        rows("word_ranges", "Range", ranges(lambda c: c.isalnum() or c == "_")),
        rows("cased_ranges", "Range", ranges(cased)),
        rows("ignorable_ranges", "Range", ranges(ignorable)),
        rows("lower_groups", "LowerGroup", lower_groups()),
    ]
    (OUT / "unicode_tables.cpp").write_text(head + "\n".join(tables) + tail)
    text = folds()
    lines = [text[i : i + 114] for i in range(0, len(text), 114)]
    body = "const std::string_view folds =\n" + "\n".join(f'    "{x}"' for x in lines) + ";\n"
    (OUT / "unicode_folds.cpp").write_text(head + body + tail)


if __name__ == "__main__":
    main()
