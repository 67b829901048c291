// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/json_pick.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <yajl/yajl_parse.h>

#define KEY_ROOM  64  /* a longer key is none of ours */
#define NAME_TEXT 160 /* a member's path as text */

/* One object or array around the value that is being read. */
struct level {
	bool array;
	bool known; /* the key below is one that we could know */
	char key[KEY_ROOM];
	size_t key_len;
};

struct reader {
	const struct hf_pick *picks;
	size_t n;
	void *to;
	struct level levels[HF_PICK_DEPTH];
	size_t depth;
	uint32_t seen; /* bit 1 << row, since the object around it began */
	struct hf_error *err;
	int ret; /* why reading stopped */
};

static size_t path_len(const struct hf_pick *pick)
{
	size_t len = 0;

	while (len < HF_PICK_LEVELS && pick->path[len])
		len++;
	return len;
}

static bool is_each(const char *key)
{
	return strcmp(key, HF_PICK_EACH) == 0;
}

/* True if the first `len` keys of the path lead to where we are. */
static bool leads_here(const struct reader *reader, const struct hf_pick *pick, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const struct level *level = &reader->levels[i];
		const char *key = pick->path[i];

		if (is_each(key) != level->array)
			return false;
		if (!level->array && (!level->known || strlen(key) != level->key_len ||
					     memcmp(key, level->key, level->key_len) != 0))
			return false;
	}
	return true;
}

/* The row for the value that is being read, or -1. */
static int find_row(const struct reader *reader)
{
	for (size_t i = 0; i < reader->n; i++)
		if (path_len(&reader->picks[i]) == reader->depth &&
			leads_here(reader, &reader->picks[i], reader->depth))
			return (int)i;
	return -1;
}

/* "linux.namespaces[].path" */
static const char *member_name(char buf[NAME_TEXT], const struct hf_pick *pick)
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < path_len(pick) && len < NAME_TEXT; i++)
		len += (size_t)snprintf(buf + len, NAME_TEXT - len, "%s%s",
			i && !is_each(pick->path[i]) ? "." : "", pick->path[i]);
	return buf;
}

static int stop(struct reader *reader, int code)
{
	reader->ret = code;
	return 0;
}

static int refuse(struct reader *reader, int row, const char *what)
{
	char name[NAME_TEXT];

	return stop(reader, hf_error_set(reader->err, -EBADMSG, "%s: %s",
				    member_name(name, &reader->picks[row]), what));
}

static int hand_over(struct reader *reader, int row, const char *text, size_t len)
{
	const struct hf_pick *pick = &reader->picks[row];
	char name[NAME_TEXT];
	int ret = pick->take ? pick->take(reader->to, text, len, reader->err) : 0;

	if (ret < 0)
		return stop(
			reader, hf_error_context(reader->err, ret, "%s", member_name(name, pick)));
	return 1;
}

static int check_type(struct reader *reader, int row, enum hf_pick_type type)
{
	static const char *const wrong[] = {[HF_PICK_OBJECT] = "not an object",
		[HF_PICK_ARRAY] = "not an array",
		[HF_PICK_STRING] = "not a string",
		[HF_PICK_NUMBER] = "not a number",
		[HF_PICK_BOOL] = "neither true nor false"};
	const struct hf_pick *pick = &reader->picks[row];
	uint32_t bit = UINT32_C(1) << row;

	if (pick->type != type)
		return refuse(reader, row, wrong[pick->type]);
	if ((reader->seen & bit) && !is_each(pick->path[reader->depth - 1]))
		return refuse(reader, row, "there twice");
	reader->seen |= bit;
	return 1;
}

/* Any value but null. `row` gets its row, or -1. */
static int begin_value(struct reader *reader, enum hf_pick_type type, int *row)
{
	*row = -1;
	if (reader->depth == 0 && type != HF_PICK_OBJECT)
		return stop(reader, hf_error_set(reader->err, -EBADMSG, "not a JSON object"));
	*row = find_row(reader);
	return *row < 0 ? 1 : check_type(reader, *row, type);
}

static int take_string(void *context, const unsigned char *text, size_t len)
{
	struct reader *reader = context;
	int row;

	if (!begin_value(reader, HF_PICK_STRING, &row))
		return 0;
	if (row < 0)
		return 1;
	if (len > reader->picks[row].max)
		return refuse(reader, row, "too long");
	if (len && memchr(text, '\0', len))
		return refuse(reader, row, "with a NUL");
	return hand_over(reader, row, (const char *)text, len);
}

