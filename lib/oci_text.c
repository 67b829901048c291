// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/oci_text.h"

#include <errno.h>
#include <string.h>

int hf_oci_copy(char *to, const char *text, size_t len, struct hf_error *err)
{
	if (len == 0)
		return hf_error_set(err, -EBADMSG, "empty");
	memcpy(to, text, len);
	to[len] = '\0';
	return 0;
}

int hf_oci_copy_path(char *to, const char *text, size_t len, struct hf_error *err)
{
	if (len == 0 || text[0] != '/')
		return hf_error_set(err, -EBADMSG, "not an absolute path");
	return hf_oci_copy(to, text, len, err);
}

int hf_oci_unreachable(enum hf_unreachable *to, const char *text, size_t len, struct hf_error *err)
{
	if (hf_unreachable_parse(to, text, len))
		return 0;
	return hf_error_set(
		err, -EBADMSG, "must be abort or close, not `%.*s`", (int)len, len ? text : "");
}
