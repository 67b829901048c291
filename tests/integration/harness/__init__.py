# SPDX-License-Identifier: GPL-2.0-or-later
"""What the integration tests and the demo are made of.

closing   what "with" needs
cases     sets of connections, types of the fixtures
programs  where the built programs are
proc      running commands and ending processes
net       two network namespaces and a cable
peer      hf-peer: connections, each byte checked
criu      a server, or another program, checkpointed by the criu command
agent     a program that does what a test says, in a container or at the peer
oci       a server in a container of crun or runc
chaos     connections used at random, checkpoints at random moments
checks    what must not be left behind
"""
