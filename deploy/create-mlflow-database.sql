-- Run once by PostgreSQL's container, when it makes the queue's database. MLflow keeps its own tables apart.
CREATE DATABASE mlflow OWNER sdcn;
