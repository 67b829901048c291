// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/config.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define MAX_ORPHAN_TIMEOUT_MS 60000
#define ORPHAN_TIMEOUT_MS     200
#define MAX_LOCK_TIMEOUT_S    86400
/* As long as Linux peers retransmit (net.ipv4.tcp_retries2). */
#define LOCK_TIMEOUT_S       900
#define MAX_PRELUDE_LIMIT_MS 1000
#define PRELUDE_LIMIT_MS     50

/* A piece of the text, without blanks around it. */
struct span {
	const char *at;
	size_t len;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct span trim(struct span span)
{
	while (span.len > 0 && is_blank(span.at[0])) {
		span.at++;
		span.len--;
	}
	while (span.len > 0 && is_blank(span.at[span.len - 1]))
		span.len--;
	return span;
}

static bool equals(struct span span, const char *word)
{
	return span.len == strlen(word) && memcmp(span.at, word, span.len) == 0;
}

static bool set_on_off(bool *to, struct span value)
{
	if (equals(value, "on"))
		*to = true;
	else if (equals(value, "off"))
		*to = false;
	else
		return false;
	return true;
}

static bool set_mode(struct hf_config *config, struct span value)
{
	return set_on_off(&config->on, value);
}

static bool set_number(unsigned int *to, struct span value, unsigned int least, unsigned int most)
{
	unsigned int number = 0;

	if (value.len == 0)
		return false;
	for (size_t i = 0; i < value.len; i++) {
		if (value.at[i] < '0' || value.at[i] > '9')
			return false;
		number = 10 * number + (unsigned int)(value.at[i] - '0');
		if (number > most)
			return false;
	}
	*to = number;
	return number >= least;
}

static bool set_orphan_timeout(struct hf_config *config, struct span value)
{
	return set_number(&config->orphan_timeout_ms, value, 0, MAX_ORPHAN_TIMEOUT_MS);
}

static bool set_lock_timeout(struct hf_config *config, struct span value)
{
	return set_number(&config->lock_timeout_s, value, 1, MAX_LOCK_TIMEOUT_S);
}

static bool set_kick(struct hf_config *config, struct span value)
{
	return set_on_off(&config->kick, value);
}

static bool set_prelude(struct hf_config *config, struct span value)
{
	return set_on_off(&config->prelude, value);
}

static bool set_prelude_limit(struct hf_config *config, struct span value)
{
	return set_number(&config->prelude_limit_ms, value, 0, MAX_PRELUDE_LIMIT_MS);
}

static bool set_hold_back(struct hf_config *config, struct span value)
{
	return set_on_off(&config->resend.hold, value);
}

static bool set_duplicate_acks(struct hf_config *config, struct span value)
{
	return set_on_off(&config->resend.duplicates, value);
}

static bool set_on_unreachable(struct hf_config *config, struct span value)
{
	return hf_unreachable_parse(&config->on_unreachable, value.at, value.len);
}

static const struct key {
	const char *name;
	bool (*set)(struct hf_config *config, struct span value);
	const char *values; /* for the error */
} keys[] = {
	{"mode", set_mode, "on or off"},
	{"orphan-timeout", set_orphan_timeout, "from 0 to 60000 (milliseconds)"},
	{"lock-timeout", set_lock_timeout, "from 1 to 86400 (seconds)"},
	{"kick", set_kick, "on or off"},
	{"prelude", set_prelude, "on or off"},
	{"prelude-limit", set_prelude_limit, "from 0 to 1000 (milliseconds)"},
	{"hold-back", set_hold_back, "on or off"},
	{"duplicate-acks", set_duplicate_acks, "on or off"},
	{"on-unreachable", set_on_unreachable, "abort or close"},
};
#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

static int set_line(struct hf_config *config, struct span line, uint32_t *seen, const char *name,
	unsigned int number, struct hf_error *err)
{
	const char *equal = memchr(line.at, '=', line.len);
	struct span key, value;

	if (!equal)
		return hf_error_set(err, -EINVAL, "%s:%u: expected `key = value`", name, number);
	key = trim((struct span){line.at, (size_t)(equal - line.at)});
	value = trim((struct span){equal + 1, line.len - (size_t)(equal + 1 - line.at)});
	for (size_t i = 0; i < N_KEYS; i++) {
		if (!equals(key, keys[i].name))
			continue;
		if (*seen & 1u << i)
			return hf_error_set(err, -EINVAL, "%s:%u: `%s` is set twice", name, number,
				keys[i].name);
		*seen |= 1u << i;
		if (!keys[i].set(config, value))
			return hf_error_set(err, -EINVAL, "%s:%u: `%s` must be %s, not `%.*s`",
				name, number, keys[i].name, keys[i].values,
				value.len < 64 ? (int)value.len : 64, value.at);
		return 0;
	}
	return hf_error_set(err, -EINVAL, "%s:%u: unknown key `%.*s`", name, number,
		key.len < 64 ? (int)key.len : 64, key.at);
}

struct hf_config hf_config_defaults(void)
{
	return (struct hf_config){.on = true,
		.orphan_timeout_ms = ORPHAN_TIMEOUT_MS,
		.lock_timeout_s = LOCK_TIMEOUT_S,
		.kick = true,
		.prelude = true,
		.prelude_limit_ms = PRELUDE_LIMIT_MS,
		.resend = {.hold = true, .duplicates = true},
		.on_unreachable = HF_UNREACHABLE_ABORT};
}

int hf_config_parse(struct hf_config *config, const char *name, const char *text, size_t len,
	struct hf_error *err)
{
	struct hf_config result = *config;
	const char *end = text + len;
	uint32_t seen = 0;

	for (unsigned int number = 1; text < end; number++) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *stop = newline ? newline : end;
		const char *comment = memchr(text, '#', (size_t)(stop - text));
		struct span line =
			trim((struct span){text, (size_t)((comment ? comment : stop) - text)});

		if (line.len > 0) {
			int ret = set_line(&result, line, &seen, name, number, err);

			if (ret < 0)
				return ret;
		}
		text = newline ? newline + 1 : end;
	}
	*config = result;
	return 0;
}

int hf_config_environment(struct hf_config *config, const char *value, struct hf_error *err)
{
	if (value && !set_on_off(&config->on, (struct span){value, strlen(value)}))
		return hf_error_set(err, -EINVAL,
			"the environment variable HOLDFAST must be on or off, not `%.64s`", value);
	return 0;
}
