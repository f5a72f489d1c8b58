#!/usr/bin/env python3
"""page_examples.py RUNNER PAGE: the page's examples hold, and every metric of its table has one."""
import pathlib
import re
import subprocess
import sys
import tempfile

# What a page calls a metric of a model, and the values of golden_runner that show it.
SHOWN_BY = {
    "precision": "precision_macro", "recall": "recall_macro", "f1": "f1_macro",
    "positive_precision": "precision_binary", "positive_recall": "recall_binary",
    "positive_f1": "f1_binary", "auc": "roc_auc", "top5_accuracy": "top2_accuracy",
    "loss": "log_loss",
}


def main():
    runner, page = sys.argv[1], pathlib.Path(sys.argv[2]).read_text()
    block = re.search(r"<!-- golden metrics -->\n```\n(.*?)```\n", page, re.DOTALL)
    if not block:
        sys.exit(f"{sys.argv[2]}: no examples after <!-- golden metrics -->")
    section = page[page.index("## Metrics"):block.start()]
    named = [name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
             for name in re.findall(r"`(\w+)`", row)]
    missing = [name for name in named
               if not re.search(rf"[,;]{SHOWN_BY.get(name, name)}=", block[1])]
    if len(named) < 20 or missing:
        sys.exit(f"{len(named)} metrics in the table, without an example: {missing}")
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        file.write(block[1])
        file.flush()
        done = subprocess.run([runner, "metrics", file.name], check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
