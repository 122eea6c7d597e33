"""The whole service on one machine under one command: API, worker, MLflow and Ray as processes that end with it.

Standard library and psutil only: it starts the others by command line and imports none of them.
"""
