// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/oci_config.h"

#include <errno.h>
#include <string.h>

#include "lib/json_pick.h"
#include "lib/oci_text.h"

/* The element of linux.namespaces that is being read: its members come in any order. */
struct reading {
	struct hf_oci_config *config;
	bool network;
	char path[PATH_MAX];
};

static int take_type(void *to, const char *text, size_t len, struct hf_error *err)
{
	struct reading *reading = to;

	if (len == 0)
		return hf_error_set(err, -EBADMSG, "empty");
	reading->network = len == strlen("network") && memcmp(text, "network", len) == 0;
	return 0;
}

/* Some writers have an empty path where there is none. */
static int take_path(void *to, const char *text, size_t len, struct hf_error *err)
{
	struct reading *reading = to;

	return len ? hf_oci_copy_path(reading->path, text, len, err) : 0;
}

static int take_namespace(void *to, const char *text, size_t len, struct hf_error *err)
{
	struct reading *reading = to;
	struct hf_oci_config *config = reading->config;

	(void)text;
	(void)len;
	if (reading->network && config->netns != HF_OCI_NETNS_RUNTIME)
		return hf_error_set(err, -EBADMSG, "a second network namespace");
	if (reading->network) {
		config->netns = reading->path[0] ? HF_OCI_NETNS_PATH : HF_OCI_NETNS_NEW;
		memcpy(config->netns_path, reading->path, sizeof(config->netns_path));
	}
	reading->network = false;
	memset(reading->path, 0, sizeof(reading->path));
	return 0;
}

static int take_unreachable(void *to, const char *text, size_t len, struct hf_error *err)
{
	struct reading *reading = to;

	reading->config->has_unreachable = true;
	return hf_oci_unreachable(&reading->config->on_unreachable, text, len, err);
}

static const struct hf_pick picks[] = {
	{{"linux"}, HF_PICK_OBJECT, false, 0, NULL},
	{{"linux", "namespaces"}, HF_PICK_ARRAY, false, 0, NULL},
	{{"linux", "namespaces", HF_PICK_EACH}, HF_PICK_OBJECT, false, 0, take_namespace},
	{{"linux", "namespaces", HF_PICK_EACH, "type"}, HF_PICK_STRING, true, 64, take_type},
	{{"linux", "namespaces", HF_PICK_EACH, "path"}, HF_PICK_STRING, false, PATH_MAX - 1,
		take_path},
	{{"annotations"}, HF_PICK_OBJECT, false, 0, NULL},
	{{"annotations", HF_UNREACHABLE_ANNOTATION}, HF_PICK_STRING, false, HF_OCI_WORD_MAX,
		take_unreachable},
};

int hf_oci_config_read(
	struct hf_oci_config *config, const char *text, size_t len, struct hf_error *err)
{
	struct reading reading = {.config = config};

	memset(config, 0, sizeof(*config));
	return hf_json_pick(text, len, picks, sizeof(picks) / sizeof(picks[0]), &reading, err);
}
