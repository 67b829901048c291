// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>

#include "cli/show.h"
#include "lib/tcp_state.h"

char *hf_show_state(char buf[HF_STATE_TEXT], const struct hf_conn *conn)
{
	const char *kind = conn->state == HF_TCP_CLOSE ? hf_closed_name(conn->closed) : "";

	snprintf(
		buf, HF_STATE_TEXT, *kind ? "%s (%s)" : "%s", hf_tcp_state_name(conn->state), kind);
	return buf;
}

/* Here the option table, once there is one, gives the name and the value as a number. */
char *hf_show_option(char buf[HF_OPTION_TEXT], const struct hf_option *option)
{
	int at = snprintf(buf, HF_OPTION_TEXT, "%u/%u=", option->level, option->name);

	for (uint32_t i = 0; i < option->len; i++)
		at += snprintf(buf + at, HF_OPTION_TEXT - (size_t)at, "%02x", option->value[i]);
	return buf;
}
