# SPDX-License-Identifier: GPL-2.0-or-later
# HF_FLAGS: warnings, hardening and sanitizers, in HF_CFLAGS, HF_LDFLAGS and HF_PIE_LDFLAGS.
AC_DEFUN([HF_TRY_CFLAG], [
	hf_saved=$CFLAGS
	CFLAGS="$CFLAGS -Werror $1"
	AC_MSG_CHECKING([whether $CC takes $1])
	AC_COMPILE_IFELSE([AC_LANG_SOURCE([[int nothing;]])],
		[AC_MSG_RESULT([yes]); HF_CFLAGS="$HF_CFLAGS $1"],
		[AC_MSG_RESULT([no])])
	CFLAGS=$hf_saved
])

AC_DEFUN([HF_FLAGS], [
	HF_CFLAGS="-std=gnu11"
	m4_foreach_w([flag], [-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
		-Wpointer-arith -Wundef -Wwrite-strings -Wvla -fvisibility=hidden
		-fstack-protector-strong -fstack-clash-protection], [HF_TRY_CFLAG(flag)])
	HF_LDFLAGS="-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack"
	HF_PIE_LDFLAGS="-pie"
	HF_PIE_CFLAGS="-fPIE"

	AC_ARG_ENABLE([asan], [AS_HELP_STRING([--enable-asan], [build with AddressSanitizer])])
	AS_IF([test "$enable_asan" = yes],
		[HF_CFLAGS="$HF_CFLAGS -fsanitize=address -fno-omit-frame-pointer"
		HF_LDFLAGS="$HF_LDFLAGS -fsanitize=address"])
	AC_ARG_ENABLE([ubsan], [AS_HELP_STRING([--enable-ubsan], [build with UndefinedBehaviorSanitizer])])
	AS_IF([test "$enable_ubsan" = yes],
		[HF_CFLAGS="$HF_CFLAGS -fsanitize=undefined -fno-sanitize-recover=undefined"
		HF_LDFLAGS="$HF_LDFLAGS -fsanitize=undefined"])
	AS_IF([test "$enable_asan" != yes && test "$enable_ubsan" != yes],
		[HF_CPPFLAGS="-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"])
	AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [make warnings errors (for CI)])])
	AS_IF([test "$enable_werror" = yes], [HF_CFLAGS="$HF_CFLAGS -Werror"])
	AC_SUBST([HF_CPPFLAGS])
	AC_SUBST([HF_CFLAGS])
	AC_SUBST([HF_LDFLAGS])
	AC_SUBST([HF_PIE_CFLAGS])
	AC_SUBST([HF_PIE_LDFLAGS])
])
