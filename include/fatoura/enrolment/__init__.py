"""Enrolment by coupon: captured, judged, welcomed, and what clerks have to look at."""
