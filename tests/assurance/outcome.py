"""How often a promise was put to the test, and how often it held."""

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Counts, and in words each case that failed."""

    run: int = 0
    failures: list = field(default_factory=list)

    @property
    def passed(self):
        return self.run - len(self.failures)

    def add(self, problem, case):
        """Count a case; `problem` is None, or in words what is wrong."""
        self.run += 1
        if problem is not None:
            self.failures.append(f"{case}: {problem}")
