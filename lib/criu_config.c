// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/criu_config.h"

#include <stdio.h>
#include <string.h>

/* A piece of a line. */
struct span {
	const char *at;
	size_t len;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static struct span skip_blanks(struct span span)
{
	while (span.len > 0 && is_blank(span.at[0])) {
		span.at++;
		span.len--;
	}
	return span;
}

static bool equals(struct span span, const char *word)
{
	return span.len == strlen(word) && memcmp(span.at, word, span.len) == 0;
}

/* Where c is, or the length where it is not. */
static size_t find(struct span span, char c)
{
	const char *at = span.len ? memchr(span.at, c, span.len) : NULL;

	return at ? (size_t)(at - span.at) : span.len;
}

static struct span behind(struct span span, size_t skipped)
{
	return (struct span){span.at + skipped, span.len - skipped};
}

/* Cuts at the first blank that CRIU goes by: a tab only where the line has no space. */
static size_t find_end_of_option(struct span line)
{
	size_t space = find(line, ' ');

	return space < line.len ? space : find(line, '\t');
}

static void add(struct hf_criu_value *value, size_t *len, char c)
{
	if (*len + 1 < sizeof(value->text))
		value->text[(*len)++] = c;
}

/* A value in quotes, behind the first: up to the next that no backslash precedes. */
static void take_quoted(struct hf_criu_value *value, struct span text)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len && text.at[i] != '"'; i++) {
		if (text.at[i] == '\\' && i + 1 < text.len && text.at[i + 1] == '"')
			i++;
		add(value, &len, text.at[i]);
	}
	value->text[len] = '\0';
}

static void take_plain(struct hf_criu_value *value, struct span text)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len && text.at[i] != ' ' && text.at[i] != '#'; i++)
		add(value, &len, text.at[i]);
	value->text[len] = '\0';
}

/* The option, and what stands behind it: after a `=` as it is, else a value that may be quoted. */
struct statement {
	struct span option;
	struct span rest;
	bool assigned;
};

static bool parse(struct statement *statement, struct span line)
{
	size_t end, equal;

	line = skip_blanks(line);
	if (line.len == 0 || line.at[0] == '#')
		return false;
	end = find_end_of_option(line);
	statement->option = (struct span){line.at, end};
	equal = find(statement->option, '=');
	statement->assigned = equal < end;
	if (statement->assigned) {
		statement->rest = behind(statement->option, equal + 1);
		statement->option.len = equal;
	} else {
		statement->rest = skip_blanks(behind(line, end < line.len ? end + 1 : end));
	}
	return true;
}

static void set_value(
	struct hf_criu_value *value, const struct statement *statement, struct hf_criu_place place)
{
	size_t len = 0;

	value->place = place;
	if (statement->assigned) {
		for (size_t i = 0; i < statement->rest.len; i++)
			add(value, &len, statement->rest.at[i]);
		value->text[len] = '\0';
	} else if (statement->rest.len && statement->rest.at[0] == '"') {
		take_quoted(value, behind(statement->rest, 1));
	} else {
		take_plain(value, statement->rest);
	}
}

/* A flag takes no value: CRIU refuses `flag=value`, and does not see what follows `flag `. */
static bool set_flag(struct hf_criu_flag *flag, const char *name, const struct statement *statement,
	struct hf_criu_place place)
{
	struct span option = statement->option;
	bool negated = option.len > 3 && memcmp(option.at, "no-", 3) == 0;

	if (!equals(negated ? behind(option, 3) : option, name))
		return false;
	*flag = (struct hf_criu_flag){!negated, place};
	return true;
}

static void read_line(struct hf_criu_options *options, struct span line, struct hf_criu_place place)
{
	struct statement statement;

	if (!parse(&statement, line))
		return;
	if (set_flag(&options->tcp_close, "tcp-close", &statement, place) ||
		set_flag(&options->tcp_established, "tcp-established", &statement, place) ||
		set_flag(&options->skip_in_flight, "skip-in-flight", &statement, place))
		return;
	if (equals(statement.option, "network-lock"))
		set_value(&options->network_lock, &statement, place);
	else if (equals(statement.option, "libdir"))
		set_value(&options->libdir, &statement, place);
}

void hf_criu_config_read(
	struct hf_criu_options *options, const char *file, const char *text, size_t len)
{
	struct span left = {text, len};
	struct hf_criu_place place = {file, 0};

	while (left.len > 0) {
		size_t end = find(left, '\n');

		place.line++;
		read_line(options, (struct span){left.at, end}, place);
		left = behind(left, end < left.len ? end + 1 : end);
	}
}

void hf_criu_flag_reset(struct hf_criu_flag *flag)
{
	*flag = (struct hf_criu_flag){0};
}

/* CRIU has two names for it. */
static bool skips_lock(const struct hf_criu_options *options)
{
	return strcmp(options->network_lock.text, "skip") == 0 ||
	       strcmp(options->network_lock.text, "none") == 0;
}

enum hf_criu_verdict hf_criu_judge(
	const struct hf_criu_options *options, char advice[HF_CRIU_ADVICE])
{
	const struct hf_criu_place *established = &options->tcp_established.place;

	advice[0] = '\0';
	if (options->tcp_close.on && options->tcp_established.on) {
		snprintf(advice, HF_CRIU_ADVICE,
			"tcp-established contradicts tcp-close: remove it from %s, line %u",
			established->file, established->line);
		return HF_CRIU_WRONG;
	}
	if (options->tcp_established.on)
		return HF_CRIU_BESIDE;
	if (!options->tcp_close.on) {
		bool some = skips_lock(options) || options->skip_in_flight.on;

		snprintf(advice, HF_CRIU_ADVICE, "add the line%s tcp-close%s",
			skips_lock(options) ? "" : "s",
			skips_lock(options) ? "" : " and network-lock skip");
		return some ? HF_CRIU_WRONG : HF_CRIU_OFF;
	}
	if (!skips_lock(options)) {
		snprintf(advice, HF_CRIU_ADVICE, "the lock is to be holdfast's: %s",
			options->network_lock.text[0] ? "network-lock must be skip"
						      : "add the line network-lock skip");
		return HF_CRIU_WRONG;
	}
	if (!options->skip_in_flight.on)
		snprintf(advice, HF_CRIU_ADVICE,
			"CRIU refuses a dump while a connection waits to be accepted: add the line "
			"skip-in-flight");
	return HF_CRIU_READY;
}

static bool take_number(unsigned int *number, const char **text)
{
	const char *start = *text;

	*number = 0;
	for (; **text >= '0' && **text <= '9' && *text < start + 9; ++*text)
		*number = 10 * *number + (unsigned int)(**text - '0');
	return *text > start;
}

bool hf_version_parse(struct hf_version *version, const char *text)
{
	if (!take_number(&version->major, &text) || *text != '.')
		return false;
	text++;
	return take_number(&version->minor, &text);
}

bool hf_version_before(const struct hf_version *version, unsigned int major, unsigned int minor)
{
	return version->major < major || (version->major == major && version->minor < minor);
}

/* 4.1 has the hook on which a dump hangs. Since Linux 6.16 SO_PASSCRED does not exist on TCP
 * sockets, which CRIU knows since 4.2. */
struct hf_version hf_criu_oldest(const struct hf_version *kernel)
{
	return (struct hf_version){4, hf_version_before(kernel, 6, 16) ? 1 : 2};
}
