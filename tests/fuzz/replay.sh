#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Runs the fuzz target over its corpus: every file must go through without a crash or an abort().
set -eu

corpus=${top_srcdir:-.}/tests/fuzz/corpus
replay=${top_builddir:-.}/tests/fuzz/replay_image

if [ ! -x "$replay" ]; then
	echo "replay.sh: $replay is missing: run make check" >&2
	exit 1
fi
set --
for file in "$corpus"/*; do
	[ -f "$file" ] && set -- "$@" "$file"
done
if [ $# -eq 0 ]; then
	echo "replay.sh: no file in $corpus" >&2
	exit 1
fi
exec "$replay" "$@"
