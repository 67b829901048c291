#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The checked-in holdfast-options(7) is what the option table says.
set -eu

page=$top_srcdir/docs/man/holdfast-options.7
"$top_builddir/docs/man/options-page" | diff -u "$page" - || {
	echo "$page differs from lib/sockopt_table.h: run make update-options-page" >&2
	exit 1
}
