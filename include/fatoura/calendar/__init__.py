"""The utility's calendar: sending windows, holidays, grace days. The one place that knows days and hours."""

from fatoura.calendar.days import Calendar, Day, closing_time, load_calendar
from fatoura.calendar.decisions import Decision, decide_day, decide_days, read_decisions, undo_decision
from fatoura.calendar.rules import CalendarError, Hours, Rules, read_rules
from fatoura.calendar.table import read_table, write_table

__all__ = [
    "Calendar",
    "CalendarError",
    "Day",
    "Decision",
    "Hours",
    "Rules",
    "closing_time",
    "decide_day",
    "decide_days",
    "load_calendar",
    "read_decisions",
    "read_rules",
    "read_table",
    "undo_decision",
    "write_table",
]
