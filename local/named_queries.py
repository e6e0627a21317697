"""shared/fareway/sql -> the template's named queries: `python -m local.named_queries` writes them.

A named query is run in Athena's console, where nobody fills in days: it looks at the last thirty,
the forecast at this month. A test keeps the template in step with the files.
"""

from __future__ import annotations

import textwrap
from string import Template

from fareway.athena import LATE_DAYS, parameters_text, query_names, query_text
from local.cloud import ROOT

TEMPLATE = ROOT / "template.yaml"
BEGIN = "  # ==== Queries, of shared/fareway/sql: python -m local.named_queries "
END = "  # ==== End of the queries "


def _ago(days: int) -> str:
    return f"CAST(current_date - INTERVAL '{days}' DAY AS VARCHAR)"


_MONTH = "CAST(date_trunc('month', current_date) AS VARCHAR)"
_TODAY = "CAST(current_date AS VARCHAR)"
#: Where the days stand in the SQL -> what Athena reads there; it works them out before it looks
#: for partitions, so that they are pruned as literals are.
_LAST_30_DAYS = {
    "'$first'": _ago(29),
    "'$last'": _TODAY,
    "'$until'": f"CAST(current_date + INTERVAL '{LATE_DAYS}' DAY AS VARCHAR)",
}
_THIS_MONTH = {
    "'$first'": _MONTH,
    "'$last'": _ago(1),
    "'$until'": _TODAY,
    "'$week'": _ago(7),
    "'$since'": f"least({_MONTH}, {_ago(7)})",
    "$days_left": "(day(last_day_of_month(current_date)) - day(current_date) + 1)",
}


def console_sql(name: str) -> str:
    """A query as it can be run in the console."""
    sql = query_text(name)
    for placeholder, value in (_THIS_MONTH if name == "forecast" else _LAST_30_DAYS).items():
        sql = sql.replace(placeholder, value)
    return Template(sql).substitute(parameters_text())


def resources() -> str:
    """The template's lines between BEGIN and END."""
    return "\n".join(_resource(name) for name in query_names())


def written(template: str) -> str:
    """What stands there now."""
    after_begin = template.split(BEGIN)[1].split("\n\n", 1)[1]
    return after_begin.split("\n" + END)[0]


def _resource(name: str) -> str:
    title = "".join(word.title() for word in name.split("_"))
    comment = [line[3:] for line in query_text(name).splitlines() if line.startswith("-- ")]
    about = textwrap.fill(" ".join(comment).split(". ")[0].rstrip(".") + ".", 88)
    sql = textwrap.indent(console_sql(name), " " * 8)
    return f"""  {title}Query:
    Type: AWS::Athena::NamedQuery
    Condition: HasNamedQueries
    Properties:
      Name: !Sub ${{AWS::StackName}} {name}
      Description: >-
{textwrap.indent(about, " " * 8)}
      Database: !Ref LakeDatabase
      WorkGroup: !Ref Workgroup
      QueryString: |
{sql}"""


def main() -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    TEMPLATE.write_text(text.replace(written(text), resources()), encoding="utf-8")


if __name__ == "__main__":
    main()
