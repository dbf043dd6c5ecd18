"""Put what the three experiments found into docs/benchmarks.md, between marks that name them.

    python -m benchmarks.papers.page

Tables and verdicts come from benchmarks/results; what is written around the marks stays as it is.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
NAMES = ("papers_multi_anatomy", "papers_universal", "papers_transfer")
Found = Mapping[str, Any]


def main() -> None:
    text = PAGE.read_text()
    for name in NAMES:
        file = RESULTS / f"{name}.json"
        if file.is_file():
            text = filled(text, name, section(json.loads(file.read_text())))
    PAGE.write_text(text)


def filled(text: str, name: str, content: str) -> str:
    """The page with new content between the marks of a name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    return re.sub(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}\n{content}\n{end}",
        text,
        flags=re.DOTALL,
    )


def section(results: Found) -> str:
    """What was scaled down and where it ran, scores by method, and the paper's orderings."""
    figures, machine = dict(results["figures"]), results["machine"]
    cases, orderings = figures.pop("cases"), figures.pop("orderings")
    told = [f"Run on {machine['date']} on: {machine['gpu'] or machine['processor']}"]
    told += [f"{what}: {_plain(value)}" for what, value in figures.items()]
    parts = [
        "\n".join(f"- {one}" for one in told),
        *(scores_table(group, of_group) for group, of_group in _grouped(cases).items()),
        "The paper's orderings: differences in PSNR slice by slice, and in how many cases their mean is so.",
        orderings_table(orderings),
    ]
    return "\n\n".join(parts) + "\n"


def scores_table(group: str, cases: Found) -> str:
    """PSNR in dB, SSIM and NMSE, and their standard deviations over slices: methods down, cases across."""
    methods = dict.fromkeys(method for of_case in cases.values() for method in of_case)
    lines = [[f"{group}: PSNR (dB), SSIM, NMSE", *cases]]
    for method in methods:
        lines.append([method, *(_scores(of_case.get(method)) for of_case in cases.values())])
    return _table(lines)


def orderings_table(groups: Found) -> str:
    """Each ordering, and in how many cases it is so; bold where not in most."""
    lines = [["ordering", *groups]]
    for ordering in next(iter(groups.values())):
        cells = []
        for group in groups.values():
            (mean, deviation), (n, n_cases) = group[ordering]["dB"], group[ordering]["cases"]
            cell = f"{mean:+.2f} ± {deviation:.2f} dB, {n} of {n_cases}"
            cells.append(cell if 2 * n > n_cases else f"**{cell}**")
        lines.append([ordering, *cells])
    return _table(lines)


def _grouped(cases: Found) -> dict[str, dict[str, Any]]:
    """Cases of one table, by what their names have before the last comma; they keep what is behind it."""
    groups: dict[str, dict[str, Any]] = {}
    for case, found in cases.items():
        group, _, name = case.rpartition(", ")
        groups.setdefault(group, {})[name] = found
    return groups


def _scores(of_method: Found | None) -> str:
    if of_method is None:
        return ""
    psnr, ssim, nmse = (of_method[metric] for metric in ("psnr", "ssim", "nmse"))
    return f"{psnr[0]:.2f} ± {psnr[1]:.2f}, {ssim[0]:.3f} ± {ssim[1]:.3f}, {nmse[0]:.4f} ± {nmse[1]:.4f}"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} {_plain(one)}" for key, one in value.items())
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(lines: list[list[str]]) -> str:
    rows = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([rows[0], "|" + "---|" * len(lines[0]), *rows[1:]])


if __name__ == "__main__":
    main()
