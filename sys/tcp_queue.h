/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_TCP_QUEUE_H
#define HF_SYS_TCP_QUEUE_H

/* The queues of a socket that is being dumped. All return 0 or a negative errno. */
#include "lib/tcp_state.h"
#include "sys/tcp_repair.h"

/* Makes `which` (TCP_RECV_QUEUE, TCP_SEND_QUEUE) the queue that the next calls are about, and reads
 * its sequence number: rcv_nxt or write_seq. Repair mode only. */
int hf_tcp_choose_queue(int sock, int which, uint32_t *seq);

/* The receive queue with the mark of urgent data. In repair mode, or in state CLOSE, where its
 * sequence number is 0. */
int hf_tcp_read_recv_queue(
	int sock, struct hf_conn *conn, const struct hf_tcp_row *row, struct hf_queues *queues);

/* The send queue with what of it was not sent. Repair mode only. */
int hf_tcp_read_send_queue(
	int sock, struct hf_conn *conn, const struct hf_tcp_row *row, struct hf_queues *queues);

#endif
