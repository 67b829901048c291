// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/unreachable.h"

#include <string.h>

bool hf_unreachable_parse(enum hf_unreachable *to, const char *text, size_t len)
{
	static const char *const words[] = {
		[HF_UNREACHABLE_ABORT] = "abort", [HF_UNREACHABLE_CLOSE] = "close"};

	for (int i = HF_UNREACHABLE_ABORT; i <= HF_UNREACHABLE_CLOSE; i++)
		if (strlen(words[i]) == len && memcmp(words[i], text, len) == 0) {
			*to = (enum hf_unreachable)i;
			return true;
		}
	return false;
}
