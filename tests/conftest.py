"""For every process of the tests, before it imports torch or starts another."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # pytest's own processes share out the cores; threads would wait for them
os.environ.setdefault("SDCN_OPEN_ON_LOOPBACK", "true")  # tests call as a person on the machine; those of keys do not
