"""What each public source says of a prompt.

Complexity is the least tier that would have satisfied the user, from 1.0 to 5.0: from the
outcomes of weak and strong models where a source has them, from its own grade of difficulty, or
from the kind of task. Inside one source all models meet all prompts, so the mean outcome orders
the prompts as a Rasch model does (the raw score is its sufficient statistic, Rasch 1960).
"""

from __future__ import annotations

import re
from statistics import fmean
from typing import Any

TASKS = ("support", "fact", "code", "maths", "summary", "creative", "translation", "chat", "other")
KINDS = ("medical", "self_harm", "legal", "hate", "harm", "child_safety", "politics", "safety")

#: (weak, strong) models of each outcome source: small ones against the source's best.
PAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "routellm_mmlu": (("mixtral-8x7b-instruct", "gpt-4-1106-preview"),),
    "routellm_gsm8k": (("mixtral-8x7b-instruct", "gpt-4-1106-preview"),),
    "zeroeval_gsm": (
        ("gpt-3.5-turbo-0125", "claude-3-5-sonnet-20241022"),
        ("Meta-Llama-3.1-8B-Instruct", "claude-3-5-sonnet-20241022"),
        ("Qwen2-7B-Instruct", "o1-mini-2024-09-12"),
    ),
    "llmrouter_dc": (
        ("mistral-7b-instruct-v0.3", "llama-3.3-nemotron-super-49b-v1"),
        ("qwen2.5-7b-instruct", "llama-3.3-nemotron-super-49b-v1"),
        ("llama-3.1-8b-instruct", "llama-3.3-nemotron-super-49b-v1"),
    ),
    "zeroeval_math_l5": (
        ("gpt-4o-mini-2024-07-18", "o1-mini-2024-09-12"),
        ("Qwen2.5-7B-Instruct", "o1-mini-2024-09-12"),
        ("claude-3-5-haiku-20241022", "o1-mini-2024-09-12"),
    ),
    "mmlu_pro": (
        ("Meta-Llama-3_1-8B-Instruct", "gemini-1.5-pro-002"),
        ("Mixtral-8x7B-Instruct-v0.1", "gemini-1.5-pro-002"),
        ("Phi-3-mini-4k-instruct", "gemini-1.5-pro-002"),
    ),
}
#: Complexity of a source whose kind of task says it all.
LEVELS = {
    "banking77": 1.1,
    "clinc150": 1.1,
    "webquestions": 1.2,
    "nq_open_dev": 1.2,
    "xquad": 1.8,
    "mgsm": 1.9,
    "agieval": 2.5,
    "dolly_sample": 1.8,
    "humaneval": 3.2,
    "self_instruct_seed": 2.2,
    "user_oriented_instructions": 2.2,
    "arena_hard_v0.1": 4.2,
    "mt_bench_101": 2.1,
    "belle_eval": 2.1,
    "belle_seed": 2.0,
    "qmsum_test": 3.6,
    "awesome_chatgpt_prompts": 2.9,
    "issuebench_prompts": 4.0,
    "agieval_sat-math": 2.7,
    "agieval_gaokao-mathqa": 3.5,
    "agieval_gaokao-mathcloze": 3.8,
    "agieval_gaokao-physics": 3.3,
    "agieval_gaokao-chemistry": 3.0,
}
#: Sources of exam questions and of maths as exams pose it.
EXAMS = ("routellm_mmlu", "mmlu_pro", "math_test", "zeroeval_math_l5", "llmrouter_dc", "agieval")
MATH_LEVELS = {"1": 2.4, "2": 2.9, "3": 3.4, "4": 4.0, "5": 4.6}
CLINC_TASKS = {
    "translation": r"translate",
    "maths": r"calculator",
    "fact": r"definition|fun_fact|distance|spelling|measurement_conversion|time$|date$|weather"
    r"|nutrition|calories|ingredient|cook_time|food_last|timezone|exchange_rate",
    "chat": r"greeting|goodbye|tell_joke|how_old|what_is_your_name|meaning_of_life|are_you_a_bot"
    r"|who_made_you|thank_you|do_you_have_pets|where_are_you|hobbies|who_do_you_work|what_can_i",
}
TASK_OF = (
    (r"^banking77|^clinc150", "support"),
    (r"^webquestions|^nq_open|_qa$|^llmrouter_dc/.*(openbook|commonsense|arc)", "fact"),
    (r"gsm|math", "maths"),
    (r"^humaneval|mbpp|human_eval|/code|coding", "code"),
    (r"qmsum|summari", "summary"),
    (r"/(brainstorming|generation)", "creative"),
    (r"/(rewrite|extract|classification|logicgrid)", "other"),
)
KIND_OF = (
    (r"ssh|moderation/.*SH", "self_harm"),
    (r"spc_hlt", "medical"),
    (r"spc_lgl", "legal"),
    (r"/hte|[Hh]ate|harassment|moderation/H", "hate"),
    (r"/cse|S3", "child_safety"),
    (r"political|spc_ele", "politics"),
    (r"^harm/(?!sxc|ncr|spc_fin)", "harm"),
)


