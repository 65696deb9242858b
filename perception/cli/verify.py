"""``perception verify``: read a COCO file, say what is wrong with it, mend what is certain."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from perception.coco.lint.faults import KINDS, Fault, Findings, Severity
from perception.coco.lint.lint import check_files, lint
from perception.coco.lint.mend import Mended, mend
from perception.coco.lint.read import ROOMS, Placed, as_key, read_coco, records
from perception.coco.write import write_coco
from perception.errors import OutputError
from perception.imaging.read import printable

_SECONDS_WITHOUT_BAR = 2.0


def run(
    file: str, *, images: str | None, fix: bool, out: str | None, as_json: bool, quiet: bool
) -> int:
    """Checks a file and says what was found; returns the exit status, 1 if there are errors."""
    path = Path(file)
    target = _target(path, out) if fix else None
    findings = Findings()
    content = read_coco(path, findings)
    findings = _checked(content, images, findings, quiet=quiet)
    report: dict[str, Any] = {"file": file, **_summary(content), "faults": _rows(findings)}
    if not as_json:
        click.echo("\n".join(_text(file, content, findings)))
    if target is not None:
        mended = mend(content, findings)
        write_coco(mended.content, target)
        findings = _checked(mended.content, images, Findings(), quiet=quiet)
        mends = [{"code": code, "count": n} for code, n in _in_order(mended.counts)]
        report["fixed"] = {"file": str(target), "mended": mends, "left": _rows(findings)}
        if not as_json:
            click.echo("\n".join(_fix_text(target, mended, findings)))
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
    return 1 if findings.count(Severity.ERROR) else 0


def _target(path: Path, out: str | None) -> Path:
    """Where the mended copy goes: never onto the file itself."""
    stem = path.name.removesuffix(".json") or path.name
    target = Path(out) if out else path.with_name(f"{stem}.fixed.json")
    if target.is_dir():
        raise OutputError(f"{printable(str(target))}: a folder; name a file for --out")
    if os.path.realpath(target) == os.path.realpath(path) or _are_one_file(target, path):
        raise OutputError(f"{printable(str(target))}: the file itself; name another for --out")
    return target


def _are_one_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False  # One of them isn't there.


def _checked(
    content: Mapping[str, Any], images: str | None, findings: Findings, *, quiet: bool
) -> Findings:
    """The findings so far, and all others."""
    lint(content, findings, watch=_bar("annotation", quiet=quiet))
    if images is not None:
        check_files(findings, content, Path(images), watch=_bar("image", quiet=quiet))
    return findings


def _bar(unit: str, *, quiet: bool) -> Callable[[Sequence[Placed]], Iterable[Placed]]:
    def watch(placed: Sequence[Placed]) -> Iterable[Placed]:
        bar: Iterable[Placed] = tqdm(
            placed, unit=unit, delay=_SECONDS_WITHOUT_BAR, leave=False, disable=quiet or None
        )
        return bar

    return watch


def _summary(content: Mapping[str, Any]) -> dict[str, int]:
    """How many there are of what; images without annotations are nothing wrong."""
    placed = {room: records(content, kind) for kind, room in ROOMS.items()}
    annotated = {as_key(one.record.get("image_id")) for one in placed["annotations"]}
    empty = sum(as_key(one.record.get("id")) not in annotated for one in placed["images"])
    return {**{room: len(ones) for room, ones in placed.items()}, "images_without_any": empty}


def _rows(findings: Findings) -> list[dict[str, Any]]:
    return [
        {
            "code": fault.code,
            "severity": fault.kind.severity.value,
            "count": fault.count,
            "what": fault.kind.says,
            "mend": fault.kind.mend,
            "examples": list(fault.examples),
        }
        for fault in findings.faults()
    ]


def _text(file: str, content: Mapping[str, Any], findings: Findings) -> list[str]:
    counts = _summary(content)
    head = (
        f"{printable(file)}: {counts['images']:,} images ({counts['images_without_any']:,} without "
        f"annotations), {counts['annotations']:,} annotations, {counts['categories']:,} categories"
    )
    return [head, *_table(findings.faults()), _verdict(findings)]


def _fix_text(target: Path, mended: Mended, findings: Findings) -> list[str]:
    rows = _in_order(mended.counts)
    width = max((len(code) for code, _ in rows), default=0)
    lines = ["mended:"] if rows else ["nothing to mend"]
    lines += [f"  {code:{width}}  {n:>7,}  {KINDS[code].mend}" for code, n in rows]
    left = [fault for fault in findings.faults() if fault.kind.severity is not Severity.NOTE]
    if left:
        lines += ["left for a human:", *_table(left)]
    return [*lines, f"wrote {printable(str(target))}: {_verdict(findings)}"]


def _table(faults: Sequence[Fault]) -> list[str]:
    """Severity, code, count and meaning of each fault, with its examples below."""
    width = max((len(fault.code) for fault in faults), default=0)
    lines = []
    for fault in faults:
        severity, says, _ = fault.kind
        lines.append(f"  {severity.value:7}  {fault.code:{width}}  {fault.count:>7,}  {says}")
        lines += [f"{'':13}{example}" for example in fault.examples]
    return lines


def _verdict(findings: Findings) -> str:
    numbers = [(findings.count(severity), severity.value) for severity in Severity]
    words = ", ".join(f"{n:,} {name}{'' if n == 1 else 's'}" for n, name in numbers if n)
    return f"{'not valid' if numbers[0][0] else 'valid'}: {words or 'nothing to say against it'}"


def _in_order(counts: Counter[str]) -> list[tuple[str, int]]:
    return [(code, counts[code]) for code in KINDS if counts[code]]
