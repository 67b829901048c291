/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_TCP_STATE_H
#define HF_LIB_TCP_STATE_H

/*
 * What holdfast does about each TCP state, as a table: which parts of a socket the image holds, and
 * the steps that bring a closed socket into the state again.
 *
 * The kernel has no call that sets a state. In repair mode connect() makes an ESTABLISHED
 * connection of a closed socket; from there on the socket goes the way of RFC 9293, figure 5,
 * with our own shutdown() and with segments that we make in the peer's name:
 *
 *     CLOSE --CONNECT--> ESTABLISHED --OUR_FIN--> FIN-WAIT-1 --PEER_ACK--> FIN-WAIT-2
 *       |                     |                        |
 *       |                 PEER_FIN                 PEER_FIN
 *       |                     v                        v
 *       |                CLOSE-WAIT                 CLOSING
 *       |                     |
 *       SYN               OUR_FIN
 *       v                     v
 *    SYN-SENT              LAST-ACK --PEER_ACK--> CLOSE (finished)
 *       |
 *    PEER_RST            any of them --PEER_RST--> CLOSE (reset)
 *       v
 *     CLOSE (refused)
 *
 * A finished connection is always brought to its end through LAST-ACK, since the way through
 * FIN-WAIT-2 leaves a TIME-WAIT entry behind.
 */
#include <stdbool.h>

#include "lib/conn.h"

enum hf_step {
	HF_STEP_END,
	HF_STEP_CONNECT,  /* repair mode: sequence numbers, connect(), negotiated options */
	HF_STEP_SYN,      /* connect() outside repair mode, with the old initial sequence number */
	HF_STEP_RECEIVED, /* fill the receive queue */
	HF_STEP_SENT,     /* fill the send queue, up to where it was sent */
	HF_STEP_UNSENT,   /* fill the rest of it */
	HF_STEP_OUR_FIN,  /* shutdown(SHUT_WR), in repair mode if the FIN was sent */
	HF_STEP_PEER_FIN, /* a segment of the peer: FIN that acknowledges nothing new */
	HF_STEP_PEER_ACK, /* a segment of the peer: acknowledges our FIN */
	HF_STEP_PEER_RST, /* a segment of the peer: RST; for a SYN, RST and ACK */
	HF_STEP_DISCONNECT, /* connect(AF_UNSPEC) outside repair mode */
	HF_STEP_WINDOW,     /* TCP_REPAIR_WINDOW: all five values as they were */
};
#define HF_MAX_STEPS 8

struct hf_tcp_row {
	enum hf_tcp_state state;
	enum hf_closed closed;
	bool connected;  /* has a peer: the lock holds its packets */
	bool stream;     /* has sequence numbers, windows and negotiated options */
	bool received;   /* may have a receive queue */
	bool sending;    /* may have a send queue */
	bool our_fin;    /* our FIN is queued or sent: counted by write_seq */
	bool fin_acked;  /* ... and acknowledged */
	bool peer_fin;   /* the peer's FIN was received: counted by rcv_nxt */
	bool faked_peer; /* the peer is forgotten: any will do for the steps */
	enum hf_step steps[HF_MAX_STEPS + 1];
};

/*
 * The row of a state; `closed` counts in CLOSE only. NULL for a state in which no file descriptor
 * can be (TIME-WAIT), or which holdfast does not save (SYN-RECEIVED).
 */
const struct hf_tcp_row *hf_tcp_row(enum hf_tcp_state state, enum hf_closed closed);

/* The state that a step leads to from `state`, by the diagram above; `state` where it does not
 * change it. */
enum hf_tcp_state hf_tcp_after(enum hf_tcp_state state, enum hf_step step);

/* "finished" and so on; "" for HF_CLOSED_UNCONNECTED. */
const char *hf_closed_name(enum hf_closed closed);

#endif
