"""Sending: claim, pace, submit, write outcomes; never twice."""
