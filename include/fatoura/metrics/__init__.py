"""Metrics, as StatsD, as Airflow's own are: off until FATOURA_STATSD_HOST says where they go."""

from __future__ import annotations

from fatoura.metrics.names import METRICS, Metric
from fatoura.metrics.statsd import Point, is_on, send

__all__ = ["METRICS", "Metric", "Point", "is_on", "send"]
