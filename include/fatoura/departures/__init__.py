"""Departures: what clerks were told by customers who want no more messages, as a content of feeds."""

from fatoura.departures.loading import DEPARTURES

__all__ = ["DEPARTURES"]
