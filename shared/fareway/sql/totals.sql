-- Everything in one row: requests, money, cache hits, failovers, failures.
WITH events AS (
    SELECT DISTINCT * FROM cost_events WHERE dt BETWEEN '$first' AND '$last'
)
SELECT
    count(*)                                                      AS requests,
    coalesce(sum(CASE WHEN status = 200 THEN 1 ELSE 0 END), 0)    AS answered,
    coalesce(sum(CASE WHEN cache_hit <> 'none' THEN 1 ELSE 0 END), 0) AS cache_hits,
    coalesce(sum(failovers), 0)                                   AS failovers,
    coalesce(sum(CASE WHEN failovers > 0 AND status = 200 THEN 1 ELSE 0 END), 0) AS saved_by_failover,
    coalesce(sum(CASE WHEN status = 200 AND cost_usd IS NULL THEN 1 ELSE 0 END), 0) AS unpriced,
    sum(cost_usd)                                                 AS cost_usd,
    sum(CASE WHEN cost_usd IS NOT NULL THEN baseline_usd END)     AS baseline_usd,
    approx_percentile(classifier_ms, 0.5)                         AS classifier_p50_ms,
    approx_percentile(total_ms - upstream_ms, 0.5)                AS overhead_p50_ms
FROM events
