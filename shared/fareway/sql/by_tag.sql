-- Spend and savings of each set of tags, a JSON object as the key had it: no JSON function is
-- in every engine, so a reader that wants single tags adds up the sets that hold them.
WITH events AS (
    SELECT DISTINCT
        decision_id, tags,
        served_model, prompt_tokens, completion_tokens, cost_usd, baseline_usd
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) BETWEEN '$first' AND '$last'
)
SELECT
    coalesce(tags, '{}')                                          AS tags,
    count(*)                                                      AS requests,
    sum(prompt_tokens)                                            AS prompt_tokens,
    sum(completion_tokens)                                        AS completion_tokens,
    sum(cost_usd)                                                 AS cost_usd,
    sum(CASE WHEN served_model IS NOT NULL AND cost_usd IS NULL THEN 1 ELSE 0 END) AS unpriced,
    sum(CASE WHEN cost_usd IS NOT NULL THEN baseline_usd END)     AS baseline_usd
FROM events
GROUP BY coalesce(tags, '{}')
ORDER BY cost_usd DESC NULLS LAST, tags
