// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void set_text(struct hf_error *err, int code, const char *fmt, va_list args)
{
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, args);
}

int hf_error_set(struct hf_error *err, int code, const char *fmt, ...)
{
	va_list args;

	if (err) {
		va_start(args, fmt);
		set_text(err, code, fmt, args);
		va_end(args);
	}
	return code;
}

int hf_error_sys(struct hf_error *err, int code, const char *fmt, ...)
{
	char reason[96];
	size_t len;
	va_list args;

	if (!err)
		return code;
	va_start(args, fmt);
	set_text(err, code, fmt, args);
	va_end(args);
	len = strlen(err->text);
	/* The GNU variant may return a string of its own instead of filling the buffer. */
	snprintf(err->text + len, sizeof(err->text) - len, ": %s",
		strerror_r(-code, reason, sizeof(reason)));
	return code;
}

int hf_error_context(struct hf_error *err, int code, const char *fmt, ...)
{
	struct hf_error inner;
	size_t len;
	va_list args;

	if (!err)
		return code;
	inner = *err;
	err->code = code;
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	len = strlen(err->text);
	snprintf(err->text + len, sizeof(err->text) - len, ": %s", inner.text);
	return code;
}
