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