def pairs_of(row: dict[str, Any]) -> dict[str, list[int | None]]:
    """Outcome source -> 1 for each of its pairs of which only the strong model succeeded."""
    outcomes = row.get("outcomes") or {}
    sources = {row["source"], *row.get("sources", ())} & PAIRS.keys()
    return {
        source: [
            int(outcomes[weak] < 0.5 <= outcomes[strong])
            if weak in outcomes and strong in outcomes
            else None
            for weak, strong in PAIRS[source]
        ]
        for source in sorted(sources)
    }


def gain_of(row: dict[str, Any]) -> float | None:
    """The share of a row's pairs of which only the strong model succeeded."""
    known = [p for pairs in pairs_of(row).values() for p in pairs if p is not None]
    return fmean(known) if known else None


def complexity_of(row: dict[str, Any]) -> float | None:
    """1.0 to 5.0, or None where nothing tells it."""
    source, outcomes = row["source"], row.get("outcomes") or {}
    gain = gain_of(row) or 0.0
    ease = fmean(outcomes.values()) if outcomes else 0.0
    if source == "routellm_mmlu":
        return 3.9 if gain else 1.8 + 1.6 * (1 - outcomes["mixtral-8x7b-instruct"])
    if source == "mmlu_pro":
        return 1.8 + 1.7 * (1 - ease) + 1.1 * gain
    if source == "llmrouter_dc":  # of 7 to 70 B; what they do not know by heart is no task
        if row["kind"].endswith("_qa"):
            return 1.2 + 0.8 * (1 - ease) + 0.4 * gain
        return 1.5 + 2.0 * (1 - ease) + 1.0 * gain
    if source == "zeroeval_math_l5":
        return 4.2 + 0.5 * (1 - ease) + 0.3 * gain
    if source in ("gsm8k_train", "gsm8k_test", "routellm_gsm8k"):
        steps = re.search(r"(\d+) steps", row.get("difficulty") or "")
        return 1.4 + 0.16 * int(steps[1]) if steps else 1.7 + 0.8 * (1 - ease) + 0.4 * gain
    if source == "math_test":
        return MATH_LEVELS[row["difficulty"][-1]]
    if source == "belle_eval":
        code = "code" in row["kind"]
        return 2.8 if code else 3.0 if "summari" in row["kind"] else LEVELS[source]
    family = re.match(r"xquad|mgsm|agieval", source)
    return LEVELS.get(source, LEVELS.get(family[0]) if family else None)


def sensitive_of(row: dict[str, Any]) -> int | None:
    """1 or 0; None for exam questions on medicine and law, and for song lyrics (copyright)."""
    kind = row.get("kind", "")
    if row.get("sensitive") is not None:
        return None if kind == "harm/copyright" else int(row["sensitive"])
    if re.search(r"math|code|coding|physics|chem|comput|engineer|gsm|logic|factoid", kind):
        return 0
    plain = ("webquestions", "belle_eval", "mt_bench_101", "nq_open_dev")
    return 0 if row["source"] in plain else None


def kind_of(row: dict[str, Any]) -> str | None:
    """Of `KINDS`, where the prompt is sensitive and its source says how."""
    if not row.get("sensitive"):
        return None
    return next((kind for known, kind in KIND_OF if re.search(known, row["kind"])), None)


def task_of(row: dict[str, Any]) -> str | None:
    """Of `TASKS`, or None where the source does not say."""
    name = f"{row['source']}/{row.get('kind', '')}"
    if row["source"] == "clinc150":
        for task, known in CLINC_TASKS.items():
            if re.search(known, name):
                return task
    if row["source"] == "routellm_mmlu":
        return "maths" if re.search(r"mathematics|algebra", name) else None
    if row["source"] == "mmlu_pro":
        return "maths" if name.endswith("/math") else None
    return next((task for known, task in TASK_OF if re.search(known, name)), None)


def domain_of(source: str, group: str) -> int:
    """Place in complexity.DOMAINS: an open request, an exam question, a word problem of maths.

    The facts among an outcome source's questions are open requests: people ask them too.
    """
    if group.startswith("gsm/"):
        return 2
    return int(source.startswith(EXAMS) and not group.endswith("_qa"))
