-- Whole days summed up: what `fareway.rollup` writes to rollup/, a row for each hour, tier,
-- complexity, lane, model, aggregator and key. Sums and counts alone, so that rows can be added up.
WITH events AS (
    SELECT DISTINCT
        decision_id, occurred_at, tenant_hash, key_id, tier, complexity, lane, served_model,
        aggregator, cache_hit, escalated, attempts, failovers, status, prompt_tokens,
        completion_tokens, cost_usd, cost_source, baseline_usd, classifier_ms, upstream_ms, total_ms
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) BETWEEN '$first' AND '$last'
)
SELECT
    substr(occurred_at, 1, 10)                                    AS day,
    CAST(substr(occurred_at, 12, 2) AS INTEGER)                   AS hour,
    coalesce(tier, 'direct')                                      AS tier,
    complexity,
    lane,
    coalesce(served_model, '(none)')                              AS served_model,
    coalesce(aggregator, '(none)')                                AS aggregator,
    tenant_hash,
    key_id,
    count(*)                                                      AS requests,
    sum(CASE WHEN status = 200 THEN 1 ELSE 0 END)                 AS answered,
    sum(CASE WHEN status >= 500 THEN 1 ELSE 0 END)                AS failed,
    sum(CASE WHEN status = 200 AND failovers > 0 THEN 1 ELSE 0 END) AS answered_by_failover,
    sum(CASE WHEN cache_hit <> 'none' THEN 1 ELSE 0 END)          AS cache_hits,
    sum(CASE WHEN escalated THEN 1 ELSE 0 END)                    AS escalated,
    sum(CASE WHEN served_model IS NOT NULL AND cost_usd IS NULL THEN 1 ELSE 0 END) AS unpriced,
    sum(CASE WHEN cost_source = 'estimated' THEN 1 ELSE 0 END)    AS estimated,
    coalesce(sum(prompt_tokens), 0)                               AS prompt_tokens,
    coalesce(sum(completion_tokens), 0)                           AS completion_tokens,
    sum(cost_usd)                                                 AS cost_usd,
    sum(CASE WHEN cost_usd IS NOT NULL THEN baseline_usd END)     AS baseline_usd,
    sum(classifier_ms)                                            AS classifier_ms,
    sum(upstream_ms)                                              AS upstream_ms,
    sum(total_ms)                                                 AS total_ms
FROM events
GROUP BY
    substr(occurred_at, 1, 10), CAST(substr(occurred_at, 12, 2) AS INTEGER), coalesce(tier, 'direct'),
    complexity, lane, coalesce(served_model, '(none)'), coalesce(aggregator, '(none)'), tenant_hash, key_id
ORDER BY day, hour, tier, complexity, lane, served_model, aggregator, tenant_hash, key_id
