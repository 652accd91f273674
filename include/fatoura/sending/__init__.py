"""Sending: claim, pace, submit, write outcomes; never blindly twice.

A notice is claimed in the database, with a lease and an attempt number, before the first byte goes out.
Whatever happens then is one of three: the provider took it, it proved that it did not, or it is in doubt.
"""
