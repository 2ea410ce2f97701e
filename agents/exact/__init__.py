"""Exact search: schedules that are proved to be the best, or how far from it they may be."""
