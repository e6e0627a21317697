-- Who really served, where, and for how much.
WITH events AS (
    SELECT DISTINCT
        decision_id, aggregator,
        served_model, prompt_tokens, completion_tokens, cost_usd, baseline_usd
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) BETWEEN '$first' AND '$last'
)
SELECT
    coalesce(served_model, '(none)')                              AS served_model,
    coalesce(aggregator, '(none)')                                AS aggregator,
    count(*)                                                      AS requests,
    sum(prompt_tokens)                                            AS prompt_tokens,
    sum(completion_tokens)                                        AS completion_tokens,
    sum(cost_usd)                                                 AS cost_usd,
    sum(CASE WHEN served_model IS NOT NULL AND cost_usd IS NULL THEN 1 ELSE 0 END) AS unpriced,
    sum(CASE WHEN cost_usd IS NOT NULL THEN baseline_usd END)     AS baseline_usd
FROM events
GROUP BY coalesce(served_model, '(none)'), coalesce(aggregator, '(none)')
ORDER BY requests DESC, served_model, aggregator
