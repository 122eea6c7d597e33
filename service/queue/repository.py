"""The durable queue: all the SQL about jobs, by who needs it.

Every change of state goes through `moves`, which asks the one table of transitions and appends a JobEventRow in the
same transaction.
"""

from service.queue.deletion import Deletions
from service.queue.intake import Intake
from service.queue.leases import Leases
from service.queue.lookup import Lookup
from service.queue.repair import Repair
from service.queue.waiting import Waiting
from service.queue.wishes import Wishes


class JobQueue(Intake, Lookup, Wishes, Leases, Repair, Deletions, Waiting):
    """The durable queue, safe to use from many threads and processes at once."""
