#!/usr/bin/env bash
# Bring every C file into the house format, or only look.
#
#   scripts/format.sh          rewrite what differs
#   scripts/format.sh --check  say what differs; 77 (a skipped test) without clang-format-14
set -euo pipefail
cd "$(dirname "$0")/.."

how=(-i)
case "${1:-}" in
'') ;;
--check) how=(--dry-run -Werror) ;;
*)
    echo "usage: scripts/format.sh [--check]" >&2
    exit 2
    ;;
esac

# Another release formats otherwise: only this one decides.
if ! command -v clang-format-14 >/dev/null; then
    echo "scripts/format.sh: clang-format-14 is not installed (scripts/setup --check)" >&2
    exit 77
fi
find . \( -path './build*' -o -path './.*' -o -path ./out -o -path ./runs \) -prune -o \
    -name '*.[ch]' -print0 | xargs -0 clang-format-14 "${how[@]}"
