// SPDX-License-Identifier: GPL-2.0-or-later
/* lwIP's network device: a TAP device, which the tests have put on a bridge. */
#include "lwip.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/if.h>
#include <linux/if_tun.h>

#include <lwip/etharp.h>
#include <lwip/ethip6.h>
#include <lwip/init.h>
#include <lwip/netif.h>
#include <lwip/timeouts.h>
#include <netif/ethernet.h>

#define MTU     1500
#define FRAME   (MTU + 14) /* with its Ethernet header */
#define QUANTUM 64         /* frames before the connections get a turn */

static struct netif nif;
static int tap = -1;

static err_t send_frame(struct netif *netif, struct pbuf *p)
{
	char frame[FRAME];
	u16_t len = pbuf_copy_partial(p, frame, sizeof(frame), 0);

	(void)netif;
	return write(tap, frame, len) == len ? ERR_OK : ERR_IF;
}

static err_t init_netif(struct netif *netif)
{
	static const u8_t mac[] = {0x02, 0, 0, 0x77, 0, 0x03};

	memcpy(netif->hwaddr, mac, sizeof(mac));
	netif->hwaddr_len = sizeof(mac);
	netif->mtu = MTU;
	netif->name[0] = 't';
	netif->name[1] = 'p';
	netif->output = etharp_output;
	netif->output_ip6 = ethip6_output;
	netif->linkoutput = send_frame;
	netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET |
		       NETIF_FLAG_MLD6 | NETIF_FLAG_LINK_UP;
	return ERR_OK;
}

static bool open_device(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	return tap >= 0 && !ioctl(tap, TUNSETIFF, &request);
}

/* The link-local address is what it asks its neighbours with. */
static void set_v6(const ip6_addr_t *address)
{
	netif_create_ip6_linklocal_address(&nif, 1);
	netif_ip6_addr_set(&nif, 1, address);
	netif_ip6_addr_set_state(&nif, 0, IP6_ADDR_PREFERRED);
	netif_ip6_addr_set_state(&nif, 1, IP6_ADDR_PREFERRED);
}

int tap_open(const char *name, const char *v4, const char *v6)
{
	ip4_addr_t address, mask, none = {0};
	ip6_addr_t address6;

	IP4_ADDR(&mask, 255, 255, 255, 0);
	if (!ip4addr_aton(v4, &address) || !ip6addr_aton(v6, &address6) || !open_device(name))
		return -1;
	lwip_init();
	if (!netif_add(&nif, &address, &mask, &none, NULL, init_netif, ethernet_input))
		return -1;
	netif_set_default(&nif);
	netif_set_up(&nif);
	set_v6(&address6);
	return tap;
}

void tap_run(void)
{
	char frame[FRAME];
	ssize_t n;

	for (int i = 0; i < QUANTUM && (n = read(tap, frame, sizeof(frame))) > 0; i++) {
		struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)n, PBUF_RAM);

		/* What is not taken is as good as lost on the way. */
		if (p && (pbuf_take(p, frame, (u16_t)n) || nif.input(p, &nif)))
			pbuf_free(p);
	}
	sys_check_timeouts();
}
