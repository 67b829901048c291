// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/config_file.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/cleanup.h"
#include "sys/text_file.h"

int hf_config_load(struct hf_config *config, struct hf_error *err)
{
	const char *named = getenv("HOLDFAST_CONF");
	const char *path = named ? named : HF_CONFIG_FILE;
	hf_autofree char *text = NULL;
	struct hf_error why = HF_ERROR_INIT;
	size_t len = 0;
	int ret = hf_text_file_read(path, &text, &len, &why);

	*config = hf_config_defaults();
	if (ret < 0 && (ret != -ENOENT || named))
		return hf_error_set(err, ret, "%s", why.text);
	if (ret == 0)
		ret = hf_config_parse(config, path, text, len, err);
	else
		ret = 0;
	return ret < 0 ? ret : hf_config_environment(config, getenv("HOLDFAST"), err);
}
