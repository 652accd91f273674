"""The utility's calendar: sending windows, holidays, grace days. The one place that knows days and hours."""

from fatoura.calendar.days import Calendar, Day, closing_time, load_calendar
from fatoura.calendar.decisions import Decision, decide_day, undo_decision
from fatoura.calendar.rules import CalendarError, Hours, Rules, read_rules

__all__ = [
    "Calendar",
    "CalendarError",
    "Day",
    "Decision",
    "Hours",
    "Rules",
    "closing_time",
    "decide_day",
    "load_calendar",
    "read_rules",
    "undo_decision",
]
