"""Counts errors and warnings in groups, with a few samples of each."""

from __future__ import annotations

from collections import Counter

from efss_transfer.model.result import (
    MAX_SAMPLES,
    ErrorGroup,
    Failure,
    Sample,
    Side,
    WarningGroup,
)


class ErrorGroups:
    """Errors, grouped by code, side, and whether a retry can help."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Side | None, bool]] = Counter()
        self._samples: dict[tuple[str, Side | None, bool], list[Sample]] = {}

    def add(self, failure: Failure, path: str) -> None:
        """Count an error of a path, which is empty if it is no path's."""
        key = (failure.code, failure.side, failure.retryable)
        self._counts[key] += 1
        samples = self._samples.setdefault(key, [])
        if len(samples) < MAX_SAMPLES:
            samples.append(Sample(path, failure.message))

    def lead(self, group: ErrorGroup, sample: Sample) -> None:
        """Let a group begin with a sample that explains the others. It is not counted."""
        samples = self._samples[group.code, group.side, group.retryable]
        samples[:] = [sample, *samples][:MAX_SAMPLES]

    def groups(self) -> tuple[ErrorGroup, ...]:
        """All groups, the most frequent first."""
        groups = [
            ErrorGroup(code, side, retryable, self._counts[key], tuple(samples))
            for key, samples in self._samples.items()
            for code, side, retryable in [key]
        ]
        return tuple(sorted(groups, key=lambda group: -group.count))


class WarningGroups:
    """Warnings, grouped by code."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._samples: dict[str, list[Sample]] = {}

    def add(self, code: str, path: str, message: str, count: int) -> None:
        """Add `count` warnings of a code of model/warnings.py, with one sample."""
        self._counts[code] += count
        samples = self._samples.setdefault(code, [])
        if len(samples) < MAX_SAMPLES:
            samples.append(Sample(path, message))

    def groups(self) -> tuple[WarningGroup, ...]:
        """All groups, the most frequent first."""
        if not self._counts:
            return ()
        # Most transfers have none, and then a cold start on AWS Lambda does not pay for it.
        from efss_transfer.model.warnings import WARNINGS

        return tuple(
            WarningGroup(code, WARNINGS[code], count, tuple(self._samples[code]))
            for code, count in self._counts.most_common()
        )
