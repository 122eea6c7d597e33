"""Streams of server-sent events: what is new of a job, and what it logs, for as long as somebody listens."""
