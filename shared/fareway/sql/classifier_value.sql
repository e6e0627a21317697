-- What classifying cost, by day, against what routing saved: its milliseconds as the Lambda's
-- memory-seconds. An LLM that classifies (`[classifier] mode = "llm"`) bills elsewhere, not here.
WITH events AS (
    SELECT DISTINCT
        decision_id, substr(occurred_at, 1, 10) AS day, complexity, classifier_ms, cost_usd, baseline_usd
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) BETWEEN '$first' AND '$last'
      AND complexity IS NOT NULL
)
SELECT
    day,
    count(*)                                                      AS routed,
    sum(CASE WHEN classifier_ms > 0 THEN 1 ELSE 0 END)            AS classified,
    sum(classifier_ms)                                            AS classifier_ms,
    sum(classifier_ms) / 1000 * CAST('$memory_gb' AS DOUBLE) * CAST('$gb_second_usd' AS DOUBLE) AS classifier_usd,
    sum(CASE WHEN cost_usd IS NOT NULL THEN baseline_usd - cost_usd END) AS saved_usd
FROM events
GROUP BY day
ORDER BY day
