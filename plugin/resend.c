// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/resend.h"

#include <unistd.h>

#include "sys/tcp_repair.h"

/* A congestion control that paces lets a first window go within a millisecond. */
#define PACING_ATTEMPTS 5
#define PACING_US       1000

static uint32_t unsent(const struct hf_conn *conn)
{
	return conn->unsent + conn->fin_unsent;
}

void hf_resend(
	struct hf_raw *raw, int sock, const struct hf_conn *conn, const struct hf_resend_plan *plan)
{
	const struct hf_segment duplicate = hf_resend_duplicate(conn);

	if (plan->how == HF_RESEND_HELD)
		hf_tcp_push(sock);
	for (unsigned int i = 0; plan->how == HF_RESEND_TAIL && i < HF_RESEND_TAIL_BYTES; i++) {
		const struct hf_segment tail = hf_resend_tail(conn, plan, i);

		hf_raw_send(raw, &tail, NULL);
	}
	for (int i = 0; plan->how == HF_RESEND_DUPLICATES && i < HF_RESEND_N_DUPLICATES; i++)
		hf_raw_send(raw, &duplicate, NULL);
}

void hf_resend_finish(const int *socks, const struct hf_conn *conns,
	const struct hf_resend_plan *plans, uint32_t n)
{
	int attempts = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (socks[i] < 0 || plans[i].how != HF_RESEND_HELD)
			continue;
		while (!hf_tcp_is_sent(socks[i], unsent(&conns[i])) && attempts++ < PACING_ATTEMPTS)
			usleep(PACING_US);
		if (!hf_tcp_is_sent(socks[i], unsent(&conns[i])))
			hf_tcp_count_as_sent(socks[i], conns[i].reuseaddr, NULL);
	}
}