static int take_number(void *context, const char *text, size_t len)
{
	struct reader *reader = context;
	int row;

	if (!begin_value(reader, HF_PICK_NUMBER, &row))
		return 0;
	return row < 0 ? 1 : hand_over(reader, row, text, len);
}

static int take_bool(void *context, int value)
{
	struct reader *reader = context;
	const char *text = value ? "true" : "false";
	int row;

	if (!begin_value(reader, HF_PICK_BOOL, &row))
		return 0;
	return row < 0 ? 1 : hand_over(reader, row, text, strlen(text));
}

static int take_null(void *context)
{
	struct reader *reader = context;
	int row;

	return reader->depth ? 1 : begin_value(reader, HF_PICK_BOOL, &row);
}

static int take_key(void *context, const unsigned char *key, size_t len)
{
	struct reader *reader = context;
	struct level *level = &reader->levels[reader->depth - 1];

	level->known = len < KEY_ROOM;
	level->key_len = level->known ? len : 0;
	memcpy(level->key, key, level->key_len);
	return 1;
}

/* Of the members of what just begins nothing was seen yet. */
static void forget_members(struct reader *reader)
{
	for (size_t i = 0; i < reader->n; i++)
		if (path_len(&reader->picks[i]) == reader->depth + 1 &&
			leads_here(reader, &reader->picks[i], reader->depth))
			reader->seen &= ~(UINT32_C(1) << i);
}

static int enter(struct reader *reader, enum hf_pick_type type)
{
	int row;

	if (!begin_value(reader, type, &row))
		return 0;
	if (reader->depth == HF_PICK_DEPTH)
		return stop(reader, hf_error_set(reader->err, -E2BIG,
					    "nested more than %d levels deep", HF_PICK_DEPTH));
	forget_members(reader);
	reader->levels[reader->depth++] = (struct level){.array = type == HF_PICK_ARRAY};
	return 1;
}

static int leave(struct reader *reader)
{
	int row;

	reader->depth--;
	for (size_t i = 0; i < reader->n; i++) {
		const struct hf_pick *pick = &reader->picks[i];

		if (pick->required && path_len(pick) == reader->depth + 1 &&
			!(reader->seen & UINT32_C(1) << i) &&
			leads_here(reader, pick, reader->depth))
			return refuse(reader, (int)i, "missing");
	}
	row = find_row(reader);
	return row < 0 ? 1 : hand_over(reader, row, NULL, 0);
}

static int begin_object(void *context)
{
	return enter(context, HF_PICK_OBJECT);
}

static int begin_array(void *context)
{
	return enter(context, HF_PICK_ARRAY);
}

static int end_any(void *context)
{
	return leave(context);
}

/* Without the text that it is about: it may be a secret. */
static int syntax_error(yajl_handle handle, bool ended, struct hf_error *err)
{
	unsigned char *text = yajl_get_error(handle, 0, NULL, 0);
	char where[32] = "its end";

	if (!ended)
		snprintf(where, sizeof(where), "byte %zu", yajl_get_bytes_consumed(handle));
	hf_error_set(err, -EBADMSG, "not JSON: at %s: %.*s", where,
		text ? (int)strcspn((const char *)text, "\n") : 1, text ? (const char *)text : "?");
	yajl_free_error(handle, text);
	return -EBADMSG;
}

int hf_json_pick(const char *text, size_t len, const struct hf_pick *picks, size_t n, void *to,
	struct hf_error *err)
{
	/* Numbers as they are written: the limits of a configuration do not fit a long long. */
	static const yajl_callbacks callbacks = {.yajl_null = take_null,
		.yajl_boolean = take_bool,
		.yajl_number = take_number,
		.yajl_string = take_string,
		.yajl_start_map = begin_object,
		.yajl_map_key = take_key,
		.yajl_end_map = end_any,
		.yajl_start_array = begin_array,
		.yajl_end_array = end_any};
	struct reader reader = {.picks = picks, .n = n, .to = to, .err = err};
	yajl_handle handle = yajl_alloc(&callbacks, NULL, &reader);
	yajl_status status;
	bool ended = false;

	if (!handle)
		return hf_error_sys(err, -ENOMEM, "cannot read it");
	status = yajl_parse(handle, (const unsigned char *)text, len);
	if (status == yajl_status_ok) {
		ended = true;
		status = yajl_complete_parse(handle);
	}
	if (status == yajl_status_error)
		reader.ret = syntax_error(handle, ended, err);
	yajl_free(handle);
	return reader.ret;
}
