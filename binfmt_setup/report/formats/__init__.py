"""The formats in which answers are given, one module each behind one interface."""
