"""Measuring at the gateway: who sent how much, in which second, with which validity."""
