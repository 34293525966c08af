"""Compare wordings of a label's prompt before a whole project is predicted with one."""
