#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Looks at what was built: the plugin exports nothing but its description, and plugin and programs
# are hardened.
set -eu
LC_ALL=C
export LC_ALL

build=${top_builddir:-.}
failed=0

wrong() {
	echo "check-exports: $*" >&2
	failed=1
}

# The dynamic section and the segments of a file, once, for the checks below.
look_at() {
	file=$1
	header=$(readelf -hW "$file") || exit 1
	segments=$(readelf -lW "$file") || exit 1
	dynamic=$(readelf -dW "$file") || exit 1
}

has() {
	printf '%s\n' "$1" | grep -Eq "$2"
}

hardened() {
	has "$segments" '^ *GNU_RELRO ' || wrong "$file has no RELRO segment"
	has "$dynamic" '\(BIND_NOW\)|\(FLAGS\).*BIND_NOW|\(FLAGS_1\).*NOW' ||
		wrong "$file is not bound at load time (-z now)"
	has "$segments" '^ *GNU_STACK ' || wrong "$file does not say what its stack is"
	! has "$segments" '^ *GNU_STACK .* RWE ' || wrong "$file has an executable stack"
	! has "$dynamic" '\(TEXTREL\)|\(FLAGS\).*TEXTREL' || wrong "$file has text relocations"
}

plugin=$build/.libs/holdfast_plugin.so
if [ ! -f "$plugin" ]; then
	wrong "$plugin is missing"
else
	# A version script may add its version's name, of type A; AddressSanitizer a mark of the symbol.
	exports=$(nm -D --defined-only --format=posix "$plugin" |
		awk '$2 != "A" && $1 != "__odr_asan.CR_PLUGIN_DESC" { print $1 }' | sort | xargs)
	[ "$exports" = CR_PLUGIN_DESC ] ||
		wrong "$plugin must export CR_PLUGIN_DESC alone, but exports:" \
			"${exports:-nothing}"
	look_at "$plugin"
	hardened
	# What only the programs need is not loaded into CRIU.
	! has "$dynamic" '\(NEEDED\).*\[lib(cap|archive)\.' || wrong "$plugin needs libcap or libarchive"
fi

# With shared libraries of its own libtool leaves a script at the top and the program in .libs.
for name in holdfast holdfast-hook; do
	program=$build/.libs/$name
	[ -f "$program" ] || program=$build/$name
	if [ ! -f "$program" ]; then
		wrong "$build/$name is missing"
	else
		look_at "$program"
		has "$header" '^ *Type: *DYN ' || wrong "$program is not position independent (PIE)"
		hardened
	fi
done

exit "$failed"
