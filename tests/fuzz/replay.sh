#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Runs each fuzz target over its corpus: every file must go through without a crash or an abort().
set -eu

fuzz=${top_srcdir:-.}/tests/fuzz

run() {
	replay=${top_builddir:-.}/tests/fuzz/$1
	corpus=$fuzz/$2
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
	"$replay" "$@"
}

run replay_image corpus
run replay_oci_state corpus-oci
