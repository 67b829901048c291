// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void hf_json_text(yajl_gen gen, const char *text)
{
	yajl_gen_string(gen, (const unsigned char *)text, strlen(text));
}

void hf_json_string(yajl_gen gen, const char *name, const char *value)
{
	hf_json_text(gen, name);
	hf_json_text(gen, value);
}

/* yajl's integers are signed. */
void hf_json_number(yajl_gen gen, const char *name, uint64_t value)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%" PRIu64, value);

	hf_json_text(gen, name);
	yajl_gen_number(gen, text, (size_t)len);
}

void hf_json_bool(yajl_gen gen, const char *name, bool value)
{
	hf_json_text(gen, name);
	yajl_gen_bool(gen, value);
}

yajl_gen hf_json_begin(void)
{
	yajl_gen gen = yajl_gen_alloc(NULL);

	if (gen)
		yajl_gen_config(gen, yajl_gen_beautify, 1);
	else
		fprintf(stderr, "holdfast: out of memory\n");
	return gen;
}

int hf_json_end(yajl_gen gen)
{
	const unsigned char *buf;
	size_t len;
	int ret = -1;

	if (yajl_gen_get_buf(gen, &buf, &len) == yajl_gen_status_ok &&
		fwrite(buf, 1, len, stdout) == len)
		ret = 0;
	yajl_gen_free(gen);
	return ret;
}
