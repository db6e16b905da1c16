#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (default 20s), one after another. With
# FUZZ_SOME=N only N of them, others with each commit, so that all have their turn.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t targets < <(git grep -oE 'func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed 's/func //')
[ ${#targets[@]} -gt 0 ] || { echo "fuzz: no target" >&2; exit 1; }
some=${FUZZ_SOME:-${#targets[@]}}
first=$(($(git rev-list --count HEAD) * some))
for ((i = 0; i < some && i < ${#targets[@]}; i++)); do
	IFS=: read -r file name <<<"${targets[$(((first + i) % ${#targets[@]}))]}"
	echo "== $(dirname "$file") $name"
	go test "./$(dirname "$file")" -run '^$' -fuzz "^${name}\$" -fuzztime "${FUZZTIME:-20s}" -fuzzminimizetime 1x
done
echo "fuzz: $i of ${#targets[@]} targets"
