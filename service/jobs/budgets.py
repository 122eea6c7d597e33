"""How many attempts of a job have failed, by whose fault."""

from typing import Self

from pydantic import BaseModel, ConfigDict

from service.jobs.states import Budget


class Spent(BaseModel):
    """Failed attempts since the job was submitted, or tried again on request. Those that ended for another reason
    (paused, given back by a worker that shut down) are not among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    own: int = 0
    infrastructure: int = 0

    def of(self, budget: Budget) -> int:
        return self.own if budget is Budget.OWN else self.infrastructure

    def and_one(self, budget: Budget) -> Self:
        return self.model_copy(update={budget.value: self.of(budget) + 1})

    def is_used_up(self, budget: Budget, *, max_attempts: int, max_lost_attempts: int) -> bool:
        """Whether no attempt may follow a failure charged to the budget."""
        return self.of(budget) >= (max_attempts if budget is Budget.OWN else max_lost_attempts)
