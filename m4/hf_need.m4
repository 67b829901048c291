# SPDX-License-Identifier: GPL-2.0-or-later
# HF_NEED(PREFIX, MODULE, VERSION, PACKAGE): a library, or one sentence that says how to get it.
AC_DEFUN([HF_NEED], [
	PKG_CHECK_MODULES([$1], [$2 >= $3], [],
		[AC_MSG_ERROR([$2 $3 or later is missing: install its development files ($4)])])
])
