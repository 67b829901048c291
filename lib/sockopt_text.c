// SPDX-License-Identifier: GPL-2.0-or-later
/* Options, and what could not be set of them, for a person. */
#include "lib/sockopt.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Appends to a text; what does not fit is cut. */
struct text {
	char *buf;
	size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *fmt, ...)
{
	va_list args;
	int n;

	if (text->len + 1 >= text->size)
		return;
	va_start(args, fmt);
	n = vsnprintf(text->buf + text->len, text->size - text->len, fmt, args);
	va_end(args);
	if (n > 0)
		text->len += (size_t)n;
	if (text->len >= text->size)
		text->len = text->size - 1;
}

static void add_hex(struct text *text, const struct hf_option *option)
{
	for (unsigned int i = 0; i < option->len && i < HF_OPTION_SIZE; i++)
		add(text, "%02x", option->value[i]);
}

static void add_words(struct text *text, const struct hf_option *option)
{
	for (unsigned int at = 0; at + 4 <= option->len; at += 4) {
		uint32_t word;

		memcpy(&word, option->value + at, sizeof(word));
		add(text, "%s0x%x", at ? "," : "", word);
	}
}

static void add_value(
	struct text *text, const struct hf_sockopt *row, const struct hf_option *option)
{
	bool integer = option->len == 4 || option->len == 8;

	if (row->flags & HF_SOCKOPT_SECRET)
		add(text, "(%u bytes)", option->len);
	else if (row->type == HF_SOCKOPT_NAME)
		add(text, "%.*s", option->len, (const char *)option->value);
	else if (row->type == HF_SOCKOPT_WORDS)
		add_words(text, option);
	else if (row->type == HF_SOCKOPT_LONG && integer)
		add(text, "%llu", (unsigned long long)hf_sockopt_integer(row, option));
	else if ((row->type == HF_SOCKOPT_INT || row->type == HF_SOCKOPT_UINT) && integer)
		add(text, "%lld", (long long)hf_sockopt_integer(row, option));
	else
		add_hex(text, option);
}

char *hf_option_format(char buf[HF_OPTION_TEXT], const struct hf_option *option)
{
	const struct hf_sockopt *row = hf_sockopt_find(option->level, option->name);
	struct text text = {buf, HF_OPTION_TEXT, 0};

	buf[0] = '\0';
	if (row && row->carrier == HF_SOCKOPT_HOLDFAST) {
		add(&text, "%s=", row->name);
		add_value(&text, row, option);
	} else {
		add(&text, "option %u/%u=", option->level, option->name);
		add_hex(&text, option);
	}
	return buf;
}

bool hf_sockopt_report_misses(const struct hf_sockopt_report *report, const char *name)
{
	for (unsigned int i = 0; i < report->n_missing; i++)
		if (strcmp(report->missing[i], name) == 0)
			return true;
	return false;
}

void hf_sockopt_report_add_missing(
	struct hf_sockopt_report *report, const char *name, const char *fallback)
{
	if (report->n_missing == HF_SOCKOPT_MAX_MISSING || hf_sockopt_report_misses(report, name))
		return;
	snprintf(report->missing[report->n_missing++], sizeof(report->missing[0]), "%s", name);
	snprintf(report->fallback, sizeof(report->fallback), "%s", fallback);
}

static void merge(struct hf_sockopt_set *set, const struct hf_sockopt_set *from)
{
	for (unsigned int i = 0; i < HF_SOCKOPT_MAX / 64; i++)
		set->bits[i] |= from->bits[i];
}

void hf_sockopt_report_merge(struct hf_sockopt_report *report, const struct hf_sockopt_report *from)
{
	merge(&report->unknown, &from->unknown);
	merge(&report->refused, &from->refused);
	for (unsigned int i = 0; i < from->n_missing; i++)
		hf_sockopt_report_add_missing(report, from->missing[i], from->fallback);
}

static void add_set(struct text *text, const struct hf_sockopt_set *set, const char *what)
{
	bool any = false;

	for (unsigned int i = 0; i < hf_n_sockopts; i++) {
		if (!hf_sockopt_set_has(set, i))
			continue;
		if (!any && text->len)
			add(text, "; ");
		add(text, "%s%s", any ? ", " : what, hf_sockopts[i].name);
		any = true;
	}
}

char *hf_sockopt_report_format(
	char buf[HF_SOCKOPT_REPORT_TEXT], const struct hf_sockopt_report *report)
{
	struct text text = {buf, HF_SOCKOPT_REPORT_TEXT, 0};

	buf[0] = '\0';
	for (unsigned int i = 0; i < report->n_missing; i++)
		add(&text, "%s%s", i ? ", " : "congestion control not here: ", report->missing[i]);
	if (report->n_missing)
		add(&text, " (%s is used instead)", report->fallback);
	add_set(&text, &report->unknown, "options that this kernel does not know: ");
	add_set(&text, &report->refused, "options that this kernel did not take: ");
	return buf;
}
