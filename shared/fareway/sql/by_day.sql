-- Spend and savings of each day; a priced event alone counts as saved.
WITH events AS (
    SELECT DISTINCT
        decision_id, substr(occurred_at, 1, 10) AS day,
        served_model, prompt_tokens, completion_tokens, cost_usd, baseline_usd
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) BETWEEN '$first' AND '$last'
)
SELECT
    day,
    count(*)                                                      AS requests,
    sum(prompt_tokens)                                            AS prompt_tokens,
    sum(completion_tokens)                                        AS completion_tokens,
    sum(cost_usd)                                                 AS cost_usd,
    sum(CASE WHEN served_model IS NOT NULL AND cost_usd IS NULL THEN 1 ELSE 0 END) AS unpriced,
    sum(CASE WHEN cost_usd IS NOT NULL THEN baseline_usd END)     AS baseline_usd
FROM events
GROUP BY day
ORDER BY day
