-- Everything in one row: requests, money, cache hits, failovers, failures.
WITH events AS (
    SELECT DISTINCT
        decision_id, status, cache_hit, failovers, served_model, cost_usd, cost_source,
        baseline_usd, classifier_ms, total_ms, upstream_ms
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) BETWEEN '$first' AND '$last'
),
-- The median as the middle of the sorted rows: Athena's approx_percentile is not in every engine.
ranked AS (
    SELECT
        *,
        count(*) OVER ()                                          AS n,
        row_number() OVER (ORDER BY classifier_ms)                AS by_classifier,
        row_number() OVER (ORDER BY total_ms - upstream_ms)       AS by_overhead
    FROM events
)
SELECT
    count(*)                                                      AS requests,
    coalesce(sum(CASE WHEN status = 200 THEN 1 ELSE 0 END), 0)    AS answered,
    coalesce(sum(CASE WHEN cache_hit <> 'none' THEN 1 ELSE 0 END), 0) AS cache_hits,
    coalesce(sum(CASE WHEN failovers > 0 AND status = 200 THEN 1 ELSE 0 END), 0) AS answered_by_failover,
    coalesce(sum(CASE WHEN served_model IS NOT NULL AND cost_usd IS NULL THEN 1 ELSE 0 END), 0) AS unpriced,
    coalesce(sum(CASE WHEN cost_source = 'estimated' THEN 1 ELSE 0 END), 0) AS estimated,
    sum(cost_usd)                                                 AS cost_usd,
    sum(CASE WHEN cost_usd IS NOT NULL THEN baseline_usd END)     AS baseline_usd,
    max(CASE WHEN 2 * by_classifier <= n + 1 THEN classifier_ms END)        AS classifier_p50_ms,
    max(CASE WHEN 2 * by_overhead <= n + 1 THEN total_ms - upstream_ms END) AS overhead_p50_ms
FROM ranked
