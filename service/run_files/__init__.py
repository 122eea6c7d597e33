"""What the API reads of a job's files, which its workers write: the runs of a study, metric series, artifacts.

The home folder is shared by API and workers. Names come from clients: each is checked before it becomes a path, and no
symbolic link is followed, so that nothing outside of a job's folder is ever read.
"""
