"""Faults on purpose: a proxy before the gateway, a relay before the receiver, kills, and a judge."""
