// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/oci_state.h"

#include <errno.h>
#include <string.h>

#include "lib/json_pick.h"
#include "lib/oci_text.h"

static int take_version(void *to, const char *text, size_t len, struct hf_error *err)
{
	(void)to;
	(void)text;
	return len ? 0 : hf_error_set(err, -EBADMSG, "empty");
}

static int take_id(void *to, const char *text, size_t len, struct hf_error *err)
{
	struct hf_oci_state *state = to;

	return hf_oci_copy(state->id, text, len, err);
}

static int take_status(void *to, const char *text, size_t len, struct hf_error *err)
{
	struct hf_oci_state *state = to;

	return hf_oci_copy(state->status, text, len, err);
}

/* As it is written: "1e3" is a whole number, too, but nobody writes a pid like that. */
static int take_pid(void *to, const char *text, size_t len, struct hf_error *err)
{
	struct hf_oci_state *state = to;
	long long pid = 0;

	if (len && text[0] == '-')
		return hf_error_set(err, -EBADMSG, "negative");
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return hf_error_set(err, -EBADMSG, "not a whole number");
		pid = 10 * pid + (text[i] - '0');
		if (pid > INT_MAX)
			return hf_error_set(err, -EBADMSG, "too large");
	}
	state->pid = (pid_t)pid;
	return 0;
}

static int take_bundle(void *to, const char *text, size_t len, struct hf_error *err)
{
	struct hf_oci_state *state = to;

	return hf_oci_copy_path(state->bundle, text, len, err);
}

static int take_unreachable(void *to, const char *text, size_t len, struct hf_error *err)
{
	struct hf_oci_state *state = to;

	state->has_unreachable = true;
	return hf_oci_unreachable(&state->on_unreachable, text, len, err);
}

static const struct hf_pick picks[] = {
	{{"ociVersion"}, HF_PICK_STRING, true, 64, take_version},
	{{"id"}, HF_PICK_STRING, true, HF_OCI_ID_MAX, take_id},
	{{"status"}, HF_PICK_STRING, true, 63, take_status},
	{{"pid"}, HF_PICK_NUMBER, false, 0, take_pid},
	{{"bundle"}, HF_PICK_STRING, true, PATH_MAX - 1, take_bundle},
	{{"annotations"}, HF_PICK_OBJECT, false, 0, NULL},
	{{"annotations", HF_UNREACHABLE_ANNOTATION}, HF_PICK_STRING, false, HF_OCI_WORD_MAX,
		take_unreachable},
};

int hf_oci_state_read(
	struct hf_oci_state *state, const char *text, size_t len, struct hf_error *err)
{
	memset(state, 0, sizeof(*state));
	return hf_json_pick(text, len, picks, sizeof(picks) / sizeof(picks[0]), state, err);
}
